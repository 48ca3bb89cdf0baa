#include "search/run.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>

#include "search/hypervolume.h"
#include "search/pareto.h"
#include "search/text.h"

namespace nas::search {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The running front, its volume and the reference it is measured against.
class VolumeTracker {
 public:
  VolumeTracker(std::size_t dimension, std::vector<double> reference, std::vector<CurvePoint> curve)
      : dimension_(dimension), reference_(std::move(reference)), curve_(std::move(curve)) {}

  void update(const History& history) {
    for (; seen_ < history.size(); ++seen_) {
      const Row row = static_cast<Row>(seen_);
      if (history.feasible(row)) insert(history.losses(row));
    }
    if (reference_.empty()) set_reference(history);
    volume_ = reference_.empty() ? 0 : hypervolume({front_, dimension_}, reference_);
    if (curve_.empty() ? volume_ > 0 : volume_ > curve_.back().hypervolume)
      curve_.push_back({history.size(), volume_});
  }

  bool stalled(const Stall& stall, std::size_t evaluations) const {
    if (stall.evaluations == 0 || curve_.empty() || evaluations < stall.evaluations) return false;
    double before = 0;
    for (const CurvePoint& point : curve_)
      if (point.evaluations + stall.evaluations <= evaluations) before = point.hypervolume;
    return before > 0 && volume_ <= before * (1 + stall.growth);
  }

  double volume() const { return volume_; }
  const std::vector<double>& reference() const { return reference_; }
  const std::vector<CurvePoint>& curve() const { return curve_; }

 private:
  void insert(std::span<const double> losses) {
    const Points front{front_, dimension_};
    for (std::size_t i = 0; i < front.size(); ++i)
      if (weakly_dominates(front[i], losses)) return;
    std::vector<double> kept;
    for (std::size_t i = 0; i < front.size(); ++i)
      if (!weakly_dominates(losses, front[i])) kept.insert(kept.end(), front[i].begin(), front[i].end());
    kept.insert(kept.end(), losses.begin(), losses.end());
    front_ = std::move(kept);
  }

  void set_reference(const History& history) {
    std::vector<double> worst, best;
    for (Row row = 0; row < history.size(); ++row) {
      if (!history.feasible(row)) continue;
      const auto losses = history.losses(row);
      if (worst.empty()) worst = best = {losses.begin(), losses.end()};
      for (std::size_t k = 0; k < dimension_; ++k) {
        worst[k] = std::max(worst[k], losses[k]);
        best[k] = std::min(best[k], losses[k]);
      }
    }
    for (std::size_t k = 0; k < worst.size(); ++k) {
      const double range = worst[k] - best[k];
      worst[k] += range > 0 ? 0.1 * range : std::max(0.1 * std::abs(worst[k]), 1e-9);
    }
    reference_ = std::move(worst);
  }

  std::size_t dimension_;
  std::vector<double> reference_;
  std::vector<CurvePoint> curve_;
  std::vector<double> front_;
  std::size_t seen_ = 0;
  double volume_ = 0;
};

class Runner {
 public:
  Runner(const SearchSpace& space, const Judge& judge, const Evaluator& evaluator, Strategy& strategy,
         const RunOptions& options)
      : options_(options),
        strategy_(strategy),
        evaluator_(batched(guarded(evaluator), options.batch)),
        history_(space.genes().size(), judge),
        volume_(judge.objectives(), options.reference, {}) {
    if (!options_.clock) options_.clock = steady_seconds;
    started_ = options_.clock();
    if (options.budget.evaluations < 10'000'000) history_.reserve(options.budget.evaluations);
  }

  Result<void> restore(const Resume& resume) {
    const Checkpoint& from = resume.checkpoint;
    if (from.strategy != strategy_.name())
      return usage_error("resume: the run was made by strategy \"" + from.strategy + "\", asked is \"" +
                         strategy_.name() + "\"");
    if (from.rows > resume.genotypes.size())
      return Error{"resume: the checkpoint counts " + std::to_string(from.rows) + " candidates, found " +
                   std::to_string(resume.genotypes.size())};
    for (std::size_t i = 0; i < resume.genotypes.size(); ++i) {
      if (i < from.rows)
        restore_row(resume, i);
      else
        known_.emplace(key(resume.genotypes[i], resume.info[i].fidelity), i);
    }
    resume_ = &resume;
    const auto state = nlohmann::json::parse(from.state, nullptr, false);
    if (state.is_discarded()) return Error{"resume: the saved strategy state is no JSON"};
    NAS_CHECK(strategy_.load(state));
    proposals_ = from.proposals;
    barren_ = from.barren;
    journalled_ = from.rows;
    volume_ = VolumeTracker(history_.judge().objectives(), from.reference, from.curve);
    generation_ = from.generation;
    start_rows_ = from.rows;
    if (options_.track_hypervolume && history_.size() > 0) volume_.update(history_);
    note_best(0);
    return {};
  }

  Result<Run> run() {
    std::optional<Ending> ending;
    while (!(ending = over())) {
      ask_.clear();
      strategy_.ask(history_, ask_);
      if (ask_.count == 0) {
        ending = Ending::exhausted;
        break;
      }
      const bool complete = step_once();
      NAS_CHECK(write_rows());
      if (!complete) continue;  // the budget ended inside: over() says so
      strategy_.tell(history_, rows_);
      told_rows_ = history_.size();
      if (options_.track_hypervolume) volume_.update(history_);
      NAS_CHECK(write_checkpoint(options_.checkpoint_seconds));
      if (options_.progress) options_.progress(progress());
    }
    if (told_rows_ == history_.size()) NAS_CHECK(write_checkpoint(0));
    if (options_.track_hypervolume) volume_.update(history_);
    Progress last = progress();
    return Run{std::move(history_), *ending, last, volume_.reference(), volume_.curve()};
  }

 private:
  static Hash128 key(const Genotype& g, double fidelity) {
    return hash_bytes({g.data(), g.size()}, std::bit_cast<std::uint64_t>(fidelity));
  }

  void restore_row(const Resume& resume, std::size_t i) {
    const Row row =
        history_.open({resume.genotypes[i].data(), resume.genotypes[i].size()}, fresh_info(resume.info[i]));
    settle(resume, i, row);
  }

  static RowInfo fresh_info(RowInfo info) {
    info.failure = -1;
    info.violation = 0;
    return info;
  }

  void settle(const Resume& resume, std::size_t i, Row row) {
    const std::size_t metrics = evaluator_.metrics.size();
    failed_ += resume.reasons[i].empty() ? 0 : 1;
    if (!resume.reasons[i].empty())
      history_.settle_failed(row, resume.reasons[i]);
    else
      history_.settle(row, std::span(resume.values).subspan(i * metrics, metrics));
  }

  std::optional<Ending> over() const {
    if (history_.size() >= options_.budget.evaluations) return Ending::budget;
    if (options_.clock() - started_ >= options_.budget.seconds) return Ending::time;
    if (barren_ >= kBarrenAsks) return Ending::exhausted;
    if (options_.stop && options_.stop()) return Ending::stopped;
    if (options_.track_hypervolume && volume_.stalled(options_.stall, history_.size()))
      return Ending::stalled;
    return std::nullopt;
  }

  // Makes rows for the proposals and scores the new ones. False when the budget cut the question short: the
  // strategy is not told then, so that a continued run repeats the question in full.
  bool step_once() {
    const std::size_t first = history_.size();
    rows_.clear();
    bool complete = true;
    for (std::size_t i = 0; i < ask_.count; ++i) {
      const Proposal& p = ask_.proposals[i];
      const std::span<const std::uint8_t> genes{p.genotype.data(), p.genotype.size()};
      if (const auto old = history_.find(genes, ask_.fidelity)) {
        rows_.push_back(*old);
        continue;
      }
      if (history_.size() >= options_.budget.evaluations) {
        complete = false;
        break;
      }
      RowInfo info;
      info.fidelity = ask_.fidelity;
      info.origin = p.origin;
      info.parent_a = p.parent_a;
      info.parent_b = p.parent_b;
      info.generation = generation_;
      rows_.push_back(history_.open(genes, info));
    }
    score(first);
    note_best(first);
    if (!complete) return false;
    ++generation_;
    proposals_ += ask_.count;
    barren_ = history_.size() == first ? barren_ + 1 : 0;
    return true;
  }

  void score(std::size_t first) {
    std::size_t count = 0;
    to_score_.clear();
    for (std::size_t row = first; row < history_.size(); ++row) {
      if (!known_.empty()) {
        const auto found = known_.find(key(history_.genotype(static_cast<Row>(row)), ask_.fidelity));
        if (found != known_.end()) {
          settle(*resume_, found->second, static_cast<Row>(row));
          continue;
        }
      }
      if (count == batch_.size()) batch_.emplace_back(history_.gene_count());
      const auto genes = history_.genes(static_cast<Row>(row));
      std::copy(genes.begin(), genes.end(), &batch_[count++][0]);
      to_score_.push_back(static_cast<Row>(row));
    }
    if (count == 0) return;
    scores_.reset(count, evaluator_.metrics.size());
    evaluator_.score({batch_.data(), count}, ask_.fidelity, scores_);
    for (std::size_t i = 0; i < count; ++i) {
      if (!scores_.failed(i)) {
        history_.settle(to_score_[i], scores_.row(i));
        continue;
      }
      history_.settle_failed(to_score_[i], scores_.reason(i));
      ++failed_;
    }
  }

  void note_best(std::size_t first) {
    for (std::size_t i = first; i < history_.size(); ++i) {
      const Row row = static_cast<Row>(i);
      if (history_.feasible(row) && (!best_ || history_.better(row, *best_))) best_ = row;
    }
  }

  Result<void> write_rows() {
    if (!options_.journal.rows || journalled_ == history_.size()) return {};
    NAS_CHECK(options_.journal.rows(history_, journalled_));
    journalled_ = history_.size();
    return {};
  }

  Result<void> write_checkpoint(double pause) {
    if (!options_.journal.checkpoint || (checkpoint_at_ && options_.clock() - *checkpoint_at_ < pause))
      return {};
    checkpoint_at_ = options_.clock();
    nlohmann::json state;
    strategy_.save(state);
    return options_.journal.checkpoint({history_.size(), proposals_, barren_, generation_,
                                        volume_.reference(), volume_.curve(), strategy_.name(),
                                        state.dump()});
  }

  Progress progress() const {
    Progress p;
    p.evaluations = history_.size();
    p.proposals = proposals_;
    p.failed = failed_;
    p.seconds = options_.clock() - started_;
    p.hypervolume = volume_.volume();
    p.best = best_;
    if (best_) p.best_value = history_.values(*best_)[history_.judge().objective_metric(0)];
    const std::size_t done = history_.size() - start_rows_;
    if (options_.budget.evaluations < SIZE_MAX && done > 0)
      p.remaining_seconds = p.seconds / static_cast<double>(done) *
                            static_cast<double>(options_.budget.evaluations - history_.size());
    const double left = options_.budget.seconds - p.seconds;
    if (std::isfinite(left)) p.remaining_seconds = std::min(left, p.remaining_seconds.value_or(left));
    return p;
  }

  RunOptions options_;
  Strategy& strategy_;
  Evaluator evaluator_;
  History history_;
  VolumeTracker volume_;
  const Resume* resume_ = nullptr;
  std::unordered_map<Hash128, std::size_t> known_;  // rows of the interrupted run after its checkpoint
  double started_ = 0;
  std::size_t start_rows_ = 0;
  std::optional<double> checkpoint_at_;
  std::optional<Row> best_;
  std::size_t told_rows_ = 0;
  std::size_t proposals_ = 0, barren_ = 0, journalled_ = 0, failed_ = 0;
  std::uint32_t generation_ = 0;
  Ask ask_;
  std::vector<Row> rows_, to_score_;
  std::vector<Genotype> batch_;
  Scores scores_;
};

std::optional<double> seconds_of(double amount, std::string_view unit) {
  if (unit == "s") return amount;
  if (unit == "min") return amount * 60;
  if (unit == "h") return amount * 3600;
  return std::nullopt;
}

Result<void> read_part(std::string_view part, const std::string& whole, Budget& budget) {
  const std::size_t digits = std::min(part.find_first_not_of("0123456789."), part.size());
  const std::string amount_text(part.substr(0, digits));
  const std::string_view unit = part.substr(digits);
  char* end = nullptr;
  const double amount = std::strtod(amount_text.c_str(), &end);
  const bool is_number = !amount_text.empty() && *end == 0;
  const bool count = unit == "evals" || unit == "eval";
  const auto seconds = seconds_of(amount, unit);
  if (!is_number || (!count && !seconds) || (count && amount != std::floor(amount)))
    return usage_error("budget \"" + whole + "\": required like 500evals, 90s, 10min, 2h or 2h|500evals");
  if (amount <= 0) return usage_error("budget \"" + whole + "\" is 0: nothing would be evaluated");
  if (count)
    budget.evaluations = static_cast<std::size_t>(std::min(amount, 1e15));
  else
    budget.seconds = *seconds;
  return {};
}

}  // namespace

std::string_view to_string(Ending ending) {
  constexpr std::string_view kNames[] = {"budget", "time", "exhausted", "stalled", "stopped"};
  return kNames[static_cast<std::size_t>(ending)];
}

Result<Budget> parse_budget(std::string_view text) {
  Budget budget;
  const std::string whole(text);
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t bar = std::min(text.find('|', from), text.size());
    NAS_CHECK(read_part(text.substr(from, bar - from), whole, budget));
    from = bar + 1;
  }
  return budget;
}

std::string to_string(const Budget& budget) {
  std::string text;
  if (std::isfinite(budget.seconds)) text = number(budget.seconds) + "s";
  if (budget.evaluations < SIZE_MAX)
    text += (text.empty() ? "" : "|") + std::to_string(budget.evaluations) + "evals";
  return text.empty() ? "unlimited" : text;
}

Result<Run> run_search(const SearchSpace& space, const Judge& judge, const Evaluator& evaluator,
                       Strategy& strategy, const RunOptions& options, const Resume* resume) {
  if (!evaluator.score || evaluator.metrics.size() != judge.metrics().size())
    return usage_error("the evaluator gives " + std::to_string(evaluator.metrics.size()) +
                       " metrics, the problem was bound to " + std::to_string(judge.metrics().size()));
  if (options.budget.evaluations == 0 || options.budget.seconds <= 0)
    return usage_error("the budget is 0: nothing would be evaluated");
  if (!options.reference.empty() && options.reference.size() != judge.objectives())
    return usage_error("the hypervolume reference has " + std::to_string(options.reference.size()) +
                       " numbers, the problem " + std::to_string(judge.objectives()) + " objectives");
  Runner runner(space, judge, evaluator, strategy, options);
  if (resume != nullptr) NAS_CHECK(runner.restore(*resume));
  return runner.run();
}

}  // namespace nas::search
