#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "apps/project_sessions.h"
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
  NAS_TRY(found, find_session(context, options.first));
  const latency::Session& session = found.session;
  std::vector<Record> records;
  for (const KernelRecord& r : session.kernels) records.push_back(row(r, session.info.unit));
  print_records(context, columns(), records);
  return 0;
}

// The kernels of two sessions that both have a number.
using Pairs = std::vector<std::pair<const KernelRecord*, const KernelRecord*>>;

Result<Pairs> pairs_of(const latency::Session& a, const latency::Session& b, const std::string& where) {
  for (const auto& [what, x, y] : {std::tuple{"device", &a.info.device, &b.info.device},
                                   {"engine", &a.info.engine, &b.info.engine},
                                   {"precision", &a.info.precision, &b.info.precision},
                                   {"unit", &a.info.unit, &b.info.unit}})
    if (*x != *y)
      return usage_error(std::string("the tables must be of one ") + what + ", found " + *x + " and " + *y,
                         where);
  std::map<std::string, const KernelRecord*> known;
  for (const KernelRecord& r : a.kernels)
    if (r.failure.empty()) known[r.signature] = &r;
  Pairs pairs;
  for (const KernelRecord& r : b.kernels)
    if (const auto found = known.find(r.signature); r.failure.empty() && found != known.end())
      pairs.push_back({found->second, &r});
  if (pairs.empty()) return usage_error("the tables have no kernel in common", where);
  return pairs;
}

// How much slower the machine was in the second session by its reference kernel, where both have the same
// one.
std::optional<double> reference_ratio(const latency::SessionInfo& a, const latency::SessionInfo& b) {
  const auto word = [](const latency::SessionInfo& info, const std::string& key) {
    const auto found = info.context.find(key);
    return found == info.context.end() ? std::string() : found->second;
  };
  const double x = std::atof(word(a, "reference speed [ns]").c_str());
  const double y = std::atof(word(b, "reference speed [ns]").c_str());
  if (!(x > 0) || !(y > 0) || word(a, "reference") != word(b, "reference")) return {};
  return y / x;
}

// Agreement and distances, the second session's times divided by `common`.
struct Agreement {
  double meet = 0, meet_own = 0;  // shares whose intervals meet; own: without what is common to a session
  std::vector<double> distances;  // ascending
};

Agreement agreement(const Pairs& pairs, double common) {
  Agreement result;
  const double share = 1.0 / static_cast<double>(pairs.size());
  for (const auto& [a, b] : pairs) {
    result.distances.push_back(std::abs(b->median / common / a->median - 1));
    result.meet += b->low / common <= a->high && a->low <= b->high / common ? share : 0;
    const bool own = b->own_low / common <= a->own_high && a->own_low <= b->own_high / common;
    result.meet_own += own ? share : 0;
  }
  std::ranges::sort(result.distances);
  return result;
}

double median_half_width(const latency::Session& session) {
  std::vector<double> widths;
  for (const KernelRecord& r : session.kernels)
    if (r.failure.empty()) widths.push_back((r.high - r.low) / 2 / r.median);
  return latency::median_of(widths);
}

// How far two sessions of one device agree: what the machine as a whole has drifted apart from what the
// kernels have.
Result<int> diff_tables(const Context& context, const TableOptions& options) {
  NAS_TRY(first, find_session(context, options.first));
  NAS_TRY(second, find_session(context, options.second));
  const latency::Session &a = first.session, &b = second.session;
  NAS_TRY(pairs, pairs_of(a, b, options.second));
  std::vector<double> ratios;
  std::size_t equal = 0;
  for (const auto& [x, y] : pairs) {
    ratios.push_back(y->median / x->median);
    equal += x->median == y->median;
  }
  const double common = latency::median_of(ratios);
  const Agreement raw = agreement(pairs, 1), apart = agreement(pairs, common);
  Record record{{"kernels", ratios.size()},
                {"median_ratio", common},
                {"intervals_meet", raw.meet},
                {"half_width_first", median_half_width(a)},
                {"half_width_second", median_half_width(b)},
                {"identical", static_cast<double>(equal) / static_cast<double>(ratios.size())},
                {"median_difference", latency::sorted_quantile(raw.distances, 0.5)},
                {"p90_difference", latency::sorted_quantile(raw.distances, 0.9)},
                {"worst_difference", raw.distances.back()},
                {"common_meet", apart.meet_own},
                {"common_p90_difference", latency::sorted_quantile(apart.distances, 0.9)}};
  std::vector<Column> columns{{"kernels", "kernels in both"},
                              {"intervals_meet", "share whose intervals meet"},
                              {"half_width_first", "median half width, first"},
                              {"half_width_second", "median half width, second"},
                              {"identical", "share that is identical"},
                              {"median_difference", "median relative difference"},
                              {"p90_difference", "90 % are below"},
                              {"worst_difference", "worst"},
                              {"median_ratio", "the machine: median ratio, second over first"}};
  if (const auto ratio = reference_ratio(a.info, b.info)) {
    record["reference_ratio"] = *ratio;
    columns.push_back({"reference_ratio", "the machine: its reference kernel's ratio"});
  }
  columns.push_back({"common_meet", "without the machine's: share whose own intervals meet"});
  columns.push_back({"common_p90_difference", "without the machine's: 90 % are below"});
  print_record(context, columns, record);
  return raw.meet >= 0.9 ? 0 : 4;
}

Result<int> export_table(const Context& context, const TableOptions& options) {
  NAS_TRY(found, find_session(context, options.first));
  const latency::Session& session = found.session;
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
