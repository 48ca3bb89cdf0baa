#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "apps/command.h"
#include "latency/measure/session.h"
#include "latency/measure/statistics.h"
#include "latency/ofa_yaml.h"
#include "latency/table_import.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;
using latency::KernelRecord;

struct TableOptions {
  std::string first;
  std::string second;
  std::string out;
};

// A file, or the name of one in the project's sessions folder.
Result<latency::Session> find_session(const Context& context, const std::string& name) {
  const fs::path kept = fs::path(context.project) / "sessions" / (name + ".jsonl");
  return latency::load_session(fs::exists(kept) ? kept : fs::path(name));
}

const std::vector<Column>& columns() {
  static const std::vector<Column> kColumns{{"signature", "kernel"},
                                            {"median", "median"},
                                            {"low", "low"},
                                            {"high", "high"},
                                            {"p05", "p05"},
                                            {"p90", "p90"},
                                            {"n", "samples"},
                                            {"steady", "steady"},
                                            {"unit", "unit"},
                                            {"source", "source"},
                                            {"nanojoules", "energy [nJ]"},
                                            {"failure", "failure"}};
  return kColumns;
}

Record row(const KernelRecord& r, const std::string& unit) {
  if (!r.failure.empty()) return {{"signature", r.signature}, {"unit", unit}, {"failure", r.failure}};
  Record shown{{"signature", r.signature},
               {"median", r.median},
               {"low", r.low},
               {"high", r.high},
               {"p05", r.p05},
               {"p90", r.p90},
               {"n", r.n},
               {"steady", r.steady},
               {"unit", unit},
               {"source", "measured"}};
  if (r.energy) {
    shown["nanojoules"] = r.energy->nanojoules;
    shown["energy_source"] = r.energy->source;
  }
  return shown;
}

Result<int> show_table(const Context& context, const TableOptions& options) {
  NAS_TRY(session, find_session(context, options.first));
  std::vector<Record> records;
  for (const KernelRecord& r : session.kernels) records.push_back(row(r, session.info.unit));
  print_records(context, columns(), records);
  return 0;
}

// How far two sessions of one device agree: the drift between them.
Result<int> diff_tables(const Context& context, const TableOptions& options) {
  NAS_TRY(a, find_session(context, options.first));
  NAS_TRY(b, find_session(context, options.second));
  for (const auto& [what, x, y] : {std::tuple{"device", &a.info.device, &b.info.device},
                                   {"engine", &a.info.engine, &b.info.engine},
                                   {"precision", &a.info.precision, &b.info.precision},
                                   {"unit", &a.info.unit, &b.info.unit}})
    if (*x != *y)
      return usage_error(std::string("the tables must be of one ") + what + ", found " + *x + " and " + *y,
                         options.second);
  std::map<std::string, const KernelRecord*> known;
  for (const KernelRecord& r : a.kernels)
    if (r.failure.empty()) known[r.signature] = &r;
  std::vector<double> ratios, distances;
  std::size_t agree = 0, equal = 0;
  for (const KernelRecord& r : b.kernels) {
    const auto found = known.find(r.signature);
    if (!r.failure.empty() || found == known.end()) continue;
    const KernelRecord& old = *found->second;
    ratios.push_back(r.median / old.median);
    distances.push_back(std::abs(ratios.back() - 1));
    agree += r.low <= old.high && old.low <= r.high;
    equal += r.median == old.median;
  }
  if (ratios.empty()) return usage_error("the tables have no kernel in common", options.second);
  std::ranges::sort(distances);
  const double n = static_cast<double>(ratios.size());
  const Record record{{"kernels", ratios.size()},
                      {"median_ratio", latency::median_of(ratios)},
                      {"intervals_meet", static_cast<double>(agree) / n},
                      {"identical", static_cast<double>(equal) / n},
                      {"median_difference", latency::sorted_quantile(distances, 0.5)},
                      {"p90_difference", latency::sorted_quantile(distances, 0.9)},
                      {"worst_difference", distances.back()}};
  print_record(context,
               {{"kernels", "kernels in both"},
                {"median_ratio", "median ratio, second over first"},
                {"intervals_meet", "share whose intervals meet"},
                {"identical", "share that is identical"},
                {"median_difference", "median relative difference"},
                {"p90_difference", "90 % are below"},
                {"worst_difference", "worst"}},
               record);
  return static_cast<double>(agree) / n >= 0.9 ? 0 : 4;
}

Result<int> export_table(const Context& context, const TableOptions& options) {
  NAS_TRY(session, find_session(context, options.first));
  const std::string text = latency::to_csv(session);
  if (!options.out.empty()) {
    NAS_CHECK(write_file(options.out, text));
    return 0;
  }
  std::fputs(text.c_str(), stdout);
  return 0;
}

Result<int> import_table(const Context& context, const TableOptions& options) {
  NAS_TRY(text, read_file(options.first, std::uint64_t{1} << 28));
  const bool csv = fs::path(options.first).extension() == ".csv";
  NAS_TRY(session,
          csv ? latency::read_table_csv(text, options.first) : latency::read_ofa_yaml(text, options.first));
  if (!csv)
    session.info = {options.second, options.second, "imported", "imported", "fp32", "ns", "", "unknown", {}};
  session.info.id = options.second;
  if (session.info.device == "imported") session.info.device = options.second;
  session.info.context["imported from"] = fs::path(options.first).filename().string();
  std::string lines = latency::to_line(session.info);
  for (const KernelRecord& r : session.kernels) lines += latency::to_line(r);
  const fs::path path = fs::path(context.project) / "sessions" / (options.second + ".jsonl");
  if (fs::exists(path)) return usage_error("a session of that name exists already", path.string());
  NAS_CHECK(write_file(path, lines));
  print_record(context, {{"kernels", "entries"}, {"session", "session"}},
               {{"kernels", session.kernels.size()}, {"session", path.string()}});
  return 0;
}

}  // namespace

void add_table_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<TableOptions>();
  CLI::App* group =
      add_command(app, "table", "Latency tables: sessions of `hwnas profile`",
                  {"hwnas table show host-fp32-tiny", "hwnas table diff monday.jsonl friday.jsonl"});
  group->require_subcommand(0, 1);
  using Verb = Result<int> (*)(const Context&, const TableOptions&);
  const auto verb = [&](const char* name, const char* description, const char* example, Verb run) {
    CLI::App* command = add_command(*group, name, description, {example});
    command->add_option("table", options->first, "A session's name or file")->required();
    command->callback([&context, options, run] {
      context.action = [&context, options, run] { return run(context, *options); };
    });
    return command;
  };
  verb("show", "Every kernel with its time and interval", "hwnas table show host-fp32-tiny -f csv",
       show_table);
  verb("diff", "Drift between two sessions of one device; exit 4 when under 90 % agree",
       "hwnas table diff a.jsonl b.jsonl", diff_tables)
      ->add_option("other", options->second, "The later session")
      ->required();
  verb("export", "As CSV", "hwnas table export host-fp32-tiny --out table.csv", export_table)
      ->add_option("--out", options->out, "The file; default: standard output");
  verb("import", "A table that others made: once-for-all's YAML (milliseconds), or CSV",
       "hwnas table import lookup_table.yaml note10", import_table)
      ->add_option("name", options->second, "The session's name here")
      ->required()
      ->check([](const std::string& name) {
        return name.find_first_of("/\\") == std::string::npos && !name.empty() && name[0] != '.'
                   ? std::string()
                   : std::string("a name without slashes is needed");
      });
}

}  // namespace nas::apps
