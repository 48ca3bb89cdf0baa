#include "supernet/data/image.h"

#include <algorithm>
#include <array>

#include "supernet/data/codecs.h"

namespace nas::data {
namespace {

constexpr std::array<std::uint8_t, 8> kPngMagic = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

Error unknown_format(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return usage_error("an empty file (0 bytes); required: a JPEG or PNG picture");
  return usage_error("neither JPEG nor PNG by its first bytes (" + std::to_string(bytes.size()) + " bytes)");
}

}  // namespace

ImageFormat sniff_image(std::span<const std::uint8_t> bytes) {
  if (bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF) return ImageFormat::jpeg;
  if (bytes.size() >= kPngMagic.size() && std::equal(kPngMagic.begin(), kPngMagic.end(), bytes.begin()))
    return ImageFormat::png;
  return ImageFormat::unknown;
}

Result<ImageSize> check_size(std::int64_t height, std::int64_t width) {
  if (height < 1 || width < 1)
    return usage_error("a picture of " + std::to_string(width) + " x " + std::to_string(height) + " pixels");
  if (height > kMaxPixels / width)
    return usage_error("declares " + std::to_string(width) + " x " + std::to_string(height) +
                       " pixels; at most " + std::to_string(kMaxPixels) + " are decoded");
  return ImageSize{static_cast<int>(height), static_cast<int>(width)};
}

Result<ImageSize> image_size(std::span<const std::uint8_t> bytes) {
  switch (sniff_image(bytes)) {
    case ImageFormat::jpeg:
      return jpeg_size(bytes);
    case ImageFormat::png:
      return png_size(bytes);
    case ImageFormat::unknown:
      break;
  }
  return unknown_format(bytes);
}

Result<Image> decode_image(std::span<const std::uint8_t> bytes, int at_least) {
  switch (sniff_image(bytes)) {
    case ImageFormat::jpeg:
      return decode_jpeg(bytes, at_least);
    case ImageFormat::png:
      return decode_png(bytes);
    case ImageFormat::unknown:
      break;
  }
  return unknown_format(bytes);
}

}  // namespace nas::data
