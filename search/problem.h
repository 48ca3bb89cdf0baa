#pragma once
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::search {

// Where a number comes from; printed wherever the number is.
enum class Source { measured, predicted, modelled };

// One number that an evaluator gives every candidate: "latency_ms", "ms", predicted.
struct Metric {
  std::string name;
  std::string unit;
  Source source = Source::predicted;
};

enum class Goal { minimise, maximise };

struct Objective {
  std::string metric;
  Goal goal = Goal::minimise;
  // Hypervolumes are measured from here; absent: problem_reference() finds a place.
  std::optional<double> worst = {};
};

// min <= metric <= max; an absent side is free.
struct Constraint {
  std::string metric;
  std::optional<double> min = {};
  std::optional<double> max = {};
};

// What is asked: any number of objectives and constraints over named metrics.
struct Problem {
  std::vector<Objective> objectives;
  std::vector<Constraint> constraints;
};

std::string_view to_string(Source source);
std::string_view to_string(Goal goal);
Result<Source> parse_source(std::string_view text);
Result<Goal> parse_goal(std::string_view text);

// A problem bound to the order of an evaluator's metrics; turns values into losses and a violation.
class Judge {
 public:
  // Fails (usage) on no objective, an objective twice, or a metric that the evaluator does not give, with the
  // nearest name suggested; fails (infeasible) when two limits on one metric contradict each other.
  static Result<Judge> make(Problem problem, std::vector<Metric> metrics);

  const Problem& problem() const { return problem_; }
  std::span<const Metric> metrics() const { return metrics_; }
  std::size_t objectives() const { return objective_.size(); }
  // The place of objective i's metric in the evaluator's order.
  std::size_t objective_metric(std::size_t i) const { return objective_[i]; }
  // The metric's place in the evaluator's order, or -1.
  int find(std::string_view metric) const;

  // Objectives as numbers to minimise: maximised metrics change sign.
  void losses(std::span<const double> values, std::span<double> out) const;
  // Sum over the limits of the excess relative to the limit (absolute where the limit is 0); 0 is feasible.
  double violation(std::span<const double> values) const;
  // "latency_ms is 9.1, the limit asks at most 8 (13.8 % over)"; empty when feasible.
  std::string explain(std::span<const double> values) const;

 private:
  struct Limit {
    std::size_t metric;
    double min = -std::numeric_limits<double>::infinity();
    double max = std::numeric_limits<double>::infinity();
  };
  Judge() = default;
  Result<void> bind();
  Result<std::size_t> place(const std::string& metric, const std::string& what) const;
  Problem problem_;
  std::vector<Metric> metrics_;
  std::vector<std::size_t> objective_;
  std::vector<double> sign_;
  std::vector<Limit> limits_;
};

// The excess of one value over [min, max], relative to the broken side (absolute where that is 0).
double excess(double value, double min, double max);

}  // namespace nas::search
