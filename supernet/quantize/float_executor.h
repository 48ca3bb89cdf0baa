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

  // One operation without its activation; `second` is empty for operations of one input.
  void before_activation(std::size_t op, const std::vector<float>& in, const std::vector<float>& second,
                         std::vector<float>& out) const;
  void set_weights(std::size_t op, FoldedWeights weights);
  const FoldedNetwork& network() const { return folded_; }

 private:
  void pack_weights(std::size_t op);
  FoldedNetwork folded_;
  std::vector<std::vector<float>> packed_;  // dense weights in blocks of outputs, others as they are
};

// The last operation that reads each tensor; the number of operations for one that none reads.
std::vector<std::size_t> last_uses(const Deployment& deployment);

void activate(Activation activation, std::vector<float>& values);

}  // namespace nas::supernet
