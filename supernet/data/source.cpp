#include "supernet/data/source.h"

#include "supernet/data/procedural.h"
#include "supernet/data/records.h"

namespace nas::data {

std::string to_string(Part part) {
  switch (part) {
    case Part::whole:
      return "whole";
    case Part::train:
      return "train";
    case Part::validation:
      return "validation";
    case Part::test:
      break;
  }
  return "test";
}

namespace {

// Which reader fits: file types decide, a folder of folders is a tree of pictures.
enum class Kind { tree, cifar, idx, nothing };

Kind detect(const std::filesystem::path& path, const std::vector<std::filesystem::path>& files) {
  bool cifar = false;
  for (const auto& file : files) {
    const std::string start = peek(file, 4);
    const bool idx = start.size() == 4 && start[0] == 0 && start[1] == 0 && start[2] == 8 && start[3] >= 1 &&
                     start[3] <= 4;
    // The pixels of a CIFAR record could look like anything; its name tells them from an IDX file.
    if (file.extension() == ".bin")
      cifar = true;
    else if (idx)
      return Kind::idx;
  }
  if (cifar) return Kind::cifar;
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(path, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    std::error_code unknown;
    if (at->is_directory(unknown)) return Kind::tree;
  }
  return Kind::nothing;
}

}  // namespace

Result<Source> open_source(const std::string& path) {
  constexpr std::string_view kGenerated = "procedural:";
  if (path.starts_with(kGenerated)) {
    NAS_TRY(options, parse_procedural(path.substr(kGenerated.size())));
    return procedural_source(options);
  }
  std::error_code failed;
  if (!std::filesystem::exists(path, failed))
    return usage_error("no such file or folder" + (failed ? ": " + failed.message() : std::string()), path);
  NAS_TRY(files, plain_files(path));
  switch (detect(path, files)) {
    case Kind::tree:
      return open_image_folder(path);
    case Kind::cifar:
      return open_cifar(path);
    case Kind::idx:
      return open_idx(path);
    case Kind::nothing:
      break;
  }
  return usage_error(
      "not a data set; required: folders of JPEG or PNG pictures (one a class, or train/<class>), CIFAR "
      "binary "
      "files (*.bin), a pair of IDX files, or procedural:classes=10,count=2000",
      path);
}

}  // namespace nas::data
