#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "supernet/detail/weights.h"
#include "supernet/quantize/quantize.h"

namespace nas::supernet {

// Rounds [rows, ...] to steps `step` [rows], or all of it to one step, on integers low..high:
// y = s * round(clip(x / s, low, high)). Backward passes the gradient straight through inside the range and
// gives steps that of LSQ (Esser et al., ICLR 2020): round(v) - v inside with v = x / s, low or high outside.
// `offsets`, where given and defined, stand for round(v) - v; else they are written to it: with offsets held
// fixed the function is differentiable, and these are its exact gradients.
at::Tensor round_to_steps(const at::Tensor& x, const at::Tensor& step, double low, double high,
                          at::Tensor* offsets = nullptr);

// A deployed network whose forward pass rounds as its integer code does, and which learns weights, biases and
// steps.
//
// Parameters are dimensionless, so that one learning rate suits all, whatever batch norm folding made of the
// scales: weights in steps of their channel at the start (of 2 bits in those of 4), biases in steps of their
// operation's result, steps as start * exp(parameter / 100). Zero points stay as they are.
class RoundedNetwork {
 public:
  RoundedNetwork(const FoldedNetwork& folded, const QuantizedNetwork& start);

  WeightTable& table() { return table_; }
  // The parameters as leaves of a graph of their own, for one forward and backward pass.
  std::vector<at::Tensor> leaves(at::ScalarType type = at::kFloat) const;

  struct Offsets {
    std::vector<at::Tensor> of;  // one per rounding, in order of execution
    std::size_t next = 0;
  };
  // images: [N, H, W, C]. Returns [N, classes]. `rounded` false: the float network. See round_to_steps for
  // offsets.
  at::Tensor forward(const at::Tensor& images, const std::vector<at::Tensor>& leaves, bool rounded = true,
                     Offsets* offsets = nullptr) const;
  // The integer network whose simulation forward() is.
  QuantizedNetwork integer() const;

  // The leaf that holds an operation's weights, [out, in, k, k] in the unit of weight_unit(); -1: it has
  // none.
  int weight_leaf(std::size_t op) const { return weight_[op].parameter; }
  const at::Tensor& weight_unit(std::size_t op) const { return weight_[op].unit; }
  // The float network that such leaves are.
  FoldedNetwork real(const std::vector<at::Tensor>& leaves) const;

 private:
  // A parameter of the table and what one unit of it is worth.
  struct Slot {
    int parameter = -1;  // -1: none
    at::Tensor unit;     // starting step(s)
  };
  Slot add(const std::string& name, const at::Tensor& value, const at::Tensor& unit);
  at::Tensor step_of(const Slot& slot, const std::vector<at::Tensor>& leaves) const;
  at::Tensor round_weights(std::size_t op, const std::vector<at::Tensor>& leaves, Offsets* offsets) const;
  at::Tensor round_bias(std::size_t op, const std::vector<at::Tensor>& leaves, Offsets* offsets) const;
  at::Tensor round_tensor(const at::Tensor& x, std::size_t grid, const Quantization& q,
                          const std::vector<at::Tensor>& leaves, Offsets* offsets) const;
  at::Tensor apply(std::size_t op, const std::vector<at::Tensor>& tensors,
                   const std::vector<at::Tensor>& leaves, bool rounded, Offsets* offsets) const;
  at::Tensor finish(std::size_t op, at::Tensor y, const std::vector<at::Tensor>& leaves,
                    Offsets* offsets) const;

  QuantizedNetwork start_;
  WeightTable table_;
  std::vector<Slot> weight_, weight_step_, bias_;  // per op
  std::vector<Slot> grid_;                         // per tensor; then per op before its activation
  std::vector<std::size_t> owner_;  // the tensor whose grid a tensor has (pools hand theirs on)
};

}  // namespace nas::supernet
