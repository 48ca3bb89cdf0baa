#include <turbojpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>

#include "supernet/data/codecs.h"

namespace nas::data {
namespace {

struct Header {
  ImageSize size;
  bool four_channels = false;  // CMYK or YCCK
};

// A decompressor a picture, although one could be kept: it remembers tables of earlier files, and after an
// error it may refuse good ones, so that a result would depend on what its thread has seen before.
using Decompressor = std::unique_ptr<void, int (*)(tjhandle)>;
Decompressor new_decompressor() { return {tjInitDecompress(), &tjDestroy}; }

Error jpeg_error(tjhandle handle) {
  return usage_error(std::string("broken JPEG: ") + tjGetErrorStr2(handle));
}

Result<Header> read_header(tjhandle handle, std::span<const std::uint8_t> bytes) {
  int width = 0, height = 0, subsampling = 0, colours = 0;
  if (tjDecompressHeader3(handle, bytes.data(), bytes.size(), &width, &height, &subsampling, &colours) != 0)
    return jpeg_error(handle);
  if (height < 1 || width < 1) return usage_error("broken JPEG: it ends before its picture's header");
  NAS_TRY(size, check_size(height, width));
  return Header{size, colours == TJCS_CMYK || colours == TJCS_YCCK};
}

// Adobe's programs store CMYK inverted and say so by an APP14 segment, which TurboJPEG does not report.
bool has_adobe_segment(std::span<const std::uint8_t> bytes) {
  std::size_t at = 2;
  while (at + 4 <= bytes.size() && bytes[at] == 0xFF) {
    const std::uint8_t marker = bytes[at + 1];
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    if (marker == 0xDA) return false;  // the scan begins: no more headers
    const std::size_t length = std::size_t{bytes[at + 2]} << 8 | bytes[at + 3];
    if (marker == 0xEE && length >= 7 && at + 9 <= bytes.size() &&
        std::memcmp(&bytes[at + 4], "Adobe", 5) == 0)
      return true;
    at += 2 + length;
  }
  return false;
}

tjscalingfactor choose_scale(ImageSize size, int at_least) {
  const int shorter = std::min(size.height, size.width);
  tjscalingfactor best{1, 1};
  for (const int denominator : {2, 4, 8}) {
    const tjscalingfactor scale{1, denominator};
    if (TJSCALED(shorter, scale) >= at_least) best = scale;
  }
  return best;
}

Image from_cmyk(int height, int width, const std::vector<std::uint8_t>& cmyk, bool inverted) {
  Image image{height, width, std::vector<std::uint8_t>(cmyk.size() / 4 * 3)};
  const unsigned flip = inverted ? 0 : 255;
  for (std::size_t p = 0; p < cmyk.size() / 4; ++p) {
    const unsigned light = cmyk[4 * p + 3] ^ flip;
    for (std::size_t c = 0; c < 3; ++c)
      image.pixels[3 * p + c] = static_cast<std::uint8_t>(((cmyk[4 * p + c] ^ flip) * light + 127) / 255);
  }
  return image;
}

// Bytes between segments are harmless and common in the wild; every other warning means lost pixels.
bool harmless(const char* message) {
  return std::string_view(message).find("extraneous bytes") != std::string_view::npos;
}

Result<void> decompress(tjhandle handle, std::span<const std::uint8_t> bytes, std::uint8_t* out, int height,
                        int width, int format) {
  const auto attempt = [&](int flags) {
    return tjDecompress2(handle, bytes.data(), bytes.size(), out, width, 0, height, format,
                         flags | TJFLAG_LIMITSCANS);
  };
  if (attempt(TJFLAG_STOPONWARNING) == 0) return {};
  if (!harmless(tjGetErrorStr2(handle))) return jpeg_error(handle);
  if (attempt(0) == 0 || harmless(tjGetErrorStr2(handle))) return {};
  return jpeg_error(handle);
}

}  // namespace

Result<ImageSize> jpeg_size(std::span<const std::uint8_t> bytes) {
  const Decompressor handle = new_decompressor();
  NAS_TRY(header, read_header(handle.get(), bytes));
  return header.size;
}

Result<Image> decode_jpeg(std::span<const std::uint8_t> bytes, int at_least) {
  const Decompressor handle = new_decompressor();
  NAS_TRY(header, read_header(handle.get(), bytes));
  const tjscalingfactor scale = choose_scale(header.size, at_least);
  const int height = TJSCALED(header.size.height, scale), width = TJSCALED(header.size.width, scale);
  const std::size_t area = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  std::vector<std::uint8_t> pixels(area * (header.four_channels ? 4 : 3));
  NAS_CHECK(decompress(handle.get(), bytes, pixels.data(), height, width,
                       header.four_channels ? TJPF_CMYK : TJPF_RGB));
  if (header.four_channels) return from_cmyk(height, width, pixels, has_adobe_segment(bytes));
  return Image{height, width, std::move(pixels)};
}

}  // namespace nas::data
