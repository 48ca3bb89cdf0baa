#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "space/base/result.h"

namespace nas::data {

// An 8-bit RGB picture: row-major, channels last, 3 * height * width bytes.
struct Image {
  int height = 0;
  int width = 0;
  std::vector<std::uint8_t> pixels;
};

struct ImageSize {
  int height = 0;
  int width = 0;
};

enum class ImageFormat { jpeg, png, unknown };

// A picture of more pixels is refused before anything is allocated for it.
inline constexpr std::int64_t kMaxPixels = std::int64_t{1} << 26;

// By the first bytes, never by a file's name.
ImageFormat sniff_image(std::span<const std::uint8_t> bytes);

// The size that the header declares. Fails on any other format, a broken header, or over kMaxPixels.
Result<ImageSize> image_size(std::span<const std::uint8_t> bytes);

// Decodes JPEG (grey, YCbCr, RGB, CMYK, YCCK) and PNG (every bit depth, palette, alpha composited over
// white; gamma and EXIF orientation are not applied). A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as
// long as its shorter side stays `at_least`. Fails on anything corrupt, truncated or too large.
Result<Image> decode_image(std::span<const std::uint8_t> bytes,
                           int at_least = std::numeric_limits<int>::max());

}  // namespace nas::data
