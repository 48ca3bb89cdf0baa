#include "results/samples.h"

namespace nas::results {
namespace {

constexpr std::uint8_t kFormat = 1;

void put(Bytes8& bytes, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<std::uint8_t>(value | 0x80));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

// False: cut off or longer than 64 bits.
bool take(std::span<const std::uint8_t>& bytes, std::uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const std::uint8_t byte = bytes.front();
    bytes = bytes.subspan(1);
    if (shift == 63 && byte > 1) return false;
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

}  // namespace

Bytes8 pack_samples(std::span<const std::int64_t> samples) {
  Bytes8 bytes{kFormat};
  put(bytes, samples.size());
  std::uint64_t before = 0;
  for (const std::int64_t sample : samples) {
    // Differences wrap: every 64-bit value has one.
    const auto difference = static_cast<std::int64_t>(static_cast<std::uint64_t>(sample) - before);
    put(bytes, static_cast<std::uint64_t>(difference) << 1 ^ static_cast<std::uint64_t>(difference >> 63));
    before = static_cast<std::uint64_t>(sample);
  }
  return bytes;
}

Result<std::vector<std::int64_t>> unpack_samples(std::span<const std::uint8_t> bytes) {
  if (bytes.empty() || bytes.front() != kFormat)
    return Error{"samples are not in format 1: the record is damaged or of a newer version"};
  bytes = bytes.subspan(1);
  std::uint64_t count = 0;
  if (!take(bytes, count) || count > bytes.size())
    return Error{"samples: " + std::to_string(count) + " announced, " + std::to_string(bytes.size()) +
                 " bytes follow: the record is damaged"};
  std::vector<std::int64_t> samples;
  samples.reserve(count);
  std::uint64_t before = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t code = 0;
    if (!take(bytes, code)) return Error{"samples end early: the record is damaged"};
    before += (code >> 1) ^ (~(code & 1) + 1);
    samples.push_back(static_cast<std::int64_t>(before));
  }
  if (!bytes.empty()) return Error{"bytes follow the last sample: the record is damaged"};
  return samples;
}

}  // namespace nas::results
