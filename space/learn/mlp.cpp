#include "space/learn/mlp.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>
#include <numeric>

#include "space/learn/gemm.h"
#include "space/learn/mlp_trainer.h"
#include "space/learn/model_file.h"

namespace nas::learn {
namespace {

constexpr std::size_t kChunk = 512;  // rows per forward pass

Result<void> check_data(const Matrix& x, std::span<const double> y, std::span<const double> weights) {
  if (x.rows == 0 || x.columns == 0) return usage_error("a fit needs at least one row and one feature");
  if (y.size() != x.rows) {
    return usage_error("a fit needs one target per row: " + std::to_string(x.rows) + " rows, " +
                       std::to_string(y.size()) + " targets");
  }
  if (!weights.empty() && weights.size() != x.rows) return usage_error("a fit needs one weight per row");
  const auto finite = [](double v) { return std::isfinite(v); };
  if (!std::all_of(x.values.begin(), x.values.end(), finite)) return usage_error("a feature is not finite");
  if (!std::all_of(y.begin(), y.end(), finite)) return usage_error("a target is not finite");
  if (!std::all_of(weights.begin(), weights.end(), finite)) return usage_error("a weight is not finite");
  return {};
}

}  // namespace

Result<Mlp> Mlp::fit(const Matrix& x, std::span<const double> y, const MlpOptions& options,
                     std::span<const double> weights) {
  NAS_CHECK(check_data(x, y, weights));
  Mlp mlp;
  mlp.inputs_ = x.columns;
  mlp.input_mean_.resize(x.columns);
  mlp.input_scale_.resize(x.columns);
  const double n = static_cast<double>(x.rows);
  for (std::size_t j = 0; j < x.columns; ++j) {
    double sum = 0;
    double squares = 0;
    for (std::size_t i = 0; i < x.rows; ++i) sum += x(i, j);
    const double mean = sum / n;
    for (std::size_t i = 0; i < x.rows; ++i) squares += (x(i, j) - mean) * (x(i, j) - mean);
    const double deviation = std::sqrt(squares / n);
    mlp.input_mean_[j] = static_cast<float>(mean);
    mlp.input_scale_[j] = deviation > 1e-12 * std::abs(mean) ? static_cast<float>(1 / deviation) : 0.0F;
  }
  mlp.target_mean_ = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double squares = 0;
  for (const double v : y) squares += (v - mlp.target_mean_) * (v - mlp.target_mean_);
  const double deviation = std::sqrt(squares / n);
  mlp.target_scale_ = deviation > 0 ? deviation : 1.0;
  const MlpTrainer trainer(mlp, x, y, weights, options);
  for (int member = 0; member < std::max(1, options.members); ++member) {
    mlp.members_.push_back(trainer.train(static_cast<std::uint64_t>(member)));
  }
  return mlp;
}

void Mlp::predict_members(const float* x, std::size_t rows, std::span<double> mean,
                          std::span<double> squares) const {
  std::vector<float> standard(std::min(rows, kChunk) * inputs_);
  std::vector<float> now;
  std::vector<float> next;
  for (std::size_t begin = 0; begin < rows; begin += kChunk) {
    const std::size_t count = std::min(kChunk, rows - begin);
    for (std::size_t i = 0; i < count; ++i) {
      const float* from = x + (begin + i) * inputs_;
      for (std::size_t j = 0; j < inputs_; ++j) {
        standard[i * inputs_ + j] = (from[j] - input_mean_[j]) * input_scale_[j];
      }
    }
    for (const Network& network : members_) {
      const float* input = standard.data();
      for (const Layer& layer : network) {
        next.resize(count * layer.out);
        dense_forward(input, count, layer.in, layer.out, layer.weight.data(), layer.bias.data(),
                      &layer != &network.back(), next.data());
        std::swap(now, next);
        input = now.data();
      }
      for (std::size_t i = 0; i < count; ++i) {
        const double value = target_mean_ + target_scale_ * static_cast<double>(now[i]);
        mean[begin + i] += value;
        if (!squares.empty()) squares[begin + i] += value * value;
      }
    }
  }
  for (double& value : mean) value /= static_cast<double>(members_.size());
}

void Mlp::predict(const float* x, std::size_t rows, std::span<double> out) const {
  assert(out.size() == rows);
  std::fill(out.begin(), out.end(), 0.0);
  predict_members(x, rows, out, {});
}

std::vector<double> Mlp::predict(const Matrix& x) const {
  assert(x.columns == inputs_);
  std::vector<double> out(x.rows);
  std::vector<float> row_values(x.values.begin(), x.values.end());
  predict(row_values.data(), x.rows, out);
  return out;
}

std::vector<double> Mlp::spread(const Matrix& x) const {
  assert(x.columns == inputs_);
  std::vector<double> mean(x.rows);
  std::vector<double> squares(x.rows);
  const std::vector<float> row_values(x.values.begin(), x.values.end());
  predict_members(row_values.data(), x.rows, mean, squares);
  for (std::size_t i = 0; i < x.rows; ++i) {
    squares[i] =
        std::sqrt(std::max(0.0, squares[i] / static_cast<double>(members_.size()) - mean[i] * mean[i]));
  }
  return squares;
}

std::string Mlp::save() const {
  ModelWriter writer("mlp");
  writer.number("inputs", static_cast<double>(inputs_));
  writer.numbers("input_mean", input_mean_);
  writer.numbers("input_scale", input_scale_);
  writer.number("target_mean", target_mean_);
  writer.number("target_scale", target_scale_);
  writer.number("members", static_cast<double>(members_.size()));
  std::vector<double> widths;
  for (const Layer& layer : members_.front()) widths.push_back(static_cast<double>(layer.out));
  writer.numbers("widths", std::span<const double>(widths));
  for (std::size_t m = 0; m < members_.size(); ++m) {
    for (std::size_t l = 0; l < members_[m].size(); ++l) {
      const std::string key = std::to_string(m) + "." + std::to_string(l);
      writer.numbers("weight." + key, members_[m][l].weight);
      writer.numbers("bias." + key, members_[m][l].bias);
    }
  }
  return std::move(writer).finish();
}

Result<Mlp> Mlp::load(std::string_view content, const std::string& where) {
  NAS_TRY(reader, ModelReader::open(content, where, "mlp"));
  Mlp mlp;
  NAS_TRY(inputs, reader.count("inputs", 1, 1 << 20));
  mlp.inputs_ = inputs;
  NAS_TRY(mean, reader.numbers("input_mean", inputs));
  mlp.input_mean_.assign(mean.begin(), mean.end());
  NAS_TRY(scale, reader.numbers("input_scale", inputs));
  mlp.input_scale_.assign(scale.begin(), scale.end());
  NAS_TRY(target_mean, reader.number("target_mean"));
  NAS_TRY(target_scale, reader.number("target_scale"));
  mlp.target_mean_ = target_mean;
  mlp.target_scale_ = target_scale;
  NAS_TRY(members, reader.count("members", 1, 1000));
  NAS_TRY(widths, reader.numbers("widths"));
  if (widths.empty() || widths.back() != 1) return reader.error("the last width of an mlp must be 1");
  for (std::size_t m = 0; m < members; ++m) {
    Network network;
    std::size_t in = inputs;
    for (std::size_t l = 0; l < widths.size(); ++l) {
      if (widths[l] < 1 || widths[l] > 1 << 20 || widths[l] != std::floor(widths[l])) {
        return reader.error("an mlp's width must be a whole number from 1 to 1048576");
      }
      const auto out = static_cast<std::size_t>(widths[l]);
      const std::string key = std::to_string(m) + "." + std::to_string(l);
      NAS_TRY(weight, reader.numbers("weight." + key, in * out));
      NAS_TRY(bias, reader.numbers("bias." + key, out));
      network.push_back({in, out, {weight.begin(), weight.end()}, {bias.begin(), bias.end()}});
      in = out;
    }
    mlp.members_.push_back(std::move(network));
  }
  return mlp;
}

}  // namespace nas::learn
