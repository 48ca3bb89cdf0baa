#include "supernet/tensor_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include <nlohmann/json.hpp>

#include "space/base/file.h"

namespace nas::supernet {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little,
              "tensor files are written in the machine's own order");

constexpr std::uint64_t kMaxHeader = std::uint64_t{64} << 20;
constexpr std::size_t kMaxDims = 8;
constexpr std::string_view kChecksumKey = "sha256";

std::string blank_checksum() { return std::string(64, '0'); }

// The checksum covers the header with zeros in the checksum's place, and the data.
std::string checksum(std::string header, std::size_t at, std::string_view data) {
  header.replace(at, 64, blank_checksum());
  header.append(data);
  return sha256(header);
}

std::size_t checksum_place(const std::string& header) {
  const std::string key = "\"" + std::string(kChecksumKey) + "\":\"";
  const std::size_t at = header.find(key);
  return at == std::string::npos || at + key.size() + 64 > header.size() ? std::string::npos
                                                                         : at + key.size();
}

Result<NamedTensor> read_tensor(const std::string& name, const Json& entry, std::string_view data,
                                std::vector<std::pair<std::uint64_t, std::uint64_t>>& spans,
                                const std::string& where) {
  const auto broken = [&](const std::string& what) {
    return Error{"tensor \"" + name + "\": " + what, where};
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    return broken("needs dtype, shape and data_offsets");
  if (entry["dtype"] != "F32") return broken("dtype must be F32, found " + entry["dtype"].dump());
  const Json &shape = entry["shape"], &offsets = entry["data_offsets"];
  if (!shape.is_array() || shape.size() > kMaxDims || !offsets.is_array() || offsets.size() != 2 ||
      !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    return broken("shape or data_offsets are not lists of whole numbers");
  NamedTensor tensor{name, {}, {}};
  std::uint64_t count = 1;
  for (const Json& extent : shape) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > data.size())
      return broken("extent " + extent.dump() + " is impossible");
    const auto value = extent.get<std::uint64_t>();
    if (value != 0 && count > data.size() / value) return broken("shape is larger than the file");
    count *= value;
    tensor.shape.push_back(static_cast<std::int64_t>(value));
  }
  const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
  if (begin > end || end > data.size() || end - begin != count * sizeof(float))
    return broken("bytes " + std::to_string(begin) + " to " + std::to_string(end) + " do not hold " +
                  std::to_string(count) + " floats of " + std::to_string(data.size()) + " bytes of data");
  spans.emplace_back(begin, end);
  tensor.values.resize(count);
  if (count > 0) std::memcpy(tensor.values.data(), data.data() + begin, end - begin);
  return tensor;
}

}  // namespace

std::string to_bytes(const TensorFile& file) {
  Json header;
  header["__metadata__"][std::string(kChecksumKey)] = blank_checksum();
  for (const auto& [key, value] : file.metadata) header["__metadata__"][key] = value;
  std::string data;
  std::size_t total = 0;
  for (const NamedTensor& t : file.tensors) total += t.values.size() * sizeof(float);
  data.reserve(total);
  for (const NamedTensor& t : file.tensors) {
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(t.values.data()), t.values.size() * sizeof(float));
    header[t.name] = {{"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::size_t at = checksum_place(text);
  text.replace(at, 64, checksum(text, at, data));
  const std::uint64_t length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + text + data;
}

Result<TensorFile> from_bytes(std::string_view bytes, const std::string& where) {
  const auto broken = [&](const std::string& what) {
    return Error{"not a usable tensor file: " + what, where};
  };
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length) return broken("shorter than its length field");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeader || length > bytes.size() - sizeof length)
    return broken("header of " + std::to_string(length) + " bytes does not fit");
  const std::string header(bytes.substr(sizeof length, length));
  const std::string_view data = bytes.substr(sizeof length + length);
  const std::size_t at = checksum_place(header);
  if (at == std::string::npos) return broken("no checksum");
  if (checksum(header, at, data) != header.substr(at, 64))
    return broken("checksum differs: the file is damaged");
  std::set<std::string> names;
  std::string twice;
  const auto see = [&](int depth, Json::parse_event_t event, Json& key) {
    if (depth == 1 && event == Json::parse_event_t::key && !names.insert(key.get<std::string>()).second)
      twice = key.get<std::string>();
    return true;
  };
  const Json json = Json::parse(header, see, false);
  if (!json.is_object()) return broken("header is no JSON object");
  if (!twice.empty()) return broken("\"" + twice + "\" twice");
  TensorFile file;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) return broken("__metadata__ is no object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) return broken("metadata \"" + key + "\" is no text");
        if (key != kChecksumKey) file.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    NAS_TRY(tensor, read_tensor(name, entry, data, spans, where));
    file.tensors.push_back(std::move(tensor));
  }
  std::sort(spans.begin(), spans.end());
  for (std::size_t i = 1; i < spans.size(); ++i)
    if (spans[i].first < spans[i - 1].second) return broken("tensors overlap");
  return file;
}

Result<void> save_tensors(const std::filesystem::path& path, const TensorFile& file) {
  return write_file(path, to_bytes(file));
}

Result<TensorFile> load_tensors(const std::filesystem::path& path) {
  NAS_TRY(bytes, read_file(path));
  return from_bytes(bytes, path.string());
}

}  // namespace nas::supernet
