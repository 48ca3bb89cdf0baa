#include <sstream>

#include "apps/verify.h"
#include "apps/verify/instructions.h"
#include "apps/verify/parity.h"
#include "devices/emulator/qemu.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

// Every file that SHA256SUMS names has the content it had when it was written; all that have not are named.
Result<void> check_sums(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder / "SHA256SUMS", ignored))
    return usage_error("is no exported folder: there is no SHA256SUMS", folder.string());
  NAS_TRY(sums, read_file(folder / "SHA256SUMS", 1 << 20));
  std::istringstream lines(sums);
  int files = 0;
  std::vector<std::pair<std::string, std::string>> bad;
  for (std::string line; std::getline(lines, line); ++files) {
    if (line.size() < 67 || line.find("..") != std::string::npos || line[66] == '/')
      return Error{"SHA256SUMS: not a line of sum and file: \"" + line.substr(0, 80) + "\"", folder.string(),
                   ErrorKind::verification};
    const std::string name = line.substr(66);
    const auto sum = sha256_file(folder / name);
    if (!sum)
      bad.emplace_back(name, fs::exists(folder / name, ignored) ? sum.error().message : "is missing");
    else if (*sum != line.substr(0, 64))
      bad.emplace_back(name, "was changed after the export");
  }
  if (files == 0) return Error{"SHA256SUMS names no file", folder.string(), ErrorKind::verification};
  if (bad.empty()) return {};
  std::string others;
  for (std::size_t i = 1; i < bad.size(); ++i) others += "; " + bad[i].first + " " + bad[i].second;
  return Error{bad[0].second + others, (folder / bad[0].first).string(), ErrorKind::verification};
}

Record pair_record(const Pair& p) {
  return {{"a", p.a},
          {"b", p.b},
          {"images", p.images},
          {"top1_agreement", p.top1_agreement},
          {"max_difference", p.largest},
          {"mean_difference", p.mean},
          {"first_layer_apart", p.first_apart}};
}

// How far a form is from the reference of its kind: numbers for the store, words for people.
void add_difference(const ExportedFolder& folder, const FormRun& form, const std::vector<FormRun>& references,
                    Record& row) {
  for (const FormRun& r : references) {
    const bool same_kind =
        r.kind == form.kind || (form.kind == FormKind::onnx && r.kind == FormKind::integer);
    if (!same_kind || r.logits.size() != form.logits.size()) continue;
    const Pair p = compare_forms(folder, r, form);
    row["images"] = p.images;
    row["agreement"] = p.top1_agreement;
    row["max_difference"] = p.largest;
    row["mean_difference"] = p.mean;
    char note[128];
    std::snprintf(note, sizeof note, "same answer on %.4g %%; logits differ by %.2g on average, %.2g at most",
                  100 * p.top1_agreement, p.mean, p.largest);
    row["note"] = note;
    return;
  }
}

// parity.json: what the forms gave, and every two of them beside each other.
Record parity_record(const ExportedFolder& folder, const std::vector<FormRun>& runs,
                     const std::vector<Record>& rows) {
  Record pairs = Record::array();
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (std::size_t j = i + 1; j < runs.size(); ++j)
      if (!runs[i].logits.empty() && !runs[j].logits.empty())
        pairs.push_back(pair_record(compare_forms(folder, runs[i], runs[j])));
  return {{"forms", rows}, {"pairs", pairs}};
}

// Accuracy of every form on the training run's test images.
Result<void> add_accuracies(const VerifyOptions& o, const ExportedFolder& folder, const TorchForms& torch,
                            const std::string& cache, std::vector<Record>& rows) {
  if (!torch.test_images) return Error{"test images need the build with LibTorch", o.run, ErrorKind::device};
  NAS_TRY(images, torch.test_images(o.run, folder, o.test_images));
  const auto runs = run_forms(folder, images, torch, cache, {.tensors = false});
  for (Record& row : rows)
    for (const FormRun& run : runs)
      if (row["runtime"] == run.name && !run.logits.empty()) {
        row["top1"] = accuracy(folder, run, images);
        row["test_images"] = images.count;
      }
  return {};
}

}  // namespace

Result<std::vector<Record>> verify_folder(const VerifyOptions& o, const TorchForms& torch,
                                          const std::string& cache) {
  const fs::path path = o.folder;
  NAS_CHECK(check_sums(path));
  NAS_TRY(folder, read_export(path));
  NAS_TRY(images, stored_images(folder));
  const auto references = stored_references(folder);
  const auto runs = run_forms(folder, images, torch, cache, {});
  std::vector<Record> rows;
  for (const FormRun& run : runs) {
    Record row{{"runtime", run.name}, {"state", verdict(folder, run, references)}};
    if (run.instructions > 0) row["instructions"] = static_cast<std::uint64_t>(run.instructions);
    row["note"] = run.note;
    if (!run.logits.empty()) add_difference(folder, run, references, row);
    rows.push_back(std::move(row));
  }
  if (!o.run.empty()) NAS_CHECK(add_accuracies(o, folder, torch, cache, rows));
  NAS_CHECK(write_file(path / "parity.json", parity_record(folder, runs, rows).dump(1) + "\n"));
  return rows;
}

Result<std::vector<Record>> count_operations(const std::string& path, const std::string& board_name,
                                             const std::string& cache) {
  NAS_TRY(folder, read_export(path));
  std::map<std::string, std::string> sources;
  for (const char* name : {"net.h", "net.c", "test_vectors.h", "test_main.c"}) {
    NAS_TRY(text, read_file(folder.path / "c" / name, std::uint64_t{1} << 28));
    sources[name] = std::move(text);
  }
  const Record operations = folder.manifest.value("operations", Record::array());
  if (!operations.is_array() || operations.empty())
    return Error{"the manifest lists no operations", path, ErrorKind::verification};
  devices::TransportSpec where;
  where.kind = devices::TransportKind::qemu_system;
  where.machine = board_name;
  NAS_TRY(counted, operation_instructions(std::move(sources), where, devices::emulator::Program().flags,
                                          operations.size(), cache));
  std::uint64_t total = 0;
  std::vector<Record> rows;
  for (std::size_t i = 0; i < operations.size(); ++i) total += counted[i];
  for (std::size_t i = 0; i < operations.size(); ++i) {
    Record r = operations[i];
    r["instructions"] = counted[i];
    r["share"] = static_cast<double>(counted[i]) / static_cast<double>(total);
    rows.push_back(std::move(r));
  }
  return rows;
}

}  // namespace nas::apps
