#include "search/one_hot_mlp.h"

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cstring>

namespace nas::search {
namespace {

constexpr std::size_t kRows = 6, kColumns = 16;
// Rows that one task carries through all layers: their activations stay in the second cache.
constexpr std::size_t kTaskRows = 48;
// Combined choices of one block that are summed beforehand.
constexpr std::size_t kMaxCombinations = 256;
using Vec __attribute__((vector_size(32), aligned(4), may_alias)) = float;

std::size_t padded(std::size_t width) { return (width + kColumns - 1) / kColumns * kColumns; }

// c[6 x 16] = relu(bias + a[6 x k] * panel[k x 16]).
void block_6x16(std::size_t k, const float* a, std::size_t lda, const float* panel, const float* bias,
                float* c, std::size_t ldc) {
  Vec low[kRows], high[kRows];
  for (std::size_t i = 0; i < kRows; ++i) {
    low[i] = *reinterpret_cast<const Vec*>(bias);
    high[i] = *reinterpret_cast<const Vec*>(bias + 8);
  }
  for (std::size_t p = 0; p < k; ++p, panel += kColumns) {
    const Vec b_low = *reinterpret_cast<const Vec*>(panel), b_high = *reinterpret_cast<const Vec*>(panel + 8);
    for (std::size_t i = 0; i < kRows; ++i) {
      const float x = a[i * lda + p];
      low[i] += x * b_low;
      high[i] += x * b_high;
    }
  }
  const Vec zero = {};
  for (std::size_t i = 0; i < kRows; ++i) {
    *reinterpret_cast<Vec*>(c + i * ldc) = low[i] > zero ? low[i] : zero;
    *reinterpret_cast<Vec*>(c + i * ldc + 8) = high[i] > zero ? high[i] : zero;
  }
}

Result<void> check_layers(const GeneForest& forest, const std::vector<int>& first_input,
                          const std::vector<Dense>& layers) {
  if (layers.size() < 2 || layers.back().out != 1)
    return usage_error("network: needs two layers or more and one output");
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Dense& layer = layers[l];
    if (layer.weight.size() != layer.in * layer.out || layer.bias.size() != layer.out ||
        (l > 0 && layer.in != layers[l - 1].out))
      return usage_error("network: layer " + std::to_string(l) +
                         " does not fit its weights or its neighbour");
  }
  if (first_input.size() != forest.size())
    return usage_error("network: one first input per gene is required");
  for (std::size_t g = 0; g < forest.size(); ++g)
    if (first_input[g] >= 0 && static_cast<std::size_t>(first_input[g]) + forest.choices(g) > layers[0].in)
      return usage_error("network: gene " + std::to_string(g) + " lies beyond the " +
                         std::to_string(layers[0].in) + " inputs");
  return {};
}

}  // namespace

Result<OneHotMlp> OneHotMlp::make(const GeneForest& forest, std::vector<int> first_input,
                                  std::vector<Dense> layers, double scale, double shift) {
  NAS_CHECK(check_layers(forest, first_input, layers));
  OneHotMlp mlp(forest);
  mlp.scale_ = scale;
  mlp.shift_ = shift;
  mlp.layers_ = std::move(layers);
  for (const auto& group : forest.groups()) {
    std::vector<std::uint32_t> genes;
    std::size_t combinations = 1;
    for (const std::uint32_t gene : group) {
      if (first_input[gene] < 0) continue;
      // Genes of one block share their activity only when they hang on the same parent in the same way.
      const bool alike = genes.empty() || forest.parent(gene) == forest.parent(genes[0]);
      if (!alike || combinations * forest.choices(gene) > kMaxCombinations) {
        mlp.add_block(genes, first_input);
        genes.clear();
        combinations = 1;
      }
      genes.push_back(gene);
      combinations *= forest.choices(gene);
    }
    if (!genes.empty()) mlp.add_block(genes, first_input);
  }
  for (std::size_t l = 1; l + 1 < mlp.layers_.size(); ++l) {
    const Dense& layer = mlp.layers_[l];
    Packed packed{layer.in, layer.out, {}, layer.bias};
    packed.bias.resize(padded(layer.out), 0.0f);
    for (std::size_t j0 = 0; j0 < layer.out; j0 += kColumns)
      for (std::size_t p = 0; p < layer.in; ++p)
        for (std::size_t j = j0; j < j0 + kColumns; ++j)
          packed.panels.push_back(j < layer.out ? layer.weight[p * layer.out + j] : 0.0f);
    mlp.hidden_.push_back(std::move(packed));
  }
  return mlp;
}

void OneHotMlp::add_block(const std::vector<std::uint32_t>& genes, const std::vector<int>& first_input) {
  const std::size_t width = layers_[0].out, stride = padded(width);
  std::size_t combinations = 1;
  for (const std::uint32_t gene : genes) combinations *= forest_.choices(gene);
  Block block{genes, std::vector<float>(combinations * stride, 0.0f)};
  for (std::size_t entry = 0; entry < combinations; ++entry) {
    std::size_t rest = entry;
    for (std::size_t i = genes.size(); i-- > 0;) {
      const std::size_t choice = rest % forest_.choices(genes[i]);
      rest /= forest_.choices(genes[i]);
      const float* row =
          layers_[0].weight.data() + (static_cast<std::size_t>(first_input[genes[i]]) + choice) * width;
      for (std::size_t j = 0; j < width; ++j) block.rows[entry * stride + j] += row[j];
    }
  }
  blocks_.push_back(std::move(block));
}

void OneHotMlp::first_layer(const Genotype& g, float* out) const {
  const std::size_t width = layers_[0].out, stride = padded(width);
  std::copy(layers_[0].bias.begin(), layers_[0].bias.end(), out);
  std::fill(out + width, out + stride, 0.0f);
  std::uint8_t active[256];
  std::vector<std::uint8_t> heap;
  std::uint8_t* activity = active;
  if (forest_.size() > sizeof active) heap.resize(forest_.size()), activity = heap.data();
  forest_.activity(g, {activity, forest_.size()});
  for (const Block& block : blocks_) {
    if (!activity[block.genes[0]]) continue;
    std::size_t entry = 0;
    for (const std::uint32_t gene : block.genes) entry = entry * forest_.choices(gene) + g[gene];
    const float* row = block.rows.data() + entry * stride;
    for (std::size_t j = 0; j < stride; ++j) out[j] += row[j];
  }
  for (std::size_t j = 0; j < stride; ++j) out[j] = out[j] > 0 ? out[j] : 0.0f;
}

void OneHotMlp::score_rows(std::span<const Genotype> batch, std::span<double> out) const {
  std::size_t widest = 0;
  for (const Dense& layer : layers_) widest = std::max(widest, padded(layer.out));
  // One buffer a thread for the whole search.
  thread_local std::vector<float> buffer;
  const std::size_t rows = (batch.size() + kRows - 1) / kRows * kRows;
  if (buffer.size() < 2 * rows * widest) buffer.resize(2 * rows * widest);
  float* now = buffer.data();
  float* next = buffer.data() + rows * widest;
  for (std::size_t i = 0; i < batch.size(); ++i) first_layer(batch[i], now + i * widest);
  for (const Packed& layer : hidden_) {
    for (std::size_t j0 = 0; j0 < layer.out; j0 += kColumns)
      for (std::size_t i = 0; i < rows; i += kRows)
        block_6x16(layer.in, now + i * widest, widest, layer.panels.data() + j0 * layer.in,
                   layer.bias.data() + j0, next + i * widest + j0, widest);
    std::swap(now, next);
  }
  const Dense& last = layers_.back();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    float lanes[8] = {};
    const float* row = now + i * widest;
    for (std::size_t p = 0; p < last.in; ++p) lanes[p % 8] += row[p] * last.weight[p];
    const double sum = (double{lanes[0]} + lanes[1] + lanes[2] + lanes[3]) +
                       (double{lanes[4]} + lanes[5] + lanes[6] + lanes[7]);
    out[i] = shift_ + scale_ * (sum + double{last.bias[0]});
  }
}

void OneHotMlp::score(std::span<const Genotype> batch, std::span<double> out) const {
  // Equal shares in whole strips of six rows; small batches are spread over all threads.
  const auto threads = static_cast<std::size_t>(tbb::this_task_arena::max_concurrency());
  const std::size_t even = (batch.size() + threads - 1) / threads;
  const std::size_t share = std::min(kTaskRows, std::max<std::size_t>(1, (even + kRows - 1) / kRows) * kRows);
  if (share >= batch.size()) return score_rows(batch, out);
  tbb::parallel_for(std::size_t{0}, (batch.size() + share - 1) / share, [&](std::size_t t) {
    const std::size_t from = t * share, count = std::min(share, batch.size() - from);
    score_rows(batch.subspan(from, count), out.subspan(from, count));
  });
}

double OneHotMlp::gradient(std::span<const double> input, std::span<double> out) const {
  std::vector<std::vector<double>> values{{input.begin(), input.end()}};
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Dense& layer = layers_[l];
    std::vector<double> y(layer.bias.begin(), layer.bias.end());
    for (std::size_t p = 0; p < layer.in; ++p)
      for (std::size_t j = 0; j < layer.out; ++j)
        y[j] += values[l][p] * double{layer.weight[p * layer.out + j]};
    if (l + 1 < layers_.size())
      for (double& v : y) v = std::max(v, 0.0);
    values.push_back(std::move(y));
  }
  std::vector<double> back{scale_};
  for (std::size_t l = layers_.size(); l-- > 0;) {
    const Dense& layer = layers_[l];
    std::vector<double> below(layer.in, 0.0);
    for (std::size_t p = 0; p < layer.in; ++p) {
      if (l > 0 && values[l][p] <= 0) continue;
      for (std::size_t j = 0; j < layer.out; ++j)
        below[p] += back[j] * double{layer.weight[p * layer.out + j]};
    }
    back = std::move(below);
  }
  std::ranges::copy(back, out.begin());
  return shift_ + scale_ * values.back()[0];
}

}  // namespace nas::search
