#include <algorithm>
#include <map>
#include <optional>

#include "supernet/data/records.h"

namespace nas::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxBytes = std::uint64_t{4} << 30;

struct IdxHeader {
  std::vector<std::uint32_t> sizes;
  std::size_t bytes() const { return 4 + 4 * sizes.size(); }
};

// Magic 0, 0, type, dimensions, then big-endian sizes. Only unsigned bytes (type 8) hold pictures and labels.
std::optional<IdxHeader> parse_header(const std::string& bytes) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  if (bytes.size() < 8 || at(0) != 0 || at(1) != 0 || at(2) != 8 || at(3) < 1 || at(3) > 4) return {};
  IdxHeader header;
  header.sizes.resize(at(3));
  if (bytes.size() < header.bytes()) return {};
  for (std::size_t d = 0; d < header.sizes.size(); ++d)
    for (std::size_t k = 0; k < 4; ++k) header.sizes[d] = header.sizes[d] << 8 | at(4 + 4 * d + k);
  return header;
}

struct IdxFile {
  fs::path path;
  IdxHeader header;
};

// "train-images-idx3-ubyte.gz" and "train-labels-idx1-ubyte" both become "train-*-ubyte".
std::string pair_key(const fs::path& file) {
  std::string name = file.filename().string();
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  for (const char* word : {"images", "labels", "image", "label", "idx4", "idx3", "idx1"})
    if (const auto found = name.find(word); found != std::string::npos)
      name.replace(found, std::string(word).size(), "*");
  return name;
}

struct Pair {
  std::optional<IdxFile> images, labels;
};

std::map<std::string, Pair> find_pairs(const std::vector<fs::path>& files) {
  std::map<std::string, Pair> pairs;
  for (const auto& file : files) {
    const auto header = parse_header(peek(file, 20));
    if (!header) continue;
    Pair& pair = pairs[pair_key(file)];
    (header->sizes.size() == 1 ? pair.labels : pair.images) = IdxFile{file, *header};
  }
  return pairs;
}

// The whole content, held against what the header declares before anything of that size is made.
Result<std::string> read_idx(const IdxFile& file) {
  std::uint64_t declared = 1;
  for (const std::uint64_t size : file.header.sizes) {
    if (size == 0 || size > kMaxBytes / declared)
      return usage_error(
          "absurd IDX header: its sizes multiply to 0 or to over " + std::to_string(kMaxBytes) + " bytes",
          file.path.string());
    declared *= size;
  }
  declared += file.header.bytes();
  NAS_TRY(content, read_maybe_gzip(file.path, declared));
  if (content.size() != declared)
    return usage_error("IDX file holds " + std::to_string(content.size()) + " bytes; its header declares " +
                           std::to_string(declared),
                       file.path.string());
  return content;
}

Result<RecordLayout> layout_of(const IdxFile& images) {
  const auto& sizes = images.header.sizes;
  const std::uint32_t channels = sizes.size() == 4 ? sizes[3] : 1;
  if (sizes.size() < 3 || (channels != 1 && channels != 3))
    return usage_error("IDX pictures must be count x height x width, or x 3; found " +
                           std::to_string(sizes.size()) + " dimensions, " + std::to_string(channels) +
                           " channels",
                       images.path.string());
  if (sizes[1] < 1 || sizes[2] < 1 || sizes[1] > 8192 || sizes[2] > 8192)
    return usage_error(
        "absurd IDX header: pictures of " + std::to_string(sizes[2]) + " x " + std::to_string(sizes[1]),
        images.path.string());
  return RecordLayout{static_cast<int>(sizes[1]), static_cast<int>(sizes[2]), static_cast<int>(channels),
                      false};
}

Part part_of(const std::string& key, std::size_t pairs) {
  if (pairs == 1) return Part::whole;
  if (key.find("t10k") != std::string::npos || key.find("test") != std::string::npos) return Part::test;
  return key.find("val") != std::string::npos ? Part::validation : Part::train;
}

Result<void> add_pair(const Pair& pair, Part part, std::optional<RecordLayout>& layout, Source& source,
                      std::vector<Record>& records) {
  NAS_TRY(found, layout_of(*pair.images));
  if (layout &&
      (layout->height != found.height || layout->width != found.width || layout->channels != found.channels))
    return usage_error("IDX files of different picture sizes in one set", pair.images->path.string());
  layout = found;
  const std::uint32_t count = pair.images->header.sizes[0];
  if (pair.labels->header.sizes[0] != count)
    return usage_error(
        std::to_string(pair.labels->header.sizes[0]) + " labels for " + std::to_string(count) + " pictures",
        pair.labels->path.string());
  NAS_TRY(labels, read_idx(*pair.labels));
  NAS_TRY(content, read_idx(*pair.images));
  const auto bytes = std::make_shared<const std::string>(std::move(content));
  const std::string name = pair.images->path.filename().string();
  for (std::size_t i = 0; i < count; ++i) {
    const auto label = static_cast<std::uint8_t>(labels[pair.labels->header.bytes() + i]);
    source.items.push_back({name + "#" + std::to_string(i), label, part});
    records.push_back({bytes, pair.images->header.bytes() + i * found.bytes()});
  }
  return {};
}

// Labels may be sparse (letters start at 1): the classes are the labels that occur, by value.
void name_classes(Source& source) {
  std::map<std::uint32_t, std::uint32_t> place;
  for (const Item& item : source.items) place[item.label] = 0;
  for (auto& [label, index] : place) {
    index = static_cast<std::uint32_t>(source.classes.size());
    source.classes.push_back(std::to_string(label));
  }
  for (Item& item : source.items) item.label = place[item.label];
}

}  // namespace

Result<Source> open_idx(const fs::path& path) {
  NAS_TRY(files, plain_files(fs::is_directory(path) ? path : path.parent_path()));
  const auto pairs = find_pairs(files);
  if (pairs.empty()) return usage_error("no IDX files", path.string());
  Source source;
  source.where = path.string();
  std::vector<Record> records;
  std::optional<RecordLayout> layout;
  for (const auto& [key, pair] : pairs) {
    if (!pair.images || !pair.labels)
      return usage_error(std::string("IDX ") +
                             (pair.images ? "pictures without labels" : "labels without pictures") +
                             "; required: two files whose names differ by images/labels and idx3/idx1",
                         (pair.images ? pair.images : pair.labels)->path.string());
    NAS_CHECK(add_pair(pair, part_of(key, pairs.size()), layout, source, records));
  }
  name_classes(source);
  source.description = "IDX files: " + std::to_string(pairs.size()) + " pairs, " +
                       std::to_string(records.size()) + " pictures of " + std::to_string(layout->width) +
                       " x " + std::to_string(layout->height) + (layout->channels == 1 ? " grey" : " RGB");
  serve_records(source, std::move(records), *layout);
  return source;
}

}  // namespace nas::data
