#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::learn {

enum class Loss : std::uint8_t {
  squared,
  huber,  // quadratic within 1 (in units of the target's spread), linear beyond
  absolute,
};

struct MlpOptions {
  std::vector<std::size_t> hidden{400, 400, 400};
  int epochs = 200;
  std::size_t batch = 128;
  double learning_rate = 1e-3;  // of Adam (Kingma & Ba 2015), falls to 0 along a half cosine
  double weight_decay = 1e-4;   // decoupled (Loshchilov & Hutter 2019), on weights only
  Loss loss = Loss::squared;
  int members = 1;  // networks that differ in seed; the prediction is their mean
  std::uint64_t seed = 0;
};

// Fully connected ReLU regression. Inputs and target are standardised inside; a constant column has no
// effect. The fit is a pure function of data and options: the same bits for any number of threads.
class Mlp {
 public:
  // `weights` multiply each row's loss (empty: all 1). Fails on no rows, unequal sizes or non-finite numbers.
  static Result<Mlp> fit(const Matrix& x, std::span<const double> y, const MlpOptions& options,
                         std::span<const double> weights = {});

  std::size_t features() const { return inputs_; }
  std::size_t members() const { return members_.size(); }
  // x.columns == features().
  std::vector<double> predict(const Matrix& x) const;
  // `rows` rows of features() floats each, into out[0, rows): the fast path, no conversion.
  void predict(const float* x, std::size_t rows, std::span<double> out) const;
  // Standard deviation between members per row (0 with one member).
  std::vector<double> spread(const Matrix& x) const;

  std::string save() const;
  static Result<Mlp> load(std::string_view content, const std::string& where);

 private:
  struct Layer {
    std::size_t in = 0;
    std::size_t out = 0;
    std::vector<float> weight;  // [in x out]
    std::vector<float> bias;
  };
  using Network = std::vector<Layer>;
  friend class MlpTrainer;
  void predict_members(const float* x, std::size_t rows, std::span<double> mean,
                       std::span<double> squares) const;

  std::size_t inputs_ = 0;
  std::vector<float> input_mean_;
  std::vector<float> input_scale_;  // multiplier
  double target_mean_ = 0;
  double target_scale_ = 1;
  std::vector<Network> members_;
};

}  // namespace nas::learn
