#include "apps/compress/compressed_folder.h"

#include "space/base/file.h"
#include "space/base/folder.h"
#include "supernet/quantize/integer_file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNetwork = "network.safetensors";
constexpr const char* kIntegers = "network.integers";
constexpr const char* kRecord = "compression.json";

}  // namespace

bool is_compressed(const std::string& path) {
  std::error_code ignored;
  return fs::exists(fs::path(path) / kRecord, ignored);
}

Result<void> save_compressed(const fs::path& folder, const CompressedNetwork& network) {
  return write_folder(folder, [&](const fs::path& beside) -> Result<void> {
    NAS_CHECK(supernet::save(beside / kNetwork, network.trained));
    if (network.integer) NAS_CHECK(write_file(beside / kIntegers, supernet::integer_bytes(*network.integer)));
    return write_file(beside / kRecord, network.record.dump(2) + "\n");
  });
}

Result<CompressedNetwork> load_compressed(const fs::path& folder) {
  CompressedNetwork loaded;
  NAS_TRY(record, read_file(folder / kRecord, 1 << 24));
  loaded.record = nlohmann::ordered_json::parse(record, nullptr, false);
  if (!loaded.record.is_object()) return Error{"is no JSON object", (folder / kRecord).string()};
  NAS_TRY(trained, supernet::load_trained(folder / kNetwork));
  loaded.trained = std::move(trained);
  const fs::path integers = folder / kIntegers;
  std::error_code ignored;
  if (!fs::exists(integers, ignored)) return loaded;
  NAS_TRY(bytes, read_file(integers));
  NAS_TRY(integer, supernet::integers_from_bytes(bytes, loaded.trained.network, integers.string()));
  loaded.integer = std::move(integer);
  return loaded;
}

}  // namespace nas::apps
