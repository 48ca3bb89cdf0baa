#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "apps/command.h"
#include "apps/export_ledger.h"
#include "apps/progress.h"
#include "apps/project_sessions.h"
#include "apps/verify.h"
#include "devices/profile.h"
#include "latency/table.h"
#include "space/base/file.h"
#include "supernet/network_json.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

// What a session's table says of the same layers, beside the counts: "predicted" where the operation begins a
// kernel of the table, and both sums.
Result<void> add_predictions(const Context& context, const VerifyOptions& o, std::vector<Record>& rows) {
  NAS_TRY(found, find_session(context, o.session));
  NAS_TRY(table, latency::LatencyTable::make(found.session));
  NAS_TRY(device, devices::load_profile(found.session.info.device, fs::path(context.project) / "devices"));
  NAS_TRY(text, read_file(fs::path(o.folder) / "arch.json", 1 << 26));
  const Record arch = Record::parse(text, nullptr, false);
  if (!arch.is_object() || !arch.contains("network"))
    return Error{"holds no network", o.folder + "/arch.json"};
  NAS_TRY(network, supernet::network_from_json(arch["network"].dump(), o.folder));
  NAS_TRY(estimate, table.estimate(network, device.fusion));
  double counted = 0;
  for (Record& row : rows) {
    counted += row["instructions"].get<double>();
    for (const auto& kernel : estimate.kernels)
      if (row["operation"] == layer_name(network.layers[static_cast<std::size_t>(kernel.layers.front())]))
        row["predicted"] = kernel.value;
  }
  rows.push_back({{"operation", "all"},
                  {"instructions", counted},
                  {"predicted", estimate.value},
                  {"share", 1},
                  {"off", (estimate.value - counted) / counted}});
  return {};
}

Result<int> show_operations(const Context& context, const VerifyOptions& o) {
  NAS_TRY(rows, count_operations(o.folder, o.board, cache_folder()));
  if (!o.session.empty()) NAS_CHECK(add_predictions(context, o, rows));
  std::vector<Column> columns{{"operation", "operation"},
                              {"output", "output"},
                              {"macs", "MACs"},
                              {"instructions", "instructions"},
                              {"share", "share"}};
  if (!o.session.empty()) columns.insert(columns.end(), {{"predicted", "predicted"}, {"off", "off"}});
  print_records(context, columns, rows);
  return 0;
}

// A folder's rows, kept in the store; an error where nothing ran or a form differs.
Result<void> verify_one(const Context& context, const VerifyOptions& o, const TorchForms& torch, bool several,
                        std::vector<Record>& all) {
  NAS_TRY(rows, verify_folder(o, torch, cache_folder()));
  keep_verification(context, o.folder, rows);
  std::string differs;
  bool ran = false;
  for (Record& row : rows) {
    if (row["state"] == "differs")
      differs += (differs.empty() ? "" : "; ") + row["runtime"].get<std::string>();
    ran = ran || row["state"] == "equal";
    Record shown = several ? Record{{"folder", o.folder}} : Record::object();
    shown.update(row);
    all.push_back(std::move(shown));
  }
  if (!differs.empty())
    return Error{"the exported forms do not compute the same: " + differs, o.folder, ErrorKind::verification};
  if (!ran) return Error{"no runtime could run the export", o.folder, ErrorKind::verification};
  return {};
}

Result<int> run_verify(const Context& context, VerifyOptions o, const std::vector<std::string>& folders,
                       const TorchForms& torch) {
  std::vector<Record> rows;
  std::vector<Error> errors;
  {
    Progress progress("folders verified", folders.size(), context.quiet || folders.size() == 1);
    for (std::size_t i = 0; i < folders.size(); ++i) {
      o.folder = folders[i];
      const auto verified = verify_one(context, o, torch, folders.size() > 1, rows);
      if (!verified) errors.push_back(verified.error());
      progress.update(i + 1);
    }
  }
  std::vector<Column> columns{{"runtime", "runtime"}, {"state", "outputs"}};
  if (folders.size() > 1) columns.insert(columns.begin(), Column{"folder", "folder"});
  if (!o.run.empty()) columns.push_back({"top1", "top-1"});
  columns.insert(columns.end(), {{"instructions", "instructions an image"}, {"note", "note"}});
  if (!rows.empty()) print_records(context, columns, rows);
  if (errors.empty()) return 0;
  for (std::size_t i = 1; i < errors.size(); ++i) std::fprintf(stderr, "%s\n", to_string(errors[i]).c_str());
  return errors.front();
}

}  // namespace

std::string cache_folder() {
  if (const char* own = std::getenv("HWNAS_CACHE")) return own;
  if (const char* home = std::getenv("HOME")) return std::string(home) + "/.cache/hwnas";
  return (fs::temp_directory_path() / "hwnas-cache").string();
}

void add_verify_commands(CLI::App& app, Context& context, const TorchForms& torch) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = add_command(
      app, "verify", "Prove that exported folders compute what they should, everywhere they can run",
      {"hwnas verify exports/middle", "hwnas verify exports/front/*",
       "hwnas verify exports/middle --operations mps2-an386 --session m4"});
  auto folders = std::make_shared<std::vector<std::string>>();
  command->add_option("DIR", *folders, "Exported folders")->required();
  command->add_option("--run", options->run,
                      "The training run it came from: every form's accuracy on its test images");
  command->add_option("--test-images", options->test_images, "At most so many of them; 0: all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--operations", options->board,
                      "Count every operation's instructions on this emulated board, instead");
  command->add_option("--session", options->session,
                      "With --operations: what this session's latency table predicts");
  command->callback([&context, options, folders, torch] {
    context.action = [&context, options, folders, torch]() -> Result<int> {
      if (!options->board.empty()) {
        if (folders->size() > 1)
          return usage_error("--operations takes one folder, found " + std::to_string(folders->size()));
        options->folder = folders->front();
        return show_operations(context, *options);
      }
      const bool uses_torch = std::ranges::any_of(*folders, [](const std::string& folder) {
        return fs::exists(fs::path(folder) / "model.safetensors") ||
               fs::exists(fs::path(folder) / "model.ts.pt");
      });
      // Comes back only where that program is not there: those forms are then named as not run.
      if (uses_torch && !has_torch()) (void)continue_with_torch(context);
      return run_verify(context, *options, *folders, torch);
    };
  });
}

}  // namespace nas::apps
