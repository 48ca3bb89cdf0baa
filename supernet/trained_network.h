#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/result.h"
#include "space/network.h"
#include "supernet/tensor_file.h"

namespace nas::supernet {

// Where a network's weights come from; kept with them through every export.
struct Provenance {
  std::string space;              // name of the search space
  std::string space_fingerprint;  // hash of its definition, 32 hexadecimal digits
  std::string genotype;           // text form in that space
  std::string recipe;
  std::string data_fingerprint;  // of the splits it was trained and recalibrated on
  std::int64_t steps = 0;        // training steps behind the weights
  std::string note;              // "extracted", "fine-tuned 5 epochs", …
  friend bool operator==(const Provenance&, const Provenance&) = default;
};

// A stand-alone network: static layers and their own weights, without a link to the supernet.
//
// Tensors are called layer_name(layer) + "." + part. Parts, with shapes (row major):
//   conv            weight [out, in / groups, k, k], bias [out]
//   batch_norm      scale, shift, mean, variance, each [channels]; y = (x - mean) / sqrt(variance +
//   batch_norm_epsilon)
//                   * scale + shift
//   squeeze_excite  reduce_weight [hidden, c], reduce_bias [hidden], expand_weight [c, hidden], expand_bias
//   [c] linear          weight [out, in], bias [out] patch_embed     weight [out, in, k, k], bias [out]
//   positional      table [tokens, d], class_token [d] where it adds one
//   embedding       table [rows, d]
//   layer_norm      scale, shift [d], epsilon 1e-5
//   attention       query_weight [hidden, d], key_weight, value_weight [hidden, d of the source],
//   project_weight
//                   [d, hidden], and query_bias, key_bias, value_bias, project_bias where the layer has a
//                   bias; head h uses rows [h * hidden / heads, (h + 1) * hidden / heads); scores are divided
//                   by sqrt(hidden / heads)
// Average pooling divides by the number of positions inside the image.
struct TrainedNetwork {
  Network network;
  std::vector<NamedTensor> tensors;
  double batch_norm_epsilon = 1e-5;
  Provenance provenance;

  // The tensor of a part of a layer ("weight", "mean", …), or null.
  const NamedTensor* find(std::size_t layer, std::string_view part) const;
};

// Every part has a tensor of the right shape, no tensor is left over, every value is finite, variances are
// not negative, and the network is valid.
Result<void> check(const TrainedNetwork& trained);

Result<void> save(const std::filesystem::path& path, const TrainedNetwork& trained);
Result<TrainedNetwork> load_trained(const std::filesystem::path& path);
std::string to_bytes(const TrainedNetwork& trained);
Result<TrainedNetwork> trained_from_bytes(std::string_view bytes, const std::string& where);

}  // namespace nas::supernet
