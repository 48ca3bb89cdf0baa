#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <memory>
#include <optional>

#include "space/base/file.h"
#include "supernet/data/source.h"

namespace nas::data {
namespace {

namespace fs = std::filesystem;

// A larger file is no photograph; it would only fill the memory.
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{256} << 20;

std::span<const std::uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

struct Entries {
  std::vector<fs::path> folders, files;
};

// What a folder holds, by name, without hidden entries.
Result<Entries> list_folder(const fs::path& folder) {
  std::error_code failed;
  fs::directory_iterator at(folder, failed), end;
  if (failed) return usage_error("cannot read the folder: " + failed.message(), folder.string());
  Entries entries;
  for (; at != end; at.increment(failed)) {
    if (hidden(at->path())) continue;
    std::error_code ignored;
    (at->is_directory(ignored) ? entries.folders : entries.files).push_back(at->path());
  }
  if (failed) return usage_error("cannot read the folder: " + failed.message(), folder.string());
  std::sort(entries.folders.begin(), entries.folders.end());
  std::sort(entries.files.begin(), entries.files.end());
  return entries;
}

// Every file below `folder`. Links to folders are not followed below the class folder: they could form a
// circle.
Result<std::vector<fs::path>> files_below(const fs::path& folder, int depth = 0) {
  if (depth > 32) return usage_error("folders nested deeper than 32", folder.string());
  NAS_TRY(entries, list_folder(folder));
  std::vector<fs::path> files = std::move(entries.files);
  for (const auto& below : entries.folders) {
    std::error_code ignored;
    if (fs::is_symlink(below, ignored)) continue;
    NAS_TRY(more, files_below(below, depth + 1));
    files.insert(files.end(), more.begin(), more.end());
  }
  return files;
}

std::optional<Part> part_named(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (name == "train" || name == "training") return Part::train;
  if (name == "val" || name == "valid" || name == "validation") return Part::validation;
  if (name == "test" || name == "testing") return Part::test;
  return {};
}

struct Tree {
  std::vector<std::pair<Part, fs::path>> parts;  // each holds class folders
};

// With a train folder its neighbours val and test are parts; otherwise every folder is a class.
Result<Tree> find_parts(const fs::path& root) {
  NAS_TRY(entries, list_folder(root));
  Tree tree;
  bool train = false;
  for (const auto& folder : entries.folders)
    if (const auto part = part_named(folder.filename().string())) {
      if (std::any_of(tree.parts.begin(), tree.parts.end(), [&](const auto& p) { return p.first == *part; }))
        return usage_error("two folders for the " + to_string(*part) + " part", folder.string());
      tree.parts.emplace_back(*part, folder);
      train |= *part == Part::train;
    }
  if (train) return tree;
  tree.parts = {{Part::whole, root}};
  return tree;
}

// Classes and items of one part; classes that only another part has are errors there.
Result<void> add_part(const fs::path& root, Part part, const fs::path& folder, bool defines_classes,
                      std::vector<fs::path>& files, Source& source) {
  NAS_TRY(entries, list_folder(folder));
  if (entries.folders.empty())
    return usage_error("no class folders; required: one folder of pictures a class", folder.string());
  for (const auto& below : entries.folders) {
    const std::string name = below.filename().string();
    auto known = std::find(source.classes.begin(), source.classes.end(), name);
    if (known == source.classes.end()) {
      if (!defines_classes)
        return usage_error("class '" + name + "' does not exist in the training folder", below.string());
      known = source.classes.insert(source.classes.end(), name);
    }
    const auto label = static_cast<std::uint32_t>(known - source.classes.begin());
    NAS_TRY(found, files_below(below));
    if (found.empty())
      return usage_error("class '" + name + "' is empty; required: at least one picture", below.string());
    for (auto& file : found) {
      source.items.push_back({file.lexically_relative(root).generic_string(), label, part});
      files.push_back(std::move(file));
    }
  }
  return {};
}

ImageFormat format_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::array<char, 8> start{};
  in.read(start.data(), start.size());
  return sniff_image(
      {reinterpret_cast<const std::uint8_t*>(start.data()), static_cast<std::size_t>(in.gcount())});
}

std::string describe(const Source& source, const Tree& tree, const std::vector<fs::path>& files) {
  std::vector<ImageFormat> formats(files.size());
  tbb::parallel_for(std::size_t{0}, files.size(), [&](std::size_t i) { formats[i] = format_of(files[i]); });
  std::string text = "ImageFolder tree";
  for (const auto& [part, folder] : tree.parts)
    if (part != Part::whole)
      text += std::string(part == Part::train ? " with " : ", ") + folder.filename().string() + "/";
  text +=
      ": " + std::to_string(source.classes.size()) + " classes, " + std::to_string(files.size()) + " files";
  const auto mention = [&](ImageFormat format, const char* name) {
    const auto n = std::count(formats.begin(), formats.end(), format);
    if (n > 0) text += ", " + std::to_string(n) + " " + name;
  };
  mention(ImageFormat::jpeg, "JPEG");
  mention(ImageFormat::png, "PNG");
  mention(ImageFormat::unknown, "of no known format");
  return text;
}

}  // namespace

Result<Source> open_image_folder(const fs::path& root) {
  NAS_TRY(tree, find_parts(root));
  // The training part comes first: it defines the classes and their order.
  std::sort(tree.parts.begin(), tree.parts.end());
  Source source;
  source.where = root.string();
  auto files = std::make_shared<std::vector<fs::path>>();
  for (const auto& [part, folder] : tree.parts)
    NAS_CHECK(add_part(root, part, folder, part == Part::train || part == Part::whole, *files, source));
  source.description = describe(source, tree, *files);
  source.image = [files](std::size_t i, int at_least) -> Result<Image> {
    NAS_TRY(bytes, read_file((*files)[i], kMaxFileBytes));
    return decode_image(as_bytes(bytes), at_least);
  };
  source.size = [files](std::size_t i) -> Result<ImageSize> {
    NAS_TRY(bytes, read_file((*files)[i], kMaxFileBytes));
    return image_size(as_bytes(bytes));
  };
  source.content = [files](std::size_t i) -> Result<Hash128> {
    NAS_TRY(bytes, read_file((*files)[i], kMaxFileBytes));
    return hash_bytes(as_bytes(bytes));
  };
  return source;
}

}  // namespace nas::data
