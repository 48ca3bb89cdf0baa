#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "space/base/hash.h"
#include "space/base/result.h"
#include "supernet/data/image.h"

namespace nas::data {

// Which part of the data the user's files put a sample in.
enum class Part : std::uint8_t { whole, train, validation, test };
std::string to_string(Part part);

struct Item {
  std::string name;  // file relative to the root, or "file#record"
  std::uint32_t label = 0;
  Part part = Part::whole;
};

// Labelled pictures somewhere, not yet decoded. The functions may be called from many threads at once.
struct Source {
  std::string description;  // what was detected, in words
  std::string where;        // the path or specification, for messages
  std::vector<std::string> classes;
  std::vector<Item> items;
  // Decodes item i; a JPEG may come reduced while its shorter side stays `at_least`.
  std::function<Result<Image>(std::size_t i, int at_least)> image;
  // The size that item i declares, without decoding it.
  std::function<Result<ImageSize>(std::size_t i)> size;
  // A hash of what item i is made from, without decoding it.
  std::function<Result<Hash128>(std::size_t i)> content;
};

// Finds out by content what `path` holds and lists it: an ImageFolder tree (train/<class>/*, val/, test/, or
// <class>/*), CIFAR-10/100 binary files, IDX pairs (also gzipped), or "procedural:key=value,..." for the
// generated set. Fails when nothing fits, a folder cannot be read, a class is empty or a label is impossible.
Result<Source> open_source(const std::string& path);

Result<Source> open_image_folder(const std::filesystem::path& root);
Result<Source> open_cifar(const std::filesystem::path& path);
Result<Source> open_idx(const std::filesystem::path& path);

}  // namespace nas::data
