#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/cost.h"
#include "space/network.h"
#include "space/search_space.h"

namespace nas {

enum class EncodingForm : std::uint8_t {
  one_hot,  // every gene: one position per choice, all 0 while inactive
  compact,  // one_hot without genes that the activity of others gives away; the form of once-for-all: 124 or
            // 128 numbers for its MobileNetV3 with 4 or 8 resolutions, 78 for ResNet50D with 4
  ordinal,  // every gene: (choice + 1) / choices, 0 while inactive
};

// Turns genotypes into numbers for predictors. Compiled once; encode() allocates nothing.
class Encoding {
 public:
  // `resolutions`: the values of the resolution gene that get a position in the one-hot forms; empty: all.
  // Fails on a value that the space does not offer.
  static Result<Encoding> make(const SearchSpace& space, EncodingForm form,
                               std::span<const double> resolutions = {});

  std::size_t size() const { return names_.size(); }
  // "stage1.block1.kernel=3" for one-hot forms, the gene's name for ordinal.
  const std::vector<std::string>& names() const { return names_; }

  // `out` has size() numbers. Fails when the genotype has a resolution without a position.
  Result<void> encode(const Genotype& g, std::span<float> out) const;

 private:
  struct Slot {
    std::int32_t gene = 0;
    std::int32_t first = 0;  // position in the output
    std::int32_t choices = 0;
    std::int32_t remap = -1;  // start in remap_, or -1: choice c stands at first + c
  };
  struct Parent {
    std::int32_t gene = -1;
    std::uint8_t low = 0;
    std::uint8_t high = 255;
  };
  bool active(const Genotype& g, std::int32_t gene) const;

  EncodingForm form_ = EncodingForm::one_hot;
  std::vector<Parent> parents_;
  std::vector<Slot> slots_;
  std::vector<std::int32_t> remap_;  // choice -> position behind first, or -1
  std::vector<std::string> names_;
};

// Sums over the network, for models that do not know its genes: totals, then per kind of layer (convolutions
// split into dense, pointwise, grouped and depthwise) count, MACs, weight bytes and output bytes.
const std::vector<std::string>& network_feature_names();
void network_features(const Network& network, Precision precision, std::span<float> out);

// One row per layer that does work (no input, batch norm or fused activation): kind one-hot, then log2(1 + x)
// of MACs, weight bytes, input and output bytes, channels, height, kernel, stride, groups, hidden, heads.
const std::vector<std::string>& layer_feature_names();
std::vector<float> layer_features(const Network& network, Precision precision);

}  // namespace nas
