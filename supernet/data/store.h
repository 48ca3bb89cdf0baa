#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supernet/data/resample.h"
#include "supernet/data/source.h"

namespace nas::data {

struct BadFile {
  std::string name;
  std::string reason;
};

// What a store knows about its pictures, besides the pixels. The four lists have one entry a picture.
struct StoreIndex {
  int side = 0;  // every picture is side x side
  std::vector<std::uint32_t> labels;
  std::vector<Part> parts;
  std::vector<Hash128> contents;
  std::vector<std::string> names;
  std::vector<std::string> classes;
  std::vector<BadFile> bad;
  std::string description;
  std::string fingerprint;

  std::size_t picture_bytes() const {
    return 3 * static_cast<std::size_t>(side) * static_cast<std::size_t>(side);
  }
};

// Decoded pictures of one size, in memory or mapped from a cache file. Immutable: any number of threads
// may read it.
class Store {
 public:
  // `pixels` holds picture_bytes() for each label and keeps whatever owns them alive.
  Store(StoreIndex index, std::shared_ptr<const std::uint8_t> pixels)
      : index_(std::move(index)), pixels_(std::move(pixels)) {}

  std::size_t size() const { return index_.labels.size(); }
  int side() const { return index_.side; }
  Picture picture(std::size_t i) const {
    return {pixels_.get() + i * index_.picture_bytes(), side(), side()};
  }
  std::uint32_t label(std::size_t i) const { return index_.labels[i]; }
  Part part(std::size_t i) const { return index_.parts[i]; }
  // Hash of the picture as decoded: equal pictures in different files have equal ones.
  Hash128 content(std::size_t i) const { return index_.contents[i]; }
  const std::string& name(std::size_t i) const { return index_.names[i]; }
  const std::vector<std::string>& classes() const { return index_.classes; }
  const std::vector<BadFile>& bad() const { return index_.bad; }  // left out on request
  const std::string& description() const { return index_.description; }
  // Of every item's name, bytes, label and part, and of the side: 32 hexadecimal digits.
  const std::string& fingerprint() const { return index_.fingerprint; }

 private:
  StoreIndex index_;
  std::shared_ptr<const std::uint8_t> pixels_;
};

struct StoreOptions {
  std::optional<int> side =
      {};  // pixels kept per picture, 4..4096; absent: the largest shorter side met, at most 256
  bool skip_bad = false;  // leave out what cannot be decoded instead of failing
  // The folder of cache files; absent: everything is kept in memory.
  std::optional<std::filesystem::path> cache = {};
};

// Decodes every picture once, in parallel. With a cache folder the result is kept in a file named by the
// fingerprint and mapped from there the next time; two processes that build the same one wait for each other.
// Fails listing the bad files (unless skip_bad), when a class has no good picture, or the cache cannot be
// written.
Result<std::shared_ptr<const Store>> open_store(const Source& source, const StoreOptions& options = {});

// open_source and open_store.
Result<std::shared_ptr<const Store>> open_dataset(const std::string& path, const StoreOptions& options = {});

// $HWNAS_CACHE, else $XDG_CACHE_HOME/hwnas, else ~/.cache/hwnas.
Result<std::filesystem::path> default_cache_folder();

}  // namespace nas::data
