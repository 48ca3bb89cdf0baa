#include "search/policy.h"

#include <algorithm>
#include <cmath>

namespace nas::search {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

std::uint8_t draw(std::span<const double> probability, Rng& rng) {
  double u = rng.uniform();
  for (std::size_t i = 0; i + 1 < probability.size(); ++i) {
    if (u < probability[i]) return static_cast<std::uint8_t>(i);
    u -= probability[i];
  }
  return static_cast<std::uint8_t>(probability.size() - 1);
}

// Adds weight * d log p[choice] + entropy * d H(p), both with respect to the logits.
void add_logit_gradient(std::span<const double> p, std::size_t choice, double weight, double entropy,
                        std::span<double> out) {
  double h = 0;
  for (const double q : p) h -= q > 0 ? q * std::log(q) : 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    out[i] += weight * ((i == choice ? 1.0 : 0.0) - p[i]);
    if (p[i] > 0) out[i] -= entropy * p[i] * (std::log(p[i]) + h);
  }
}

bool is_active(const GeneForest& forest, const Genotype& g, const std::vector<std::uint8_t>& active,
               std::size_t gene) {
  const int p = forest.parent(gene);
  return p < 0 ||
         (active[static_cast<std::size_t>(p)] && forest.allowed(gene, g[static_cast<std::size_t>(p)]));
}

}  // namespace

void softmax(std::span<const double> logits, std::span<double> probabilities) {
  const double top = std::ranges::max(logits);
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) sum += probabilities[i] = std::exp(logits[i] - top);
  for (double& p : probabilities) p /= sum;
}

void Adam::ascend(std::span<double> parameters, std::span<const double> gradient) {
  ++steps;
  const double c1 = 1 - std::pow(0.9, static_cast<double>(steps)),
               c2 = 1 - std::pow(0.999, static_cast<double>(steps));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    mean_[i] = 0.9 * mean_[i] + 0.1 * gradient[i];
    square_[i] = 0.999 * square_[i] + 0.001 * gradient[i] * gradient[i];
    parameters[i] += rate_ * (mean_[i] / c1) / (std::sqrt(square_[i] / c2) + 1e-8);
  }
}

void Baseline::update(double batch_mean) {
  value_ = known_ ? decay_ * value_ + (1 - decay_) * batch_mean : batch_mean;
  known_ = true;
}

FactorisedPolicy::FactorisedPolicy(const GeneForest& forest) : forest_(forest) {
  parameters_.assign(forest_.offset(forest_.size()), 0.0);
}

Genotype FactorisedPolicy::sample(Rng& rng) const {
  Genotype g(forest_.size());
  std::vector<std::uint8_t> active(forest_.size());
  for (std::size_t i = 0; i < forest_.size(); ++i) {
    active[i] = is_active(forest_, g, active, i);
    if (!active[i]) continue;
    std::vector<double> p(forest_.choices(i));
    softmax({parameters_.data() + forest_.offset(i), p.size()}, p);
    g[i] = draw(p, rng);
  }
  return g;
}

double FactorisedPolicy::log_probability(const Genotype& g, double weight, double entropy,
                                         std::span<double> gradient) const {
  double sum = 0;
  std::vector<std::uint8_t> active(forest_.size());
  forest_.activity(g, active);
  for (std::size_t i = 0; i < forest_.size(); ++i) {
    if (!active[i]) continue;
    std::vector<double> p(forest_.choices(i));
    softmax({parameters_.data() + forest_.offset(i), p.size()}, p);
    sum += std::log(p[g[i]]);
    add_logit_gradient(p, g[i], weight, entropy, gradient.subspan(forest_.offset(i), p.size()));
  }
  return sum;
}

LstmPolicy::LstmPolicy(const GeneForest& forest, std::size_t hidden, std::uint64_t seed)
    : forest_(forest), hidden_(hidden) {
  const std::size_t choices = forest_.offset(forest_.size());
  gates_at_ = (choices + 1) * hidden_;  // the last embedding starts the sequence
  bias_at_ = gates_at_ + 8 * hidden_ * hidden_;
  out_at_ = bias_at_ + 4 * hidden_;
  out_bias_at_ = out_at_ + choices * hidden_;
  parameters_.assign(out_bias_at_ + choices, 0.0);
  Rng rng(seed, "lstm policy");
  for (std::size_t i = 0; i < out_bias_at_; ++i)
    if (i < bias_at_ || i >= out_at_) parameters_[i] = rng.uniform(-0.1, 0.1);
}

void LstmPolicy::advance(Step& step, const std::vector<double>& hidden,
                         const std::vector<double>& cell) const {
  const std::size_t h = hidden_;
  step.gates.resize(4 * h);
  step.cell.resize(h);
  step.hidden.resize(h);
  const double* x = parameters_.data() + step.input * h;
  for (std::size_t k = 0; k < 4 * h; ++k) {
    const double* w = parameters_.data() + gates_at_ + k * 2 * h;
    double sum = parameters_[bias_at_ + k];
    for (std::size_t j = 0; j < h; ++j) sum += w[j] * x[j] + w[h + j] * hidden[j];
    step.gates[k] = k >= 3 * h ? std::tanh(sum) : sigmoid(sum);  // in, forget, out, candidate
  }
  for (std::size_t j = 0; j < h; ++j) {
    step.cell[j] = step.gates[h + j] * cell[j] + step.gates[j] * step.gates[3 * h + j];
    step.hidden[j] = step.gates[2 * h + j] * std::tanh(step.cell[j]);
  }
  const std::size_t n = forest_.choices(step.gene), at = forest_.offset(step.gene);
  std::vector<double> logits(n);
  for (std::size_t c = 0; c < n; ++c) {
    logits[c] = parameters_[out_bias_at_ + at + c];
    for (std::size_t j = 0; j < h; ++j) logits[c] += parameters_[out_at_ + (at + c) * h + j] * step.hidden[j];
  }
  step.probability.resize(n);
  softmax(logits, step.probability);
}

template <class Pick>
std::vector<LstmPolicy::Step> LstmPolicy::unroll(Genotype& g, const Pick& pick) const {
  std::vector<Step> steps;
  std::vector<double> hidden(hidden_, 0.0), cell(hidden_, 0.0);
  std::vector<std::uint8_t> active(forest_.size());
  std::size_t input = forest_.offset(forest_.size());
  for (std::size_t gene = 0; gene < forest_.size(); ++gene) {
    active[gene] = is_active(forest_, g, active, gene);
    if (!active[gene]) continue;
    Step& step = steps.emplace_back(Step{gene, input, {}, {}, {}, {}});
    advance(step, hidden, cell);
    g[gene] = pick(step);
    hidden = step.hidden;
    cell = step.cell;
    input = forest_.offset(gene) + g[gene];
  }
  return steps;
}

Genotype LstmPolicy::sample(Rng& rng) const {
  Genotype g(forest_.size());
  unroll(g, [&](const Step& step) { return draw(step.probability, rng); });
  return g;
}

double LstmPolicy::log_probability(const Genotype& g, double weight, double entropy,
                                   std::span<double> gradient) const {
  Genotype copy = g;
  const std::vector<Step> steps = unroll(copy, [&](const Step& step) { return g[step.gene]; });
  double sum = 0;
  for (const Step& step : steps) sum += std::log(step.probability[g[step.gene]]);
  backward(steps, g, weight, entropy, gradient);
  return sum;
}

void LstmPolicy::backward(const std::vector<Step>& steps, const Genotype& g, double weight, double entropy,
                          std::span<double> gradient) const {
  const std::size_t h = hidden_;
  std::vector<double> d_hidden(h, 0.0), d_cell(h, 0.0);
  const std::vector<double> zeros(h, 0.0);
  for (std::size_t t = steps.size(); t-- > 0;) {
    const Step& step = steps[t];
    const std::size_t n = step.probability.size(), at = forest_.offset(step.gene);
    std::vector<double> d_logit(n, 0.0);
    add_logit_gradient(step.probability, g[step.gene], weight, entropy, d_logit);
    for (std::size_t c = 0; c < n; ++c) {
      gradient[out_bias_at_ + at + c] += d_logit[c];
      for (std::size_t j = 0; j < h; ++j) {
        gradient[out_at_ + (at + c) * h + j] += d_logit[c] * step.hidden[j];
        d_hidden[j] += d_logit[c] * parameters_[out_at_ + (at + c) * h + j];
      }
    }
    const std::vector<double>& before_cell = t > 0 ? steps[t - 1].cell : zeros;
    const std::vector<double>& before_hidden = t > 0 ? steps[t - 1].hidden : zeros;
    std::vector<double> d_gate(4 * h);
    for (std::size_t j = 0; j < h; ++j) {
      const double in = step.gates[j], forget = step.gates[h + j], out = step.gates[2 * h + j],
                   fresh = step.gates[3 * h + j];
      const double squashed = std::tanh(step.cell[j]);
      const double dc = d_cell[j] + d_hidden[j] * out * (1 - squashed * squashed);
      d_gate[j] = dc * fresh * in * (1 - in);
      d_gate[h + j] = dc * before_cell[j] * forget * (1 - forget);
      d_gate[2 * h + j] = d_hidden[j] * squashed * out * (1 - out);
      d_gate[3 * h + j] = dc * in * (1 - fresh * fresh);
      d_cell[j] = dc * forget;
    }
    std::ranges::fill(d_hidden, 0.0);
    for (std::size_t k = 0; k < 4 * h; ++k) {
      const std::size_t row = gates_at_ + k * 2 * h;
      gradient[bias_at_ + k] += d_gate[k];
      for (std::size_t j = 0; j < h; ++j) {
        gradient[row + j] += d_gate[k] * parameters_[step.input * h + j];
        gradient[row + h + j] += d_gate[k] * before_hidden[j];
        gradient[step.input * h + j] += d_gate[k] * parameters_[row + j];
        d_hidden[j] += d_gate[k] * parameters_[row + h + j];
      }
    }
  }
}

}  // namespace nas::search
