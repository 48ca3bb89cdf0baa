#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "supernet/data/image.h"

// Files of known content for the tests, written by the libraries' encoders or by hand.
namespace nas::data::testing_tools {

using Bytes = std::vector<std::uint8_t>;

Image gradient(int height, int width, int phase = 0);
// Full chroma resolution; `pixels` holds `channels` bytes a pixel (1 grey, 3 RGB, 4 CMYK as stored).
Bytes encode_jpeg(const Bytes& pixels, int height, int width, int channels, int quality = 95);
// A PNG of raw rows in the given colour type (PNG_COLOR_TYPE_*) and bit depth; palette entries are RGB
// triples.
Bytes encode_png(const Bytes& rows, int height, int width, int colour_type, int bits,
                 const Bytes& palette = {});
Bytes png_of(const Image& image);
// An IDX file of unsigned bytes.
Bytes idx_file(const Bytes& content, const std::vector<std::uint32_t>& sizes);
Bytes encode_gzip(const Bytes& content);

void put(const std::filesystem::path& path, const Bytes& bytes);
// A fresh empty folder below the system's temporary one.
std::filesystem::path fresh_folder(const std::string& name);

}  // namespace nas::data::testing_tools
