#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "space/learn/mlp.h"

namespace nas::learn {

// out[rows x width] = x[rows x in] weight[in x width] + bias, with ReLU where asked.
void dense_forward(const float* x, std::size_t rows, std::size_t in, std::size_t width, const float* weight,
                   const float* bias, bool relu, float* out);

// Trains members of one Mlp on its standardised data; part of Mlp::fit.
class MlpTrainer {
 public:
  MlpTrainer(const Mlp& mlp, const Matrix& x, std::span<const double> y, std::span<const double> weights,
             const MlpOptions& options);
  Mlp::Network train(std::uint64_t member) const;

 private:
  struct Work;
  void backward_loss(Work& work, std::span<const std::size_t> rows) const;
  void step(Mlp::Network& network, Work& work, std::span<const std::size_t> rows, double rate) const;

  std::size_t rows_;
  std::size_t inputs_;
  std::vector<float> x_;
  std::vector<float> y_;
  std::vector<float> weight_;
  const MlpOptions& options_;
};

}  // namespace nas::learn
