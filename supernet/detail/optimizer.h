#pragma once
#include <vector>

#include "supernet/detail/gradient_exchange.h"

namespace nas::supernet {

// SGD with momentum or AdamW over a weight table, with the weights' moving average. Its state is plain
// tensors of the parameters' shapes, so that checkpoints hold it and channel sorting permutes it.
class Optimizer {
 public:
  // `slots` state tensors a parameter: momentum (SGD), first and second moment (AdamW).
  Optimizer(WeightTable& weights, OptimizerKind kind, double ema_decay);

  struct StepReport {
    double gradient_norm = 0;  // before clipping
    bool finite = true;        // false: nothing was changed
  };
  // Sums the parts' gradients in their order, and over the ranks where there is an exchange; multiplies them
  // by `scale`, clips, and updates every parameter, also those no path used. Fails only where ranks do.
  Result<StepReport> step(const StepGradients& gradients, const OptimizerOptions& options,
                          double learning_rate, GradientExchange* exchange = nullptr, double scale = 1);
  // Weights, state and their moving average become the means over the ranks.
  Result<void> average_over(Ranks& ranks);

  OptimizerKind kind() const { return kind_; }
  std::vector<std::vector<at::Tensor>>& state() { return state_; }  // [slot][parameter]
  std::vector<at::Tensor>& average() { return average_; }           // empty without moving average
  std::int64_t& updates() { return updates_; }                      // AdamW's bias correction

 private:
  double clip_and_square(std::size_t parameter, double clip_value);
  void update(std::size_t parameter, const OptimizerOptions& o, double learning_rate, double clip);

  WeightTable& weights_;
  OptimizerKind kind_;
  double ema_decay_;
  std::vector<at::Tensor> gradient_;
  std::vector<std::vector<at::Tensor>> state_;
  std::vector<at::Tensor> average_;
  std::int64_t updates_ = 0;
};

}  // namespace nas::supernet
