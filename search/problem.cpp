#include "search/problem.h"

#include <algorithm>
#include <cmath>

#include "search/text.h"
#include "space/json/document.h"

namespace nas::search {

std::string_view to_string(Source source) {
  constexpr std::string_view kNames[] = {"measured", "predicted", "modelled"};
  return kNames[static_cast<std::size_t>(source)];
}

std::string_view to_string(Goal goal) { return goal == Goal::minimise ? "min" : "max"; }

Result<Source> parse_source(std::string_view text) {
  for (const Source source : {Source::measured, Source::predicted, Source::modelled})
    if (text == to_string(source)) return source;
  return usage_error("source: \"" + std::string(text) + "\" is none of measured, predicted, modelled");
}

Result<Goal> parse_goal(std::string_view text) {
  for (const Goal goal : {Goal::minimise, Goal::maximise})
    if (text == to_string(goal)) return goal;
  return usage_error("goal: \"" + std::string(text) + "\" is neither min nor max");
}

double excess(double value, double min, double max) {
  const auto relative = [](double over, double limit) { return limit == 0 ? over : over / std::abs(limit); };
  if (value > max) return relative(value - max, max);
  if (value < min) return relative(min - value, min);
  return 0;
}

Result<Judge> Judge::make(Problem problem, std::vector<Metric> metrics) {
  Judge judge;
  judge.problem_ = std::move(problem);
  judge.metrics_ = std::move(metrics);
  NAS_CHECK(judge.bind());
  return judge;
}

Result<void> Judge::bind() {
  if (problem_.objectives.empty())
    return usage_error("the problem has no objective; name at least one metric");
  for (const Objective& objective : problem_.objectives) {
    NAS_TRY(place_of, place(objective.metric, "objective"));
    if (std::ranges::find(objective_, place_of) != objective_.end())
      return usage_error("objective \"" + objective.metric + "\" is named twice");
    objective_.push_back(place_of);
    sign_.push_back(objective.goal == Goal::maximise ? -1.0 : 1.0);
  }
  for (const Constraint& constraint : problem_.constraints) {
    NAS_TRY(place_of, place(constraint.metric, "constraint"));
    if (!constraint.min && !constraint.max)
      return usage_error("constraint on \"" + constraint.metric + "\" has neither min nor max");
    if ((constraint.min && std::isnan(*constraint.min)) || (constraint.max && std::isnan(*constraint.max)))
      return usage_error("constraint on \"" + constraint.metric + "\" is not a number");
    auto limit = std::ranges::find(limits_, place_of, &Limit::metric);
    if (limit == limits_.end()) limit = limits_.insert(limit, Limit{place_of});
    if (constraint.min) limit->min = std::max(limit->min, *constraint.min);
    if (constraint.max) limit->max = std::min(limit->max, *constraint.max);
    if (limit->min > limit->max)
      return Error{"constraints contradict each other: " + constraint.metric + " must be at least " +
                       number(limit->min) + " and at most " + number(limit->max) + ", violated by " +
                       number(limit->min - limit->max),
                   "", ErrorKind::infeasible};
  }
  return {};
}

Result<std::size_t> Judge::place(const std::string& metric, const std::string& what) const {
  std::vector<std::string> names;
  for (const Metric& known : metrics_) names.push_back(known.name);
  const auto found = std::ranges::find(names, metric);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const std::string near = nearest(metric, names);
  return usage_error("unknown " + what + " \"" + metric + "\"" +
                     (near.empty() ? "" : "; did you mean \"" + near + "\"?") + " (the evaluator gives " +
                     join(names) + ")");
}

int Judge::find(std::string_view metric) const {
  const auto found = std::ranges::find(metrics_, metric, &Metric::name);
  return found == metrics_.end() ? -1 : static_cast<int>(found - metrics_.begin());
}

void Judge::losses(std::span<const double> values, std::span<double> out) const {
  for (std::size_t i = 0; i < objective_.size(); ++i) out[i] = sign_[i] * values[objective_[i]];
}

double Judge::violation(std::span<const double> values) const {
  double sum = 0;
  for (const Limit& limit : limits_) sum += excess(values[limit.metric], limit.min, limit.max);
  return sum;
}

std::string Judge::explain(std::span<const double> values) const {
  std::string text;
  for (const Limit& limit : limits_) {
    const double value = values[limit.metric];
    const double over = excess(value, limit.min, limit.max);
    if (over == 0) continue;
    const double broken = value > limit.max ? limit.max : limit.min;
    if (!text.empty()) text += "; ";
    text += metrics_[limit.metric].name + " is " + number(value) + ", the limit asks " +
            (value > limit.max ? "at most " : "at least ") + number(broken) + ": violated by " +
            number(std::abs(value - broken));
  }
  return text;
}

}  // namespace nas::search
