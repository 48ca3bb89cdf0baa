#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "search/gene_forest.h"
#include "space/base/result.h"
#include "space/base/rng.h"

namespace nas::search {

// Adam (Kingma and Ba 2015) on a flat parameter vector; ascends.
class Adam {
 public:
  Adam() = default;
  Adam(std::size_t size, double rate) : rate_(rate), mean_(size, 0.0), square_(size, 0.0) {}
  void ascend(std::span<double> parameters, std::span<const double> gradient);
  std::vector<double>& mean() { return mean_; }
  std::vector<double>& square() { return square_; }
  const std::vector<double>& mean() const { return mean_; }
  const std::vector<double>& square() const { return square_; }
  std::uint64_t steps = 0;

 private:
  double rate_ = 0.01;
  std::vector<double> mean_, square_;
};

// The mean reward so far, smoothed: b = decay * b + (1 - decay) * mean of the newest batch; the first batch
// sets it. Used before it is updated, so that a reward is never its own baseline. (The released ProxylessNAS
// has the weights the other way round.)
class Baseline {
 public:
  explicit Baseline(double decay = 0.9) : decay_(decay) {}
  bool known() const { return known_; }
  double value() const { return value_; }
  void update(double batch_mean);
  void restore(bool known, double value) { known_ = known, value_ = value; }

 private:
  double decay_;
  bool known_ = false;
  double value_ = 0;
};

// A distribution over genotypes with parameters: what REINFORCE learns. Inactive genes are not drawn.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual Genotype sample(Rng& rng) const = 0;
  // Natural logarithm of the probability of a canonical genotype; adds `weight` times its derivative (plus
  // `entropy` times the derivative of the entropy of the choices made) to `gradient`.
  virtual double log_probability(const Genotype& g, double weight, double entropy,
                                 std::span<double> gradient) const = 0;
  std::vector<double>& parameters() { return parameters_; }
  const std::vector<double>& parameters() const { return parameters_; }

 protected:
  std::vector<double> parameters_;
};

// Independent logits per gene.
class FactorisedPolicy final : public Policy {
 public:
  explicit FactorisedPolicy(const GeneForest& forest);
  Genotype sample(Rng& rng) const override;
  double log_probability(const Genotype& g, double weight, double entropy,
                         std::span<double> gradient) const override;

 private:
  GeneForest forest_;
};

// A recurrent controller (Zoph and Le 2017): an LSTM (Hochreiter and Schmidhuber 1997) reads the choices made
// so far and gives the logits of the next active gene.
class LstmPolicy final : public Policy {
 public:
  LstmPolicy(const GeneForest& forest, std::size_t hidden, std::uint64_t seed);
  Genotype sample(Rng& rng) const override;
  double log_probability(const Genotype& g, double weight, double entropy,
                         std::span<double> gradient) const override;

 private:
  // One time step as computed forwards, kept for the way back.
  struct Step {
    std::size_t gene;
    std::size_t input;  // row of the embedding table
    std::vector<double> gates, cell, hidden, probability;
  };
  void advance(Step& step, const std::vector<double>& hidden, const std::vector<double>& cell) const;
  template <class Pick>
  std::vector<Step> unroll(Genotype& g, const Pick& pick) const;
  void backward(const std::vector<Step>& steps, const Genotype& g, double weight, double entropy,
                std::span<double> gradient) const;
  GeneForest forest_;
  std::size_t hidden_;
  // Offsets into parameters_: embeddings [choices + 1][h], gate weights [4 h][2 h], gate biases [4 h], and
  // per choice output weights [h] and bias.
  std::size_t gates_at_, bias_at_, out_at_, out_bias_at_;
};

// probabilities = softmax(logits), stable for any logits.
void softmax(std::span<const double> logits, std::span<double> probabilities);

}  // namespace nas::search
