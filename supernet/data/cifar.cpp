#include <algorithm>
#include <fstream>
#include <optional>

#include "space/base/file.h"
#include "supernet/data/records.h"

namespace nas::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPixels = 3072;  // 32 x 32, red plane, green plane, blue plane
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{2} << 30;

// Label bytes before the pixels: CIFAR-10 one; CIFAR-100 the coarse one (0..19) and the fine one.
struct Variant {
  std::size_t label_bytes;
  std::uint32_t classes;
  std::size_t record() const { return label_bytes + kPixels; }
};
constexpr Variant kCifar10{1, 10}, kCifar100{2, 100};

bool holds(std::uintmax_t size, const Variant& variant) { return size > 0 && size % variant.record() == 0; }

std::vector<fs::path> binary_files(const std::vector<fs::path>& files) {
  std::vector<fs::path> found;
  for (const auto& file : files)
    if (file.extension() == ".bin") found.push_back(file);
  return found;
}

// By file sizes; when both fit, by the coarse labels of the first file.
std::optional<Variant> find_variant(const std::vector<fs::path>& files) {
  const auto all = [&](const Variant& variant) {
    return std::all_of(files.begin(), files.end(), [&](const fs::path& file) {
      std::error_code failed;
      const auto size = fs::file_size(file, failed);
      return !failed && holds(size, variant);
    });
  };
  const bool ten = all(kCifar10), hundred = all(kCifar100);
  if (ten && hundred) return peek(files[0], kCifar100.record() + 1).back() < 20 ? kCifar100 : kCifar10;
  if (ten) return kCifar10;
  if (hundred) return kCifar100;
  return {};
}

std::vector<std::string> class_names(const fs::path& folder, const Variant& variant) {
  const char* file = variant.classes == 10 ? "batches.meta.txt" : "fine_label_names.txt";
  std::ifstream in(folder / file);
  std::vector<std::string> names;
  for (std::string line; names.size() < variant.classes && std::getline(in, line);) {
    while (!line.empty() && static_cast<unsigned char>(line.back()) <= ' ') line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  if (names.size() == variant.classes) return names;
  names.clear();
  for (std::uint32_t c = 0; c < variant.classes; ++c) names.push_back("class" + std::to_string(c));
  return names;
}

Part part_of(const fs::path& file) {
  return file.filename().string().find("test") != std::string::npos ? Part::test : Part::train;
}

Result<void> add_file(const fs::path& file, const Variant& variant, bool only_part, Source& source,
                      std::vector<Record>& records) {
  NAS_TRY(content, read_file(file, kMaxFileBytes));
  if (!holds(content.size(), variant))
    return usage_error(std::to_string(content.size()) + " bytes; required: a multiple of " +
                           std::to_string(variant.record()),
                       file.string());
  const auto bytes = std::make_shared<const std::string>(std::move(content));
  for (std::size_t i = 0; i < bytes->size() / variant.record(); ++i) {
    const std::size_t at = i * variant.record();
    const auto label = static_cast<std::uint8_t>((*bytes)[at + variant.label_bytes - 1]);
    if (label >= variant.classes)
      return usage_error("record " + std::to_string(i) + ": label must be in 0.." +
                             std::to_string(variant.classes - 1) + ", found " + std::to_string(label),
                         file.string());
    source.items.push_back(
        {file.filename().string() + "#" + std::to_string(i), label, only_part ? Part::whole : part_of(file)});
    records.push_back({bytes, at + variant.label_bytes});
  }
  return {};
}

}  // namespace

Result<Source> open_cifar(const fs::path& path) {
  NAS_TRY(all, plain_files(path));
  const auto files = fs::is_directory(path) ? binary_files(all) : all;
  const auto variant = files.empty() ? std::nullopt : find_variant(files);
  if (!variant)
    return usage_error(
        "no CIFAR binary files; required: *.bin of records of 3073 bytes (CIFAR-10) or 3074 (CIFAR-100)",
        path.string());
  // Without training files next to it a test file is just pictures.
  const bool only_part =
      std::none_of(files.begin(), files.end(), [](const auto& f) { return part_of(f) == Part::train; });
  Source source;
  source.where = path.string();
  source.classes = class_names(fs::is_directory(path) ? path : path.parent_path(), *variant);
  std::vector<Record> records;
  for (const auto& file : files) NAS_CHECK(add_file(file, *variant, only_part, source, records));
  source.description = "CIFAR-" + std::to_string(variant->classes) +
                       " binary: " + std::to_string(files.size()) + " files, " +
                       std::to_string(records.size()) + " pictures";
  serve_records(source, std::move(records), {32, 32, 3, true});
  return source;
}

}  // namespace nas::data
