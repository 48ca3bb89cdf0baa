#include <filesystem>
#include <memory>
#include <sstream>

#include "apps/command.h"
#include "apps/export_ledger.h"
#include "apps/onnx_runtime.h"
#include "apps/verify.h"
#include "devices/emulator/qemu.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;
using devices::emulator::Emulator;

// Every file that SHA256SUMS names has the content it had when it was written.
Result<void> check_sums(const fs::path& folder) {
  NAS_TRY(sums, read_file(folder / "SHA256SUMS", 1 << 20));
  std::istringstream lines(sums);
  int files = 0;
  for (std::string line; std::getline(lines, line); ++files) {
    if (line.size() < 67 || line.find("..") != std::string::npos || line[66] == '/')
      return Error{"SHA256SUMS: not a line of sum and file: \"" + line.substr(0, 80) + "\"", folder.string(),
                   ErrorKind::verification};
    const std::string name = line.substr(66);
    NAS_TRY(sum, sha256_file(folder / name));
    if (sum != line.substr(0, 64))
      return Error{"was changed after the export", (folder / name).string(), ErrorKind::verification};
  }
  if (files == 0) return Error{"SHA256SUMS names no file", folder.string(), ErrorKind::verification};
  return {};
}

Result<devices::emulator::Program> program_of(const fs::path& folder) {
  devices::emulator::Program program;
  for (const char* name : {"net.h", "net.c", "test_vectors.h", "test_main.c"}) {
    NAS_TRY(text, read_file(folder / "c" / name, std::uint64_t{1} << 28));
    program.sources[name] = std::move(text);
  }
  // On this machine the emulator's frame starts nas_main() too, so that both run the same program.
  program.flags = {"-std=c99", "-O2", "-DNET_BOARD"};
  return program;
}

// Vectors in the program, from the header that it is compiled with.
std::int64_t count_vectors(const devices::emulator::Program& program) {
  const std::string& text = program.sources.at("test_vectors.h");
  const std::size_t at = text.find("NET_VECTORS ");
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + 12);
}

Record row(const std::string& where, std::int64_t vectors,
           const Result<devices::emulator::EmulatedRun>& run) {
  Record record{{"runtime", where}};
  if (!run) {
    record["state"] = "not run";
    record["note"] = run.error().message;
    return record;
  }
  record["state"] = run->exit_code == 0 ? "equal" : "differs";
  if (run->exit_code == 0) {
    record["images"] = vectors;
    record["agreement"] = 1.0;
    record["max_difference"] = 0.0;
    record["mean_difference"] = 0.0;
  }
  if (run->exit_code != 0)
    record["note"] = std::to_string(run->exit_code) + " vectors differ (99: the program crashed)";
  if (!run->regions.empty()) record["instructions"] = run->regions.front().total;
  return record;
}

}  // namespace

Result<std::vector<Record>> verify_folder(const std::string& path, const std::string& cache) {
  const fs::path folder = path;
  NAS_CHECK(check_sums(folder));
  NAS_TRY(program, program_of(folder));
  const Emulator emulator(cache);
  std::vector<Record> rows;
  const auto on_host = [&]() -> Result<devices::emulator::EmulatedRun> {
    NAS_TRY(built, emulator.build_host(program));
    return emulator.run_host(built);
  };
  const std::int64_t vectors = count_vectors(program);
  rows.push_back(row("this machine", vectors, on_host()));
  for (const char* board_name : {"mps2-an386", "mps2-an500", "netduinoplus2"}) {
    const auto on_board = [&]() -> Result<devices::emulator::EmulatedRun> {
      NAS_TRY(board, devices::emulator::find_board(board_name));
      NAS_TRY(built, emulator.build(board, program));
      return emulator.run(board, built, {.count = true});
    };
    rows.push_back(row(std::string(board_name) + " (emulated)", vectors, on_board()));
  }
  for (const char* precision : {"fp32", "int8"})
    if (fs::exists(folder / (std::string("model.") + precision + ".onnx")))
      rows.push_back(verify_onnx(folder, precision));
  return rows;
}

Result<std::vector<Record>> count_operations(const std::string& path, const std::string& board_name,
                                             const std::string& cache) {
  const fs::path folder = path;
  NAS_TRY(program, program_of(folder));
  NAS_TRY(text, read_file(folder / "manifest.json", 1 << 24));
  const Record manifest = Record::parse(text, nullptr, false);
  NAS_TRY(board, devices::emulator::find_board(board_name));
  for (const char* flag : {"-include", "nas_board.h", "-DNET_BEFORE(i)=nas_region_begin();",
                           "-DNET_AFTER(i)=nas_region_end();", "-DNET_NO_REGION"})
    program.flags.emplace_back(flag);
  const Emulator emulator(cache);
  NAS_TRY(built, emulator.build(board, program));
  NAS_TRY(run, emulator.run(board, built, {.count = true}));
  // The first image's operations come first.
  if (!manifest.is_object() || !manifest.contains("operations") ||
      run.regions.size() < manifest["operations"].size())
    return Error{"the manifest lists no operations, or more than ran", path, ErrorKind::verification};
  std::uint64_t total = 0;
  std::vector<Record> rows;
  for (std::size_t i = 0; i < manifest["operations"].size(); ++i) total += run.regions[i].total;
  for (std::size_t i = 0; i < manifest["operations"].size(); ++i) {
    Record r = manifest["operations"][i];
    const double share = static_cast<double>(run.regions[i].total) / static_cast<double>(total);
    r["instructions"] = run.regions[i].total;
    r["share"] = share;
    rows.push_back(std::move(r));
  }
  return rows;
}

namespace {

struct VerifyOptions {
  std::string folder;
  std::string board;  // count its operations, instead
};

Result<int> show_operations(const Context& context, const VerifyOptions& o) {
  NAS_TRY(rows, count_operations(o.folder, o.board, cache_folder()));
  print_records(context,
                {{"operation", "operation"},
                 {"output", "output"},
                 {"macs", "MACs"},
                 {"instructions", "instructions"},
                 {"share", "share"}},
                rows);
  return 0;
}

Result<int> run_verify(const Context& context, const std::string& folder) {
  NAS_TRY(rows, verify_folder(folder, cache_folder()));
  keep_verification(context, folder, rows);
  print_records(context,
                {{"runtime", "runtime"},
                 {"state", "outputs"},
                 {"instructions", "instructions an image"},
                 {"note", "note"}},
                rows);
  bool ran = false;
  for (const Record& r : rows) {
    if (r["state"] == "differs")
      return Error{"the exported forms do not compute the same", folder, ErrorKind::verification};
    ran = ran || r["state"] == "equal";
  }
  if (!ran) return Error{"no runtime could run the export", folder, ErrorKind::verification};
  return 0;
}

}  // namespace

std::string cache_folder() {
  if (const char* own = std::getenv("HWNAS_CACHE")) return own;
  if (const char* home = std::getenv("HOME")) return std::string(home) + "/.cache/hwnas";
  return (fs::temp_directory_path() / "hwnas-cache").string();
}

void add_verify_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = add_command(
      app, "verify", "Prove that an exported folder computes what it should, everywhere it can run",
      {"hwnas verify exports/middle", "hwnas verify exports/middle --operations mps2-an386"});
  command->add_option("DIR", options->folder, "An exported folder")->required();
  command->add_option("--operations", options->board,
                      "Count every operation's instructions on this emulated board, instead");
  command->callback([&context, options] {
    context.action = [&context, options] {
      return options->board.empty() ? run_verify(context, options->folder)
                                    : show_operations(context, *options);
    };
  });
}

}  // namespace nas::apps
