#include <algorithm>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/front_rows.h"
#include "search/hypervolume.h"
#include "search/run_folder.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using search::Row;

// Losses of a front under another run's question; empty where a metric is missing.
std::vector<double> front_losses(const search::LoadedRun& run) {
  std::vector<double> flat;
  for (const Row row : run.history.front())
    flat.insert(flat.end(), run.history.losses(row).begin(), run.history.losses(row).end());
  return flat;
}

// The problem's own reference where all runs have the same, so that the numbers are those that each run
// printed; else the worst of all fronts, 10 % beyond.
std::vector<double> reference_of(const std::vector<search::LoadedRun>& runs) {
  const std::vector<double>& own = runs[0].record.reference;
  if (!own.empty() && std::ranges::all_of(runs, [&](const auto& r) { return r.record.reference == own; }))
    return own;
  const std::size_t d = runs[0].history.judge().objectives();
  std::vector<double> worst(d, -1e300), best(d, 1e300);
  for (const auto& run : runs) {
    const std::vector<double> flat = front_losses(run);
    for (std::size_t i = 0; i < flat.size(); ++i) {
      worst[i % d] = std::max(worst[i % d], flat[i]);
      best[i % d] = std::min(best[i % d], flat[i]);
    }
  }
  for (std::size_t k = 0; k < d; ++k) worst[k] += 0.1 * std::max(worst[k] - best[k], 1e-12);
  return worst;
}

Result<int> compare_command(const Context& context, const std::vector<std::string>& names) {
  std::vector<search::LoadedRun> runs;
  for (const std::string& name : names) {
    NAS_TRY(run, search::load_run(run_folder(context.project, name)));
    runs.push_back(std::move(run));
    const auto same = [](const search::Objective& a, const search::Objective& b) {
      return a.metric == b.metric && a.goal == b.goal;
    };
    if (!std::ranges::equal(runs[0].record.problem.objectives, runs.back().record.problem.objectives, same))
      return usage_error("runs " + names[0] + " and " + name +
                         " have different objectives; their fronts do not compare");
  }
  const std::size_t d = runs[0].history.judge().objectives();
  const std::vector<double> reference = reference_of(runs);
  std::vector<Record> records;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const std::vector<double> flat = front_losses(runs[r]);
    std::size_t shared = 0;
    for (Row row = 0; row < runs[r].history.size(); ++row)
      shared += runs[0].history.gene_count() == runs[r].history.gene_count() &&
                runs[0].history.find(runs[r].history.genes(row)).has_value();
    records.push_back({{"run", names[r]},
                       {"strategy", runs[r].record.strategy},
                       {"seed", runs[r].record.seed},
                       {"candidates", runs[r].history.size()},
                       {"front", flat.size() / d},
                       {"hypervolume", search::hypervolume({flat, d}, reference)},
                       {"shared", shared}});
  }
  print_records(context,
                {{"run", "run"},
                 {"strategy", "strategy"},
                 {"seed", "seed"},
                 {"candidates", "candidates"},
                 {"front", "on the front"},
                 {"hypervolume", "hypervolume"},
                 {"shared", "shared with the first"}},
                records);
  return 0;
}

}  // namespace

void add_compare_command(CLI::App& app, Context& context) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto* compare =
      add_command(app, "compare", "Fronts of several runs side by side", {"hwnas compare RUN RUN"});
  compare->add_option("runs", *names, "Names or folders of runs")->required()->expected(2, 1000);
  compare->callback(
      [&context, names] { context.action = [&context, names] { return compare_command(context, *names); }; });
}

}  // namespace nas::apps
