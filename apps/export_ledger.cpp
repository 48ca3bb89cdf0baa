#include "apps/export_ledger.h"

#include <sstream>

#include "results/catalog.h"
#include "results/runs.h"
#include "results/tables.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using results::Store;

// The files that SHA256SUMS lists.
Result<std::vector<results::Artifact>> read_artifacts(const fs::path& folder) {
  NAS_TRY(sums, read_file(folder / "SHA256SUMS", 1 << 20));
  std::vector<results::Artifact> artifacts;
  std::istringstream lines(sums);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() < 67) return Error{"SHA256SUMS: not a line of sum and file", folder.string()};
    results::Artifact artifact;
    artifact.path = line.substr(66);
    artifact.sha256 = line.substr(0, 64);
    artifact.kind = fs::path(artifact.path).extension().string();
    if (!artifact.kind.empty()) artifact.kind.erase(0, 1);
    std::error_code failed;
    const auto bytes = fs::file_size(folder / artifact.path, failed);
    artifact.bytes = failed ? 0 : static_cast<std::int64_t>(bytes);
    artifacts.push_back(std::move(artifact));
  }
  return artifacts;
}

Result<Json> read_manifest(const fs::path& folder) {
  NAS_TRY(text, read_file(folder / "manifest.json", 1 << 24));
  Json manifest = Json::parse(text, nullptr, false);
  if (!manifest.is_object()) return Error{"not JSON", (folder / "manifest.json").string()};
  return manifest;
}

// The float network against its int8 form on the test images, as the manifest has it.
std::vector<results::Parity> parity_of(const Json& manifest) {
  const Json metrics = manifest.value("metrics", Json::object());
  const auto value = [&](const char* name) {
    return metrics.value(name, Json::object()).value("value", 0.0);
  };
  if (!metrics.contains("top1_agreement")) return {};
  results::Parity parity;
  parity.form_a = "float";
  parity.form_b = "int8";
  parity.n = static_cast<std::int64_t>(value("test_images"));
  parity.top1_agreement = value("top1_agreement");
  parity.max_difference = value("largest_difference");
  parity.mean_difference = value("mean_difference");
  parity.accuracy_a = value("top1_float");
  parity.accuracy_b = value("top1_int8");
  return {parity};
}

// The run that "RUN:best" names, where the store has it.
Result<std::optional<results::Id>> run_of(Store& store, const std::string& network) {
  const std::size_t colon = network.rfind(':');
  if (colon == std::string::npos) return std::optional<results::Id>();
  return store.db().value<results::Id>("SELECT id FROM run WHERE name=? AND kind='search'",
                                       fs::path(network.substr(0, colon)).filename().string());
}

// Inside the project the path is relative: the project may move.
std::string path_in(const fs::path& project, const fs::path& folder) {
  std::error_code failed;
  const fs::path relative =
      fs::weakly_canonical(folder, failed).lexically_relative(fs::weakly_canonical(project, failed));
  const bool inside = !relative.empty() && *relative.begin() != "..";
  return inside ? relative.string() : fs::absolute(folder, failed).string();
}

results::Parity parity_row(const Json& row, results::Id id) {
  results::Parity parity;
  parity.export_id = id;
  parity.form_a = "reference";
  parity.form_b = row.value("runtime", "");
  parity.n = row.value("images", std::int64_t{0});
  parity.top1_agreement = row.value("agreement", 0.0);
  parity.max_difference = row.value("max_difference", 0.0);
  parity.mean_difference = row.value("mean_difference", 0.0);
  return parity;
}

}  // namespace

void keep_export(const Context& context, const SearchSpace& space, const Genotype& genotype,
                 const fs::path& folder, const std::string& network) {
  Ledger ledger(context, folder);
  ledger.write(
      [&](Store& store) -> Result<void> {
        NAS_TRY(archs, keep_networks(store, space, {&genotype, 1}));
        NAS_TRY(manifest, read_manifest(folder));
        NAS_TRY(artifacts, read_artifacts(folder));
        NAS_TRY(digest, sha256_file(folder / "manifest.json"));
        NAS_TRY(run, run_of(store, network));
        results::Export record{.arch_id = archs.front(), .run_id = run, .manifest_sha256 = digest};
        record.path = path_in(context.project, folder);
        NAS_CHECK(results::keep(store, record, artifacts, parity_of(manifest)));
        return {};
      },
      true);
}

void keep_verification(const Context& context, const fs::path& folder, const std::vector<Json>& rows) {
  Ledger ledger(context, folder);
  ledger.write([&](Store& store) -> Result<void> {
    NAS_TRY(digest, sha256_file(folder / "manifest.json"));
    NAS_TRY(id, store.db().value<results::Id>("SELECT id FROM export WHERE manifest_sha256=?", digest));
    if (!id) return {};
    for (const Json& row : rows) {
      if (!row.contains("images")) continue;  // did not run, or how far it differs is not known
      NAS_CHECK(results::insert(
          store.db(), parity_row(row, *id),
          " ON CONFLICT DO UPDATE SET n=excluded.n, top1_agreement=excluded.top1_agreement, "
          "max_difference=excluded.max_difference, mean_difference=excluded.mean_difference"));
    }
    return {};
  });
}

}  // namespace nas::apps
