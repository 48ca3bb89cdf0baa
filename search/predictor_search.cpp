#include "search/predictor_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/genetic.h"
#include "search/rows_json.h"
#include "search/run.h"
#include "space/learn/linear.h"

namespace nas::search {

// For every metric, several linear models on random weightings of the candidates.
struct PredictorSearch::Ensemble {
  std::vector<std::vector<learn::Linear>> models;  // [metric][member]

  // Mean of the members per metric; returns their spread relative to the target's, summed over the metrics.
  double predict(std::span<const double> x, std::span<const double> spread_of_metric,
                 std::span<double> out) const {
    double doubt = 0;
    for (std::size_t m = 0; m < models.size(); ++m) {
      double sum = 0, squares = 0;
      for (const learn::Linear& model : models[m]) {
        const double value = model.predict(x);
        sum += value;
        squares += value * value;
      }
      const auto n = static_cast<double>(models[m].size());
      out[m] = sum / n;
      doubt += std::sqrt(std::max(0.0, squares / n - out[m] * out[m])) / spread_of_metric[m];
    }
    return doubt;
  }
  std::vector<double> spread;  // of each metric over the training rows
};

PredictorSearch::PredictorSearch(Setting setting, PredictorOptions options)
    : variation_(std::move(setting)), options_(options) {
  const GeneForest& forest = *variation_.setting().forest;
  options_.initial = std::max<std::size_t>(options_.initial, 4);
  options_.batch = std::max<std::size_t>(options_.batch, 1);
  feature_count_ = forest.offset(forest.size());
  std::size_t joint = 0;
  for (const auto& group : forest.groups())
    for (std::size_t i = 0; i < group.size(); ++i)
      for (std::size_t j = i + 1; j < group.size(); ++j) pairs_.emplace_back(group[i], group[j]);
  for (std::uint32_t child = 0; child < forest.size(); ++child) {
    if (forest.parent(child) < 0) continue;
    pairs_.emplace_back(static_cast<std::uint32_t>(forest.parent(child)), child);
    for (std::uint32_t root = 0; root < child; ++root)
      if (forest.parent(root) < 0 && static_cast<int>(root) != forest.parent(child)) {
        const bool has_children = std::ranges::any_of(pairs_, [&](const auto& p) {
          return p.first == root && forest.parent(p.second) == static_cast<int>(root);
        });
        if (!has_children) pairs_.emplace_back(root, child);
      }
  }
  for (const auto& [a, b] : pairs_) joint += std::size_t{forest.choices(a)} * forest.choices(b);
  if (feature_count_ + joint > options_.max_features)
    pairs_.clear();
  else
    feature_count_ += joint;
}

void PredictorSearch::features(const Genotype& g, std::span<double> out) const {
  const GeneForest& forest = *variation_.setting().forest;
  std::ranges::fill(out, 0.0);
  std::vector<std::uint8_t> active(forest.size());
  forest.activity(g, active);
  for (std::size_t i = 0; i < forest.size(); ++i)
    if (active[i]) out[forest.offset(i) + g[i]] = 1;
  std::size_t at = forest.offset(forest.size());
  for (const auto& [a, b] : pairs_) {
    if (active[a] && active[b]) out[at + std::size_t{g[a]} * forest.choices(b) + g[b]] = 1;
    at += std::size_t{forest.choices(a)} * forest.choices(b);
  }
}

std::shared_ptr<const PredictorSearch::Ensemble> PredictorSearch::fit(const History& history) const {
  std::vector<Row> rows;
  for (Row row = 0; row < history.size(); ++row)
    if (!history.failed(row) && history.info(row).fidelity >= 1) rows.push_back(row);
  if (rows.size() < options_.initial / 2) return nullptr;
  learn::Matrix x(rows.size(), feature_count_);
  for (std::size_t i = 0; i < rows.size(); ++i) features(history.genotype(rows[i]), x.row(i));
  auto ensemble = std::make_shared<Ensemble>();
  for (std::size_t m = 0; m < history.judge().metrics().size(); ++m) {
    std::vector<double> y;
    for (const Row row : rows) y.push_back(history.values(row)[m]);
    const double mean = std::accumulate(y.begin(), y.end(), 0.0) / static_cast<double>(y.size());
    double squares = 0;
    for (const double v : y) squares += (v - mean) * (v - mean);
    ensemble->spread.push_back(std::max(std::sqrt(squares / static_cast<double>(y.size())), 1e-12));
    auto& members = ensemble->models.emplace_back();
    for (std::size_t k = 0; k < options_.members; ++k) {
      // Exponential weights: the Bayesian bootstrap (Rubin 1981), without rows that vanish.
      Rng rng(variation_.setting().seed, "predictor: weights", step_, m * options_.members + k);
      std::vector<double> weights(rows.size());
      for (double& w : weights) w = k == 0 ? 1.0 : -std::log1p(-rng.uniform());
      const auto model = learn::fit_ridge(x, y, {1e-4, 0}, weights);
      if (!model) return nullptr;
      members.push_back(*model);
    }
  }
  return ensemble;
}

void PredictorSearch::add_random(const History& history, std::size_t count, Ask& ask) const {
  for (std::size_t i = 0; i < count; ++i) {
    Rng rng(variation_.setting().seed, "predictor: random", step_, i);
    Proposal& proposal = ask.add();
    for (int tries = 0; tries < 8; ++tries) {
      variation_.sample(proposal.genotype, rng);
      if (!history.find({proposal.genotype.data(), proposal.genotype.size()})) break;
    }
    proposal.origin = step_ == 0 ? Origin::initial : Origin::random;
  }
}

void PredictorSearch::ask(const History& history, Ask& ask) {
  const auto ensemble = step_ == 0 ? nullptr : fit(history);
  if (!ensemble) return add_random(history, step_ == 0 ? options_.initial : options_.batch, ask);
  propose(history, ensemble, ask);
  if (ask.count < options_.batch) add_random(history, options_.batch - ask.count, ask);
}

void PredictorSearch::propose(const History& history, std::shared_ptr<const Ensemble> ensemble,
                              Ask& ask) const {
  Evaluator predicted{{history.judge().metrics().begin(), history.judge().metrics().end()},
                      ThreadSafety::concurrent,
                      nullptr};
  predicted.score = [this, ensemble](std::span<const Genotype> batch, double, Scores& scores) {
    std::vector<double> x(feature_count_);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      features(batch[i], x);
      ensemble->predict(x, ensemble->spread, scores.row(i));
    }
  };
  Setting inner = variation_.setting();
  inner.seed = mix64(inner.seed ^ mix64(step_ + 1));
  Strategy genetic("nsga2", GeneticSearch(inner, {}));
  RunOptions options;
  options.budget.evaluations = options_.inner;
  options.track_hypervolume = false;
  const auto run = run_search(inner.space, history.judge(), predicted, genetic, options);
  if (!run) return;
  std::vector<Row> unseen;
  for (Row row = 0; row < run->history.size(); ++row)
    if (!history.find(run->history.genes(row))) unseen.push_back(row);
  const std::vector<Row> best = survive(run->history, unseen, 3 * options_.batch, Survival::crowding).rows;
  const auto doubtful =
      static_cast<std::size_t>(std::lround(options_.uncertain * static_cast<double>(options_.batch)));
  const std::size_t sure = std::min(best.size(), options_.batch - std::min(options_.batch, doubtful));
  const auto add = [&](Row row, Origin origin) {
    Proposal& proposal = ask.add();
    proposal.genotype = run->history.genotype(row);
    proposal.origin = origin;
  };
  for (std::size_t i = 0; i < sure; ++i) add(best[i], Origin::promising);
  std::vector<std::pair<double, Row>> doubts;
  std::vector<double> x(feature_count_), out(history.judge().metrics().size());
  for (std::size_t i = sure; i < best.size(); ++i) {
    features(run->history.genotype(best[i]), x);
    doubts.emplace_back(-ensemble->predict(x, ensemble->spread, out), best[i]);
  }
  std::ranges::sort(doubts);
  for (std::size_t i = 0; i < std::min(doubtful, doubts.size()); ++i)
    add(doubts[i].second, Origin::uncertain);
}

void PredictorSearch::tell(const History&, std::span<const Row>) { ++step_; }

void PredictorSearch::save(nlohmann::json& out) const { out = {{"step", step_}}; }

Result<void> PredictorSearch::load(const nlohmann::json& state) { return read_state(state, "step", step_); }

}  // namespace nas::search
