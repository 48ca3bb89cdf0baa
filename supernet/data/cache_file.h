#pragma once
#include <filesystem>
#include <memory>
#include <span>

#include "supernet/data/store.h"

// The file that keeps a store: a header of 4096 bytes, the pixels, the index. Little-endian.
namespace nas::data {

// Maps a cache file. Fails on any damage to its header or index, on labels out of range and on a wrong size.
Result<std::shared_ptr<const Store>> map_store(const std::filesystem::path& file);

// Writes `<file>.part` and renames it to `file`; holds a lock on the part file meanwhile, so that a second
// process waits for the first. The kernel drops the lock of a killed process, and the next writer starts the
// part file over.
class CacheWriter {
 public:
  // Blocks while another process or thread writes the same file.
  static Result<CacheWriter> start(std::filesystem::path file);
  CacheWriter(CacheWriter&& other) noexcept;
  CacheWriter& operator=(CacheWriter&&) = delete;
  ~CacheWriter();  // removes the part file unless finish() succeeded

  Result<void> append(std::span<const std::uint8_t> pixels);
  // Adds index and header, flushes to disk and renames.
  Result<void> finish(const StoreIndex& index);

 private:
  CacheWriter(std::filesystem::path file, int descriptor) : file_(std::move(file)), descriptor_(descriptor) {}
  std::filesystem::path part() const;
  Result<void> write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes);
  std::filesystem::path file_;
  int descriptor_;
  std::uint64_t pixel_bytes_ = 0;
};

}  // namespace nas::data
