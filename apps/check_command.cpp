#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/device_check.h"
#include "apps/scores.h"
#include "apps/trained_run.h"
#include "search/run_folder.h"
#include "search/text.h"
#include "space/base/file.h"
#include "space/learn/metrics.h"

// What a search predicted, against the supernet and the devices themselves.
namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct CheckOptions {
  std::string run, front, split = "test", space;
  std::size_t networks = 0;   // at most; 0: all
  std::size_t on_device = 8;  // of these measured on each device; 0: none
};
constexpr std::size_t kMostRows = 12;   // of a table that people read
constexpr double kLatencyAgrees = 0.1;  // relative

// `most` of them (0: all), evenly, the first and the last included.
template <class T>
std::vector<T> spread(const std::vector<T>& all, std::size_t most) {
  if (most == 0 || all.size() <= most) return all;
  std::vector<T> some;
  for (std::size_t i = 0; i < most; ++i)
    some.push_back(all[most < 2 ? 0 : i * (all.size() - 1) / (most - 1)]);
  return some;
}

// One metric of one network.
struct Pair {
  std::size_t network = 0;
  double predicted = 0, measured = 0;
  bool agrees = true;
};

// One metric, predicted by the search and measured somewhere.
struct Comparison {
  std::string metric, where, device, unit;
  std::string agreement;  // what it takes to agree, as "3 of 8 networks …" ends
  std::vector<Pair> pairs;
  std::string missing;  // why something was not measured
};

// The networks of a front that are checked, with what was measured of them.
struct Checked {
  search::LoadedRun found;
  std::vector<search::Row> front;
  std::vector<std::string> names;
  ScoredNetworks scored;
  std::vector<Comparison> comparisons;
};

std::optional<double> predicted_of(const Checked& c, std::size_t network, const std::string& metric) {
  const int at = c.found.history.judge().find(metric);
  if (at < 0) return std::nullopt;
  return c.found.history.values(c.front[network])[static_cast<std::size_t>(at)];
}

Comparison compare_accuracy(const Checked& c, const std::string& split) {
  Comparison top1{"top1",
                  "on the " + split + " split",
                  "supernet, " + split + " split",
                  "share",
                  "lie outside the measurement's 95 % interval",
                  {},
                  {}};
  for (std::size_t i = 0; i < c.names.size(); ++i) {
    const supernet::Score& score = c.scored.scores[i];
    if (const auto predicted = predicted_of(c, i, "top1"))
      top1.pairs.push_back(
          {i, *predicted, score.top1, *predicted >= score.top1_low && *predicted <= score.top1_high});
  }
  return top1;
}

Result<void> compare_latencies(const Context& context, const fs::path& folder, const SearchSpace& space,
                               std::size_t most, Checked& c) {
  std::vector<std::size_t> some(c.names.size());
  for (std::size_t i = 0; i < some.size(); ++i) some[i] = i;
  some = spread(some, most);
  std::vector<std::string> names;
  for (const std::size_t i : some) names.push_back(c.names[i]);
  NAS_TRY(devices, measure_on_devices(context, c.found.record, folder, space, names));
  for (const DeviceCheck& device : devices) {
    Comparison latency{device.metric,
                       "on " + device.device,
                       device.device,
                       device.unit,
                       "are more than " + search::number(100 * kLatencyAgrees) + " % off",
                       {},
                       device.missing};
    for (std::size_t k = 0; k < some.size(); ++k) {
      const auto predicted = predicted_of(c, some[k], device.metric);
      const auto& measured = device.measured[k];
      if (predicted && measured)
        latency.pairs.push_back(
            {some[k], *predicted, *measured, std::abs(*predicted / *measured - 1) <= kLatencyAgrees});
    }
    c.comparisons.push_back(std::move(latency));
  }
  return {};
}

// Everything of every network; what was measured of a metric besides accuracy is METRIC_measured.
std::vector<Record> to_rows(const Checked& c) {
  std::vector<Record> rows = to_records(c.scored);
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (const search::Metric& metric : c.found.record.metrics)
      rows[i][metric.name == "top1" ? "top1_predicted" : metric.name] = *predicted_of(c, i, metric.name);
  for (const Comparison& one : c.comparisons)
    for (const Pair& pair : one.pairs)
      if (one.metric != "top1") rows[pair.network][one.metric + "_measured"] = pair.measured;
  return rows;
}

// One line a network and metric, as `hwnas report` and `hwnas try` read them.
std::string prediction_lines(const Checked& c) {
  std::string text;
  for (const Comparison& one : c.comparisons)
    for (const Pair& pair : one.pairs)
      text += Record{{"arch", c.names[pair.network]}, {"device", one.device},
                     {"metric", one.metric},          {"unit", one.unit},
                     {"predicted", pair.predicted},   {"measured", pair.measured}}
                  .dump() +
              "\n";
  if (predicted_of(c, 0, "top1")) return text;
  // A search without accuracies: what was measured stands alone.
  for (std::size_t i = 0; i < c.names.size(); ++i)
    text += Record{{"arch", c.names[i]},
                   {"device", c.comparisons.front().device},
                   {"metric", "top1"},
                   {"unit", "share"},
                   {"measured", c.scored.scores[i].top1}}
                .dump() +
            "\n";
  return text;
}

void print_rows(const Context& context, const Checked& c, const fs::path& file) {
  std::vector<Column> columns = kScoreColumns;
  if (predicted_of(c, 0, "top1")) columns.insert(columns.begin() + 1, {"top1_predicted", "top-1 predicted"});
  for (const Comparison& one : c.comparisons) {
    if (one.metric == "top1" || one.pairs.empty()) continue;
    columns.push_back({one.metric, one.metric + " predicted", one.unit});
    columns.push_back({one.metric + "_measured", "measured", one.unit});
  }
  const std::vector<Record> rows = to_rows(c);
  const bool table = context.format == "table";
  print_records(context, columns, spread(rows, table ? kMostRows : 0));
  if (table && !context.quiet && rows.size() > kMostRows)
    std::fprintf(stderr, "%zu of %zu networks; all are in %s\n", kMostRows, rows.size(), file.c_str());
}

// How far the numbers are apart, and where most.
Result<void> say(const Checked& c, const Comparison& one) {
  if (!one.missing.empty())
    std::fprintf(stderr, "%s %s: %zu networks measured; %s\n", one.metric.c_str(), one.where.c_str(),
                 one.pairs.size(), one.missing.c_str());
  if (one.pairs.empty()) return {};
  std::vector<double> predicted, measured;
  for (const Pair& pair : one.pairs) predicted.push_back(pair.predicted), measured.push_back(pair.measured);
  const auto farness = [](const Pair& p) { return std::abs(p.predicted / p.measured - 1); };
  const Pair& farthest = *std::ranges::max_element(one.pairs, {}, farness);
  std::string quality;
  if (one.pairs.size() > 1) {
    NAS_TRY(score, learn::evaluate(measured, predicted));
    char text[120];
    std::snprintf(text, sizeof text,
                  one.metric == "top1" ? "rmse %.4f, Kendall's tau %.3f" : "MAPE %.2f %%, Kendall's tau %.3f",
                  one.metric == "top1" ? score.rmse : score.mape, score.kendall);
    quality = std::string(text) + " over " + std::to_string(one.pairs.size()) + " networks; ";
  }
  const auto off = std::ranges::count(one.pairs, false, &Pair::agrees);
  std::fprintf(stderr, "%s predicted against measured %s: %s%td of %zu %s; farthest is %s: %s, measured %s\n",
               one.metric.c_str(), one.where.c_str(), quality.c_str(), off, one.pairs.size(),
               one.agreement.c_str(), c.names[farthest.network].c_str(),
               search::number(farthest.predicted).c_str(), search::number(farthest.measured).c_str());
  return {};
}

// Limits that the predictions kept and the measurements do not.
void say_broken_limits(const Checked& c) {
  const search::Judge& judge = c.found.history.judge();
  std::size_t broken = 0;
  std::string first;
  for (std::size_t i = 0; i < c.names.size(); ++i) {
    const auto values = c.found.history.values(c.front[i]);
    std::vector<double> measured(values.begin(), values.end());
    for (const Comparison& one : c.comparisons)
      for (const Pair& pair : one.pairs)
        if (pair.network == i) measured[static_cast<std::size_t>(judge.find(one.metric))] = pair.measured;
    if (judge.violation(measured) == 0) continue;
    if (broken++ == 0) first = c.names[i] + ": " + judge.explain(measured);
  }
  if (broken > 0)
    std::fprintf(stderr, "as measured, %zu of %zu networks break the limits; %s\n", broken, c.names.size(),
                 first.c_str());
}

Result<Checked> open_front(const fs::path& folder, std::size_t most) {
  NAS_TRY(found, search::load_run(folder));
  const auto front = spread(found.history.front(), most);
  if (front.empty()) return Error{"the front is empty", folder.string(), ErrorKind::infeasible};
  Checked c{std::move(found), front, {}, {}, {}};
  for (const search::Row row : front) c.names.push_back(c.found.texts[row]);
  return c;
}

Result<int> run_check(const Context& context, const CheckOptions& o) {
  const fs::path folder = run_folder(context.project, o.front);
  NAS_TRY(c, open_front(folder, o.networks));
  NAS_TRY(run, open_trained_run(o.run));
  NAS_CHECK(use_space(run, o.space));
  const data::Split split = o.split == "test" ? data::Split::test : data::Split::validation;
  Ledger ledger(context, folder);
  begin_scoring(ledger,
                scoring_run("check", folder.filename().string() + "-check", run.job, run.digest,
                            {{"search", o.front}, {"run", o.run}, {"split", o.split}}),
                run.job, run.digest);
  const auto checked = [&]() -> Result<int> {
    NAS_TRY(scored, score_all(run.job, run.loaded.supernet, c.names, split));
    keep_scores(ledger, run.job, run.digest, split, scored);
    c.scored = std::move(scored);
    c.comparisons.push_back(compare_accuracy(c, o.split));
    if (o.on_device > 0) NAS_CHECK(compare_latencies(context, folder, run.job.space, o.on_device, c));
    NAS_CHECK(write_file(folder / "predictions.jsonl", prediction_lines(c)));
    return 0;
  };
  NAS_CHECK(ledger.end(checked()));
  print_rows(context, c, folder / "predictions.jsonl");
  if (context.quiet) return 0;
  for (const Comparison& one : c.comparisons) NAS_CHECK(say(c, one));
  say_broken_limits(c);
  return 0;
}

}  // namespace

void add_check_command(CLI::App& app, Context& context) {
  CLI::App* check_command =
      add_command(app, "check",
                  "Measure the front of a search on the supernet and its devices, beside what was predicted",
                  {"hwnas check mcu --run runs/supernet",
                   "hwnas check mcu --run runs/supernet --split validation --on-device 0"});
  auto check = std::make_shared<CheckOptions>();
  check_command->add_option("SEARCH", check->front, "Name or folder of a search")->required();
  check_command->add_option("--run", check->run, "Folder of the training run")->required();
  check_command->add_option("--space", check->space, kSpaceHelp);
  check_command->add_option("--split", check->split, "validation or test")
      ->check(CLI::IsMember({"validation", "test"}));
  check_command->add_option("--networks", check->networks,
                            "At most so many, evenly over the front; 0: all of it");
  check_command->add_option("--on-device", check->on_device,
                            "Of these at most so many measured on each device whose session the search read; "
                            "0: none");
  check_command->callback(
      [&context, check] { context.action = [&context, check] { return run_check(context, *check); }; });
}

}  // namespace nas::apps
