#include "supernet/data/store.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cstdlib>

#include "supernet/data/cache_file.h"

namespace nas::data {
namespace {

constexpr int kLargestAutomaticSide = 256;
constexpr std::size_t kChunkBytes = std::size_t{64} << 20;
constexpr std::size_t kMemoryLimit = std::size_t{16} << 30;

// The side to keep: from up to 256 headers spread over the set, so that a large set is not read twice.
Result<int> automatic_side(const Source& source) {
  const std::size_t n = source.items.size(), looked = std::min<std::size_t>(n, 256);
  std::vector<int> shorter(looked, 0);
  tbb::parallel_for(std::size_t{0}, looked, [&](std::size_t k) {
    if (const auto size = source.size(k * n / looked)) shorter[k] = std::min(size->height, size->width);
  });
  const int largest = *std::max_element(shorter.begin(), shorter.end());
  if (largest == 0)
    return usage_error("none of " + std::to_string(looked) + " pictures looked at has a readable header",
                       source.where);
  return std::clamp(largest, 4, kLargestAutomaticSide);
}

Hash128 combine(Hash128 a, Hash128 b) {
  const std::uint64_t words[4] = {a.high, a.low, b.high, b.low};
  return hash_bytes({reinterpret_cast<const std::uint8_t*>(words), sizeof words});
}

std::string fingerprint_of(const Source& source, int side) {
  std::vector<Hash128> item_hash(source.items.size());
  tbb::parallel_for(std::size_t{0}, item_hash.size(), [&](std::size_t i) {
    const Item& item = source.items[i];
    // An unreadable file gets a fixed hash here and its reason when it is decoded.
    const auto content = source.content(i);
    const Hash128 name =
        hash_text(item.name, std::uint64_t{item.label} << 8 | static_cast<std::uint64_t>(item.part));
    item_hash[i] = combine(name, content ? *content : Hash128{});
  });
  Hash128 all{1, static_cast<std::uint64_t>(side)};
  for (const auto& name : source.classes) all = combine(all, hash_text(name));
  for (const Hash128 hash : item_hash) all = combine(all, hash);
  return to_string(all);
}

Error bad_files_error(const std::vector<BadFile>& bad, std::size_t total, const std::string& where) {
  std::string message = std::to_string(bad.size()) + " of " + std::to_string(total) +
                        " pictures cannot be decoded (--skip-bad leaves them out)";
  for (std::size_t i = 0; i < std::min<std::size_t>(bad.size(), 5); ++i)
    message += "\n  " + bad[i].name + ": " + bad[i].reason;
  if (bad.size() > 5) message += "\n  ...";
  return usage_error(std::move(message), where);
}

Hash128 hash_image(const Image& image) {
  return hash_bytes(image.pixels,
                    static_cast<std::uint64_t>(image.height) << 32 | static_cast<std::uint64_t>(image.width));
}

// One decoded item, or the reason why there is none.
struct Decoded {
  Hash128 content;
  std::string reason;
};

// Decodes items [begin, end) into consecutive pictures of `pixels`.
std::vector<Decoded> decode_chunk(const Source& source, std::size_t begin, std::size_t end, int side,
                                  std::vector<std::uint8_t>& pixels) {
  const std::size_t bytes = pixels.size() / (end - begin);
  std::vector<Decoded> decoded(end - begin);
  tbb::parallel_for(begin, end, [&](std::size_t i) {
    Decoded& out = decoded[i - begin];
    const auto image = source.image(i, 2 * side);
    if (!image) {
      out.reason = image.error().message;
      return;
    }
    out.content = hash_image(*image);
    resize_and_crop(view(*image), side, std::span(pixels).subspan((i - begin) * bytes, bytes));
  });
  return decoded;
}

// Decodes everything in order; `sink` receives runs of good pictures.
Result<void> decode_all(const Source& source, StoreIndex& index,
                        const std::function<Result<void>(std::span<const std::uint8_t>)>& sink) {
  const std::size_t bytes = index.picture_bytes(), total = source.items.size();
  const std::size_t chunk = std::clamp<std::size_t>(kChunkBytes / bytes, 16, 4096);
  std::vector<std::uint8_t> pixels;
  for (std::size_t begin = 0; begin < total; begin += chunk) {
    const std::size_t end = std::min(begin + chunk, total);
    pixels.resize((end - begin) * bytes);
    const auto decoded = decode_chunk(source, begin, end, index.side, pixels);
    std::size_t kept = 0;
    for (std::size_t k = 0; k < decoded.size(); ++k) {
      const Item& item = source.items[begin + k];
      if (!decoded[k].reason.empty()) {
        index.bad.push_back({item.name, decoded[k].reason});
        continue;
      }
      if (kept != k)
        std::copy_n(pixels.begin() + static_cast<std::ptrdiff_t>(k * bytes), bytes,
                    pixels.begin() + static_cast<std::ptrdiff_t>(kept * bytes));
      ++kept;
      index.labels.push_back(item.label);
      index.parts.push_back(item.part);
      index.contents.push_back(decoded[k].content);
      index.names.push_back(item.name);
    }
    NAS_CHECK(sink({pixels.data(), kept * bytes}));
  }
  return {};
}

// What must hold of a store before it is handed out.
Result<void> judge(const StoreIndex& index, bool skip_bad, const std::string& where) {
  if (!index.bad.empty() && !skip_bad)
    return bad_files_error(index.bad, index.bad.size() + index.labels.size(), where);
  std::vector<std::size_t> count(index.classes.size(), 0);
  for (const auto label : index.labels) ++count[label];
  for (std::size_t c = 0; c < count.size(); ++c)
    if (count[c] == 0)
      return usage_error("class '" + index.classes[c] + "' has no readable picture; required: at least one",
                         where);
  return {};
}

using StorePointer = std::shared_ptr<const Store>;

Result<StorePointer> build_in_memory(const Source& source, StoreIndex index, bool skip_bad) {
  const std::size_t bytes = index.picture_bytes() * source.items.size();
  if (bytes > kMemoryLimit)
    return usage_error("the decoded pictures need " + std::to_string(bytes >> 30) +
                           " GiB of memory, at most 16 are used: give a cache folder or a smaller side",
                       source.where);
  const auto pixels = std::make_shared<std::vector<std::uint8_t>>();
  pixels->reserve(bytes);
  NAS_CHECK(decode_all(source, index, [&](std::span<const std::uint8_t> run) -> Result<void> {
    pixels->insert(pixels->end(), run.begin(), run.end());
    return {};
  }));
  NAS_CHECK(judge(index, skip_bad, source.where));
  return std::make_shared<const Store>(std::move(index),
                                       std::shared_ptr<const std::uint8_t>(pixels, pixels->data()));
}

Result<StorePointer> map_if_usable(const std::filesystem::path& file, const Source& source,
                                   const StoreIndex& wanted, bool skip_bad) {
  NAS_TRY(store, map_store(file));
  if (store->fingerprint() != wanted.fingerprint || store->side() != wanted.side)
    return Error{"holds other pictures than its name says", file.string()};
  if (!store->bad().empty() && !skip_bad)
    return bad_files_error(store->bad(), store->bad().size() + store->size(), source.where);
  return store;
}

Result<StorePointer> build_in_cache(const Source& source, StoreIndex index, bool skip_bad,
                                    const std::filesystem::path& folder) {
  const auto file = folder / ("images-" + index.fingerprint + ".cache");
  const auto usable = [&] { return map_if_usable(file, source, index, skip_bad); };
  if (auto store = usable()) return store;
  NAS_TRY(writer, CacheWriter::start(file));
  if (auto store = usable()) return store;  // another process finished it while we waited
  const StoreIndex wanted = index;
  NAS_CHECK(decode_all(source, index, [&](std::span<const std::uint8_t> run) { return writer.append(run); }));
  NAS_CHECK(judge(index, skip_bad, source.where));
  NAS_CHECK(writer.finish(index));
  return map_if_usable(file, source, wanted, skip_bad);
}

}  // namespace

Result<StorePointer> open_store(const Source& source, const StoreOptions& options) {
  if (source.items.empty()) return usage_error("no pictures found; required: at least one", source.where);
  if (options.side && (*options.side < 4 || *options.side > 4096))
    return usage_error("the stored side must be 4..4096 pixels, found " + std::to_string(*options.side),
                       source.where);
  StoreIndex index;
  if (options.side) {
    index.side = *options.side;
  } else {
    NAS_TRY(side, automatic_side(source));
    index.side = side;
  }
  index.classes = source.classes;
  index.description = source.description;
  index.fingerprint = fingerprint_of(source, index.side);
  if (options.cache) return build_in_cache(source, std::move(index), options.skip_bad, *options.cache);
  return build_in_memory(source, std::move(index), options.skip_bad);
}

Result<StorePointer> open_dataset(const std::string& path, const StoreOptions& options) {
  NAS_TRY(source, open_source(path));
  return open_store(source, options);
}

Result<std::filesystem::path> default_cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  if (const auto folder = variable("HWNAS_CACHE"); !folder.empty()) return folder;
  if (const auto folder = variable("XDG_CACHE_HOME"); !folder.empty()) return folder / "hwnas";
  if (const auto folder = variable("HOME"); !folder.empty()) return folder / ".cache" / "hwnas";
  return usage_error("no folder for the image cache: set HWNAS_CACHE or HOME");
}

}  // namespace nas::data
