#include "space/base/hash.h"

#include <bit>
#include <cstdio>
#include <cstring>

namespace nas {
namespace {

constexpr std::uint64_t kC1 = 0x87C37B91114253D5ULL;
constexpr std::uint64_t kC2 = 0x4CF5AD432745937FULL;

std::uint64_t finish(std::uint64_t k) {
  k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCDULL;
  k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53ULL;
  return k ^ (k >> 33);
}

std::uint64_t stir1(std::uint64_t k) { return std::rotl(k * kC1, 31) * kC2; }
std::uint64_t stir2(std::uint64_t k) { return std::rotl(k * kC2, 33) * kC1; }

}  // namespace

Hash128 hash_bytes(std::span<const std::uint8_t> bytes, std::uint64_t seed) {
  static_assert(std::endian::native == std::endian::little, "the hash reads words in little-endian order");
  std::uint64_t h1 = seed, h2 = seed;
  const std::size_t blocks = bytes.size() / 16;
  for (std::size_t i = 0; i < blocks; ++i) {
    std::uint64_t k[2];
    std::memcpy(k, bytes.data() + 16 * i, 16);
    h1 = (std::rotl(h1 ^ stir1(k[0]), 27) + h2) * 5 + 0x52DCE729;
    h2 = (std::rotl(h2 ^ stir2(k[1]), 31) + h1) * 5 + 0x38495AB5;
  }
  std::uint64_t tail[2] = {0, 0};
  if (const std::size_t rest = bytes.size() % 16; rest > 0) {
    std::memcpy(tail, bytes.data() + 16 * blocks, rest);
    h2 ^= stir2(tail[1]);
    h1 ^= stir1(tail[0]);
  }
  h1 ^= bytes.size();
  h2 ^= bytes.size();
  h1 += h2;
  h2 += h1;
  h1 = finish(h1);
  h2 = finish(h2);
  h1 += h2;
  h2 += h1;
  return {h1, h2};
}

Hash128 hash_text(std::string_view text, std::uint64_t seed) {
  return hash_bytes({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, seed);
}

std::string to_string(Hash128 hash) {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(hash.high),
                static_cast<unsigned long long>(hash.low));
  return text.data();
}

}  // namespace nas
