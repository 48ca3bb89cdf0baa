#pragma once
#include <memory>

#include "supernet/data/source.h"

// Pictures that lie uncompressed in files of fixed-size records (CIFAR, IDX).
namespace nas::data {

struct Record {
  std::shared_ptr<const std::string> file;  // the bytes it lies in
  std::size_t offset = 0;
};

// How one record's bytes become RGB.
struct RecordLayout {
  int height = 0;
  int width = 0;
  int channels = 1;     // 1 (grey) or 3
  bool planar = false;  // all of one channel, then the next
  std::size_t bytes() const {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
           static_cast<std::size_t>(channels);
  }
};

// Gives `source` its three functions; records[i] belongs to source.items[i] and lies inside its file.
void serve_records(Source& source, std::vector<Record> records, RecordLayout layout);

// The regular files of a folder by name, or `path` itself.
Result<std::vector<std::filesystem::path>> plain_files(const std::filesystem::path& path);

// The first bytes of a file, uncompressed if it is a gzip file; fewer when it is shorter or unreadable.
std::string peek(const std::filesystem::path& file, std::size_t count);

// A whole file, uncompressed if it is a gzip file. Fails beyond `limit` bytes of content.
Result<std::string> read_maybe_gzip(const std::filesystem::path& file, std::uint64_t limit);

}  // namespace nas::data
