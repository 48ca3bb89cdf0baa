#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "search/evaluator.h"
#include "search/history.h"
#include "search/strategy.h"
#include "space/base/result.h"

namespace nas::search {

// What may be spent; the first limit reached ends the run.
struct Budget {
  std::size_t evaluations = std::numeric_limits<std::size_t>::max();  // different (genotype, fidelity)
  double seconds = std::numeric_limits<double>::infinity();
};
// "500evals", "2h", "90s", "10min", "2h|500evals". Fails (usage) on anything else, also on a budget of 0.
Result<Budget> parse_budget(std::string_view text);
std::string to_string(const Budget& budget);
// Of a configuration that names none.
constexpr const char* kDefaultBudget = "1000evals";

// A strategy that brings nothing new so often in a row has nothing left.
constexpr std::size_t kBarrenAsks = 200;

// Stop when the hypervolume has not grown by `growth` (relative) within `evaluations` evaluations.
struct Stall {
  std::size_t evaluations = 0;  // 0: never
  double growth = 1e-4;
};

enum class Ending { budget, time, exhausted, stalled, stopped };
std::string_view to_string(Ending ending);

// How far a run is; given to the progress callback after every step.
struct Progress {
  std::size_t evaluations = 0;
  std::size_t proposals = 0;  // asked, known ones included
  std::size_t failed = 0;
  double seconds = 0;
  double hypervolume = 0;                   // against the run's reference
  std::optional<double> remaining_seconds;  // to the end of the budget, where it can be told
  std::optional<Row> best;                  // best so far by the first objective
  std::optional<double> best_value;         // its first objective, in the metric's own unit
};

// The hypervolume after so many evaluations.
struct CurvePoint {
  std::size_t evaluations = 0;
  double hypervolume = 0;
};

// Everything besides the history that a run needs to go on.
struct Checkpoint {
  std::size_t rows = 0;
  std::size_t proposals = 0;
  std::size_t barren = 0;  // asks in a row that brought nothing new
  std::uint32_t generation = 0;
  std::vector<double> reference;
  std::vector<CurvePoint> curve;
  std::string strategy;  // its name
  std::string state;     // its save() as JSON text
};

// Where a run writes what it learns; called between steps, from one thread.
struct Journal {
  // Rows [first, history.size()) are new.
  std::function<Result<void>(const History& history, std::size_t first)> rows;
  std::function<Result<void>(const Checkpoint& checkpoint)> checkpoint;
};

// What an interrupted run left: rows up to the checkpoint's become history, later ones spare evaluations.
struct Resume {
  Checkpoint checkpoint;
  std::vector<Genotype> genotypes;
  std::vector<RowInfo> info;
  std::vector<double> values;        // of all rows, flat
  std::vector<std::string> reasons;  // by row; empty where scored
};

struct RunOptions {
  Budget budget;
  Stall stall;
  std::size_t batch = 64;  // genotypes per evaluator call
  // At least so many seconds lie between two checkpoints; 0: one after every step.
  double checkpoint_seconds = 1;
  // Reference of the hypervolume, losses; empty: the worst of the first step's feasible rows, 10 % beyond.
  std::vector<double> reference;
  bool track_hypervolume = true;
  std::function<double()> clock;  // seconds from any start; empty: the steady clock
  std::function<bool()> stop;     // asked between steps
  std::function<void(const Progress&)> progress;
  Journal journal;
};

struct Run {
  History history;
  Ending ending = Ending::budget;
  Progress progress;
  std::vector<double> reference;
  std::vector<CurvePoint> curve;
};

// Asks the strategy, scores what is new (each different genotype once), tells it, until the budget, the
// clock, the stall rule, the stop callback or the strategy ends it. The same for any number of threads. Fails
// on a budget of 0, an evaluator without metrics or callable, a journal that cannot write.
Result<Run> run_search(const SearchSpace& space, const Judge& judge, const Evaluator& evaluator,
                       Strategy& strategy, const RunOptions& options, const Resume* resume = nullptr);

}  // namespace nas::search
