#include <algorithm>
#include <cstdio>

#include "apps/accuracy_file.h"
#include "apps/network_costs.h"
#include "search/transfer_surrogate.h"
#include "space/cost.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using search::Source;

Result<search::AccuracySurrogate> fit_surrogate(const SearchSpace& space, const AccuracyFile& file,
                                                const std::string& model) {
  std::vector<Genotype> networks;
  std::vector<double> macs_of;
  for (const std::string& text : file.networks) {
    NAS_TRY(genotype, space.parse(text));
    networks.push_back(genotype);
    macs_of.push_back(static_cast<double>(macs(space.lower(genotype)).count()));
  }
  search::SurrogateOptions options;
  options.model = model;
  return search::fit_accuracy(space, networks, file.top1, macs_of, options);
}

void note_surrogate(const search::AccuracySurrogate& model, std::vector<std::string>& notes) {
  for (const search::SurrogateScore& s : model.scores()) {
    char line[200];
    std::snprintf(line, sizeof line,
                  "accuracy by %s: rmse %.4f, tau %.3f, tau inside MACs bins %.3f on %zu held-out networks%s",
                  s.model.c_str(), s.rmse, s.tau, s.tau_bins, model.held_out(),
                  s.model == model.model() ? " (chosen)" : "");
    notes.emplace_back(line);
  }
}

// top1 by the surrogate. Ridge is a sum of terms: exact answers about it exist.
void add_accuracy(SearchProblem& problem, const search::AccuracySurrogate& model) {
  note_surrogate(model, problem.notes);
  const bool sum = model.model() == "ridge";
  (sum ? problem.known : problem.stand_ins).push_back({"top1", model.separable()});
  if (!sum) problem.bounds.push_back({"top1", 0, 1});
  problem.evaluator = {{{"top1", "share", Source::predicted}}, search::ThreadSafety::concurrent, nullptr};
  problem.evaluator.score = [model, sum](std::span<const Genotype> batch, double, search::Scores& scores) {
    const std::vector<double> top1 = sum ? std::vector<double>() : model.predict(batch);
    for (std::size_t i = 0; i < batch.size(); ++i)
      scores.row(i)[0] = sum ? model.separable()(batch[i]) : top1[i];
  };
}

// top1 of quantised networks: the float surrogate's plus what few of them showed.
Result<void> add_integer_accuracy(SearchProblem& problem, const AccuracyFile& few, const SearchSpace& plain,
                                  const search::AccuracySurrogate& surrogate) {
  std::vector<Genotype> networks;
  for (const std::string& text : few.networks) {
    NAS_TRY(genotype, problem.space.parse(text));
    networks.push_back(genotype);
  }
  NAS_TRY(model, search::fit_transfer(problem.space, networks, few.top1, plain, surrogate));
  note_surrogate(surrogate, problem.notes);
  for (const search::TransferScore& s : model.scores()) {
    char line[160];
    std::snprintf(line, sizeof line,
                  "quantised accuracy by %s: rmse %.4f, tau %.3f, each fifth of %zu held out", s.how.c_str(),
                  s.rmse, s.tau, networks.size());
    problem.notes.emplace_back(line);
  }
  char line[160];
  std::snprintf(line, sizeof line, "quantised accuracy: %.2f of the ridge is believed", model.share());
  problem.notes.emplace_back(line);
  if (const auto noise = few.noise()) {
    std::snprintf(line, sizeof line,
                  "quantised accuracy: the images that were drawn alone give a standard deviation of %.4f",
                  *noise);
    problem.notes.emplace_back(line);
  }
  problem.stand_ins.push_back({"top1", model.separable()});
  problem.bounds.push_back({"top1", 0, 1});
  problem.evaluator = {{{"top1", "share", Source::predicted}}, search::ThreadSafety::concurrent, nullptr};
  problem.evaluator.score = [model](std::span<const Genotype> batch, double, search::Scores& scores) {
    const std::vector<double> top1 = model.predict(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) scores.row(i)[0] = std::clamp(top1[i], 0.0, 1.0);
  };
  return {};
}

Result<void> add_proxy(SearchProblem& problem, std::uint64_t seed) {
  NAS_TRY(proxy, proxy_of(problem.space, seed));
  problem.known.push_back({"proxy", proxy});
  problem.evaluator = {{{"proxy", "", Source::modelled}}, search::ThreadSafety::concurrent, nullptr};
  problem.evaluator.score = [proxy](std::span<const Genotype> batch, double, search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) scores.row(i)[0] = proxy(batch[i]);
  };
  return {};
}

}  // namespace

Result<SearchProblem> network_problem(JsonReader& reader, const fs::path& base, const fs::path& project) {
  const std::string accuracy = reader.text("accuracy", "");
  const std::string integers = reader.text("integers", "");
  const std::string space_name = reader.text("space", "");
  const std::string model = reader.word("accuracy_model", {"best", "ridge", "mlp", "trees"}, "best");
  const std::int64_t proxy = reader.integer("proxy", 0, INT64_MAX, 0);
  const CostRequest costs = read_cost_request(reader);
  if (accuracy.empty() == space_name.empty())
    reader.fail("", "required either \"accuracy\" (a sweep's file) or \"space\", found " +
                        std::string(accuracy.empty() ? "neither" : "both"));
  if (proxy > 0 && !accuracy.empty())
    reader.fail("proxy", "a made-up accuracy has no place beside a measured one; required one of the two");
  if (!integers.empty() && accuracy.empty())
    reader.fail("integers", "accuracies of quantised networks need the float ones beside them: \"accuracy\"");
  reader.done();
  AccuracyFile sweep, few;
  if (!accuracy.empty()) {
    NAS_TRY(file, read_accuracy_file(base / accuracy));
    sweep = std::move(file);
  }
  if (!integers.empty()) {
    NAS_TRY(file, read_accuracy_file(base / integers));
    few = std::move(file);
  }
  NAS_TRY(plain, accuracy.empty() ? load_space(space_name) : sweep.load_space());
  NAS_TRY(space, integers.empty() ? Result<SearchSpace>(plain) : few.load_space());
  SearchProblem problem{space, {}};
  if (!accuracy.empty()) {
    NAS_TRY(surrogate, fit_surrogate(plain, sweep, model));
    if (integers.empty()) add_accuracy(problem, surrogate);
    if (!integers.empty()) NAS_CHECK(add_integer_accuracy(problem, few, plain, surrogate));
  }
  if (proxy > 0) NAS_CHECK(add_proxy(problem, static_cast<std::uint64_t>(proxy)));
  NAS_CHECK(add_network_costs(problem, costs, base, project));
  return problem;
}

}  // namespace nas::apps
