#pragma once
#include <string>

#include "supernet/data/image.h"

// The two decoders behind decode_image.
namespace nas::data {

Result<ImageSize> jpeg_size(std::span<const std::uint8_t> bytes);
Result<Image> decode_jpeg(std::span<const std::uint8_t> bytes, int at_least);
Result<ImageSize> png_size(std::span<const std::uint8_t> bytes);
Result<Image> decode_png(std::span<const std::uint8_t> bytes);

// Fails unless 1 <= height, width and height * width <= kMaxPixels.
Result<ImageSize> check_size(std::int64_t height, std::int64_t width);

}  // namespace nas::data
