#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "search/gene_forest.h"
#include "space/base/result.h"

namespace nas::search {

// One fully connected layer: out = in * weight + bias, weight row-major [in x out].
struct Dense {
  std::size_t in = 0;
  std::size_t out = 0;
  std::vector<float> weight;
  std::vector<float> bias;
};

// A ReLU regression network on one-hot genes, scored in batches as fast as the machine multiplies:
// a one-hot input makes the first layer a sum of weight rows, summed beforehand per block of genes; the
// others run over packed weights in register blocks of 6 x 16. Results do not depend on batch size or
// threads.
class OneHotMlp {
 public:
  // `first_input[g]` is the input of gene g's choice 0 (its others follow), -1: the gene is no input.
  // Inactive genes give zeros. Output = scale * network + shift. Fails when the layers do not fit together.
  static Result<OneHotMlp> make(const GeneForest& forest, std::vector<int> first_input,
                                std::vector<Dense> layers, double scale = 1, double shift = 0);

  // out[i] for the canonical batch[i]; runs on all threads of oneTBB.
  void score(std::span<const Genotype> batch, std::span<double> out) const;
  // Derivative of the output with respect to a relaxed input (plain loops; for gradient search).
  double gradient(std::span<const double> input, std::span<double> out) const;
  std::size_t inputs() const { return layers_[0].in; }

 private:
  // The summed first-layer rows of one block of genes, by the block's combined choice.
  struct Block {
    std::vector<std::uint32_t> genes;
    std::vector<float> rows;  // [combinations x width]
  };
  // Weights in panels of 16 columns, zero-padded: panel p holds rows 0…in of columns [16 p, 16 p + 16).
  struct Packed {
    std::size_t in, out;
    std::vector<float> panels;
    std::vector<float> bias;  // padded
  };
  void score_rows(std::span<const Genotype> batch, std::span<double> out) const;
  void first_layer(const Genotype& g, float* out) const;
  void add_block(const std::vector<std::uint32_t>& genes, const std::vector<int>& first_input);

  GeneForest forest_;
  std::vector<Dense> layers_;
  std::vector<Block> blocks_;
  std::vector<Packed> hidden_;  // layers 1 … last - 1
  double scale_ = 1, shift_ = 0;

  explicit OneHotMlp(GeneForest forest) : forest_(std::move(forest)) {}
};

}  // namespace nas::search
