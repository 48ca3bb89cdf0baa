#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "space/network.h"
#include "supernet/detail/ops.h"
#include "supernet/detail/weights.h"

namespace nas::supernet {

enum class NormMode {
  batch,   // every batch norm uses its batch's own statistics
  record,  // the same, and they are kept
  fixed,   // given statistics
};

// Statistics of the batch norms of one network, by layer index; other layers' entries are undefined.
struct NormStatistics {
  std::vector<Moments> of;
  std::vector<std::int64_t> rows;  // how many positions each was taken over
};

// One gradient per parameter of the table, in the active (sliced) shape; undefined where the path has none.
using Gradients = std::vector<at::Tensor>;

struct ExecutionOptions {
  NormMode mode = NormMode::batch;
  const NormStatistics* fixed = nullptr;  // for NormMode::fixed
  bool keep = true;                       // keep what backward needs
  bool bf16 = false;
  // Keep only what crosses the ends of about sqrt(layers) stretches and make the rest again for backward
  // (Chen et al. 2016): less memory, one more forward pass, the same bits.
  bool recompute = false;
  double dropout = 0;             // before the classifier
  std::uint64_t dropout_key = 0;  // names the mask
};

// One forward pass of one path over one batch, and its backward pass. Owns everything the pass remembers, so
// any number of executions of one weight table may run at once. Must run without autograd recording.
class Execution {
 public:
  Execution(const WeightTable& weights, const Network& network, const ExecutionOptions& options);

  // x: [N, H, W, C]. Returns the last layer's output, [N, classes] when that is 1 x 1.
  at::Tensor forward(const at::Tensor& x);
  // Call once, after forward with keep. `gradients` is empty, or has an undefined one for every parameter.
  void backward(const at::Tensor& grad_output, Gradients& gradients);

  // Runs layers [begin, end) only, with the outputs of the layers before taken from another path that agrees
  // with this one up to there. Returns the output of layer end - 1.
  at::Tensor continue_from(const std::vector<at::Tensor>& before, std::size_t begin, std::size_t end);

  // The gradient of a layer's output, seen during backward (path gates).
  std::function<void(std::size_t layer, const at::Tensor& grad_output)> watch;
  // Called during backward when all gradients of a layer's weights are given.
  std::function<void(std::size_t layer)> after;
  // A layer's weights as this path uses them: sliced, kernels transformed.
  at::Tensor active_weight(std::size_t layer, Part part) const;
  const at::Tensor& value(std::size_t layer) const { return values_[layer]; }
  NormStatistics& recorded() { return recorded_; }
  // Also makes gradients of the layers that read the input; only needed to watch them.
  bool want_input_gradient = false;

 private:
  struct Saved {
    std::vector<at::Tensor> tensors;
    Moments moments;
  };
  at::Tensor parameter(std::size_t layer, Part part) const;
  void give(std::size_t layer, Part part, at::Tensor gradient);
  void add_grad(std::int32_t layer, const at::Tensor& grad);
  ConvGeometry geometry(const Layer& layer) const;

  // Forgets what can be made again of the stretch that ends at layer i, and makes it again.
  void forget_stretch(std::size_t i);
  void remake_stretch(std::size_t i);
  bool ends_stretch(std::size_t i) const { return (i + 1) % stretch_ == 0 && i + 1 < network_.layers.size(); }

  at::Tensor run(std::size_t i);
  void run_back(std::size_t i, const at::Tensor& gy);
  // Depthwise kernels come through the transform chain; the steps' inputs are kept for backward.
  at::Tensor conv_weight(std::size_t i, std::vector<at::Tensor>* steps) const;
  void conv_weight_back(std::size_t i, at::Tensor gradient);
  at::Tensor norm_forward(std::size_t i, Activation act);
  void norm_backward(std::size_t i, Activation act, const at::Tensor& gy);
  at::Tensor squeeze_forward(std::size_t i);
  void squeeze_backward(std::size_t i, const at::Tensor& gy);
  at::Tensor pool_forward(std::size_t i);
  at::Tensor pool_backward(std::size_t i, const at::Tensor& gy);
  at::Tensor embed_forward(std::size_t i);
  void embed_backward(std::size_t i, const at::Tensor& gy);
  at::Tensor attention_forward(std::size_t i);
  void attention_backward(std::size_t i, const at::Tensor& gy);
  at::Tensor linear_with_dropout(std::size_t i);

  const WeightTable& weights_;
  const Network& network_;
  ExecutionOptions options_;
  std::vector<int> uses_;           // how many layers read a layer's output
  std::vector<std::size_t> last_;   // the last of them
  std::size_t stretch_;             // layers between those whose outputs are kept
  std::vector<std::int8_t> fused_;  // the layer's work is done by the batch norm before it
  std::vector<at::Tensor> values_;
  std::vector<at::Tensor> grads_;
  std::vector<Saved> saved_;
  NormStatistics recorded_;
  Gradients* gradients_ = nullptr;
};

}  // namespace nas::supernet
