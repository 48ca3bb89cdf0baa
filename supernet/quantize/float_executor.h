#pragma once
#include <functional>
#include <span>
#include <vector>

#include "supernet/quantize/folding.h"

namespace nas::supernet {

// Runs a folded network in float32 with plain loops, channels last, without LibTorch: the reference that
// quantisation and exports are held against.
class FloatExecutor {
 public:
  explicit FloatExecutor(const FoldedNetwork& folded);

  // Called with the values of tensor `tensor`; for an op's output also with its values before the activation.
  using Observer =
      std::function<void(std::size_t tensor, bool before_activation, std::span<const float> values)>;

  // image: H x W x C of the network's input. Returns the last tensor. Safe from many threads at once.
  std::vector<float> run(std::span<const float> image, const Observer& observe = {}) const;

 private:
  FoldedNetwork folded_;
  std::vector<std::vector<float>>
      transposed_;  // conv HWIO, fully connected IO: the inner loop runs over outputs
};

float activate(Activation activation, float x);

}  // namespace nas::supernet
