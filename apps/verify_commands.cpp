#include <cstdlib>
#include <filesystem>
#include <memory>

#include "apps/command.h"
#include "apps/export_ledger.h"
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

Result<int> run_verify(const Context& context, const VerifyOptions& o, const TorchForms& torch) {
  NAS_TRY(rows, verify_folder(o, torch, cache_folder()));
  keep_verification(context, o.folder, rows);
  std::vector<Column> columns{{"runtime", "runtime"}, {"state", "outputs"}};
  if (!o.run.empty()) columns.push_back({"top1", "top-1"});
  columns.insert(columns.end(), {{"instructions", "instructions an image"}, {"note", "note"}});
  print_records(context, columns, rows);
  bool ran = false;
  for (const Record& r : rows) {
    if (r["state"] == "differs")
      return Error{"the exported forms do not compute the same", o.folder, ErrorKind::verification};
    ran = ran || r["state"] == "equal";
  }
  if (!ran) return Error{"no runtime could run the export", o.folder, ErrorKind::verification};
  return 0;
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
      app, "verify", "Prove that an exported folder computes what it should, everywhere it can run",
      {"hwnas verify exports/middle", "hwnas verify exports/middle --operations mps2-an386 --session m4"});
  command->add_option("DIR", options->folder, "An exported folder")->required();
  command->add_option("--run", options->run,
                      "The training run it came from: every form's accuracy on its test images");
  command->add_option("--test-images", options->test_images, "At most so many of them; 0: all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--operations", options->board,
                      "Count every operation's instructions on this emulated board, instead");
  command->add_option("--session", options->session,
                      "With --operations: what this session's latency table predicts");
  command->callback([&context, options, torch] {
    context.action = [&context, options, torch]() -> Result<int> {
      if (!options->board.empty()) return show_operations(context, *options);
      const bool uses_torch = fs::exists(fs::path(options->folder) / "model.safetensors") ||
                              fs::exists(fs::path(options->folder) / "model.ts.pt");
      // Comes back only where that program is not there: those forms are then named as not run.
      if (uses_torch && !has_torch()) (void)continue_with_torch(context);
      return run_verify(context, *options, torch);
    };
  });
}

}  // namespace nas::apps
