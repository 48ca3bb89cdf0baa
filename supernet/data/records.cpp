#include "supernet/data/records.h"

#include <zlib.h>

#include <algorithm>

namespace nas::data {
namespace {

namespace fs = std::filesystem;

std::span<const std::uint8_t> bytes_at(const Record& record, std::size_t count) {
  return {reinterpret_cast<const std::uint8_t*>(record.file->data()) + record.offset, count};
}

Image to_rgb(std::span<const std::uint8_t> bytes, const RecordLayout& layout) {
  const std::size_t area = static_cast<std::size_t>(layout.height) * static_cast<std::size_t>(layout.width);
  Image image{layout.height, layout.width, std::vector<std::uint8_t>(3 * area)};
  for (std::size_t p = 0; p < area; ++p)
    for (std::size_t c = 0; c < 3; ++c)
      image.pixels[3 * p + c] = layout.channels == 1 ? bytes[p]
                                : layout.planar      ? bytes[c * area + p]
                                                     : bytes[3 * p + c];
  return image;
}

// zlib's reader, which passes uncompressed files through.
using GzipFile = std::unique_ptr<gzFile_s, int (*)(gzFile)>;
GzipFile open_gzip(const fs::path& file) { return {gzopen(file.c_str(), "rb"), &gzclose_r}; }

}  // namespace

void serve_records(Source& source, std::vector<Record> records, RecordLayout layout) {
  const auto shared = std::make_shared<const std::vector<Record>>(std::move(records));
  source.image = [shared, layout](std::size_t i, int) -> Result<Image> {
    return to_rgb(bytes_at((*shared)[i], layout.bytes()), layout);
  };
  source.size = [layout](std::size_t) -> Result<ImageSize> { return ImageSize{layout.height, layout.width}; };
  source.content = [shared, layout](std::size_t i) -> Result<Hash128> {
    return hash_bytes(bytes_at((*shared)[i], layout.bytes()));
  };
}

Result<std::vector<fs::path>> plain_files(const fs::path& path) {
  std::error_code failed;
  if (fs::is_regular_file(path, failed)) return std::vector{path};
  fs::directory_iterator at(path, failed), end;
  if (failed) return usage_error("cannot read: " + failed.message(), path.string());
  std::vector<fs::path> files;
  for (; !failed && at != end; at.increment(failed)) {
    std::error_code ignored;
    if (at->is_regular_file(ignored)) files.push_back(at->path());
  }
  if (failed) return usage_error("cannot read: " + failed.message(), path.string());
  std::sort(files.begin(), files.end());
  return files;
}

std::string peek(const fs::path& file, std::size_t count) {
  const GzipFile in = open_gzip(file);
  if (!in) return {};
  std::string bytes(count, '\0');
  const int got = gzread(in.get(), bytes.data(), static_cast<unsigned>(count));
  bytes.resize(static_cast<std::size_t>(std::max(got, 0)));
  return bytes;
}

Result<std::string> read_maybe_gzip(const fs::path& file, std::uint64_t limit) {
  const GzipFile in = open_gzip(file);
  if (!in) return usage_error("cannot open", file.string());
  std::string content;
  std::string piece(1 << 20, '\0');
  while (true) {
    const int got = gzread(in.get(), piece.data(), static_cast<unsigned>(piece.size()));
    int code = 0;
    if (got < 0)
      return usage_error(std::string("broken gzip data: ") + gzerror(in.get(), &code), file.string());
    content.append(piece, 0, static_cast<std::size_t>(got));
    if (content.size() > limit)
      return usage_error(
          "holds more than the " + std::to_string(limit) + " bytes that its header declares or that are read",
          file.string());
    if (got < static_cast<int>(piece.size())) {
      // A truncated gzip file ends quietly in gzread and shows itself here.
      gzerror(in.get(), &code);
      if (code == Z_BUF_ERROR) return usage_error("truncated gzip data", file.string());
      return content;
    }
  }
}

}  // namespace nas::data
