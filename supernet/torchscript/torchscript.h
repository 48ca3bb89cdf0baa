#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "supernet/trained_network.h"

namespace nas::supernet {

// What a TorchScript module carries besides its weights, as attributes of these names.
struct TorchScriptFacts {
  std::vector<std::string> labels;
  std::array<double, 3> mean{},
      deviation{};  // of the images' channels in 0..1, as the training data had them
};

// A frozen module: forward(image [N, C, H, W], normalised) -> logits [N, classes], batch norm folded by
// LibTorch; attributes genotype, space, labels, mean, deviation. Every layer kind but token tables. The bytes
// of the same network are the same. Fails on an unsupported layer, naming it.
Result<std::string> write_torchscript(const TrainedNetwork& trained, const TorchScriptFacts& facts);

// Loads a module of that kind and runs `images` (N of them, planes after planes). Fails on anything that
// LibTorch cannot read or run.
struct TorchScriptRun {
  std::vector<float> logits;
  std::string genotype;
};
Result<TorchScriptRun> run_torchscript(const std::string& bytes, const Shape& input,
                                       std::span<const float> images, const std::string& where);

}  // namespace nas::supernet
