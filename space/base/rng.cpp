#include "space/base/rng.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <unordered_map>

#include "space/base/hash.h"

namespace nas {
namespace {

std::uint32_t low32(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high32(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {high32(p1) ^ c[1] ^ k[0], low32(p1), high32(p0) ^ c[3] ^ k[1], low32(p0)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

Rng::Rng(std::uint64_t seed, std::string_view purpose, std::uint64_t step, std::uint64_t index) {
  // The name is hashed into key and upper counter: 128 bits, so that two names meet with probability 2^-64
  // even after 2^32 streams. The lower 64 counter bits count blocks.
  std::uint64_t words[3] = {seed, step, index};
  const auto bytes = std::span(reinterpret_cast<const std::uint8_t*>(words), sizeof words);
  const Hash128 name = hash_bytes(bytes, hash_text(purpose).low);
  key_ = {low32(name.high), high32(name.high)};
  counter_ = {0, 0, low32(name.low), high32(name.low)};
}

void Rng::refill() {
  const auto words = philox4x32(counter_, key_);
  if (++counter_[0] == 0) ++counter_[1];
  block_ = {std::uint64_t{words[1]} << 32 | words[0], std::uint64_t{words[3]} << 32 | words[2]};
  left_ = 2;
}

std::uint64_t Rng::next() {
  if (left_ == 0) refill();
  return block_[static_cast<std::size_t>(2 - left_--)];
}

std::uint64_t Rng::below(std::uint64_t bound) {
  assert(bound > 0);
  using Wide = unsigned __int128;
  Wide product = Wide{next()} * bound;
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t threshold = (0 - bound) % bound;
    while (static_cast<std::uint64_t>(product) < threshold) product = Wide{next()} * bound;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

double Rng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  const double angle = 2 * std::numbers::pi * uniform();
  has_spare_ = true;
  spare_ = radius * std::sin(angle);
  return radius * std::cos(angle);
}

std::vector<std::size_t> Rng::sample(std::size_t n, std::size_t count) {
  assert(count <= n);
  // Partial Fisher-Yates that remembers only the places it has touched.
  std::unordered_map<std::size_t, std::size_t> moved;
  const auto at = [&](std::size_t i) {
    const auto found = moved.find(i);
    return found == moved.end() ? i : found->second;
  };
  std::vector<std::size_t> picked(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t j = i + below(n - i);
    picked[i] = at(j);
    moved[j] = at(i);
  }
  return picked;
}

}  // namespace nas
