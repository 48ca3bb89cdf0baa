#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::supernet {

struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // row major
  friend bool operator==(const NamedTensor&, const NamedTensor&) = default;
};

// Tensors and text in the safetensors layout (8 bytes of header length, a JSON header, raw little-endian
// data), with a SHA-256 over everything in the header's metadata. Nothing in such a file is ever executed.
struct TensorFile {
  std::map<std::string, std::string> metadata;
  std::vector<NamedTensor> tensors;
};

std::string to_bytes(const TensorFile& file);
// Fails on a wrong length, a header that is not what the layout says, tensors that overlap, leave the data or
// are not float32, duplicate names, or a checksum that differs. `where` is used in messages.
Result<TensorFile> from_bytes(std::string_view bytes, const std::string& where);

Result<void> save_tensors(const std::filesystem::path& path, const TensorFile& file);
Result<TensorFile> load_tensors(const std::filesystem::path& path);

}  // namespace nas::supernet
