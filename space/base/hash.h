#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nas {

// 128 bits that are the same on every machine and in every release; not for security.
struct Hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const Hash128&, const Hash128&) = default;
};

// MurmurHash3 x64 128 (Appleby, public domain algorithm) of `bytes`, little-endian reads.
Hash128 hash_bytes(std::span<const std::uint8_t> bytes, std::uint64_t seed = 0);
Hash128 hash_text(std::string_view text, std::uint64_t seed = 0);

// 32 hexadecimal digits, high half first.
std::string to_string(Hash128 hash);

// A good 64-bit mix of one word (splitmix64's finaliser, Steele et al. 2014).
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace nas

template <>
struct std::hash<nas::Hash128> {
  std::size_t operator()(const nas::Hash128& h) const noexcept { return h.low; }
};
