#pragma once
#include <optional>
#include <span>
#include <vector>

#include "space/quantized_network.h"
#include "supernet/quantize/float_executor.h"

namespace nas::supernet {

// The grids of a network's tensors; absent: that tensor stays in floating point.
struct Grids {
  std::vector<std::optional<Quantization>> tensors;  // per tensor of the deployment
  std::vector<std::optional<Quantization>> before;   // per op, used where the activation needs a table
};

// What the integer network computes, in floating point: every tensor is rounded where the integer code
// rounds. Differs from it by one step where a value lies within a float's error of the middle between two
// steps. Keeps references to both arguments.
class Simulation {
 public:
  Simulation(const FloatExecutor& executor, const Grids& grids) : executor_(executor), grids_(grids) {}

  // The image as the first tensor, then one operation after the other.
  std::vector<float> input(std::span<const float> image) const;
  void step(std::size_t op, const std::vector<float>& in, const std::vector<float>& second,
            std::vector<float>& out) const;
  // The second half of a step: from the result before the activation to the tensor.
  void finish(std::size_t op, std::vector<float>& values) const;
  std::vector<float> run(std::span<const float> image) const;

 private:
  const FloatExecutor& executor_;
  const Grids& grids_;
};

// Rounds values to a grid.
void snap(std::vector<float>& values, const Quantization& grid);

// Mean squared difference of two lists of outputs over the mean square of the exact ones.
double relative_error(std::span<const std::vector<float>> exact, std::span<const std::vector<float>> other);
// Outputs of all images, computed in parallel.
std::vector<std::vector<float>> outputs(const FloatExecutor& executor,
                                        std::span<const std::vector<float>> images);
std::vector<std::vector<float>> outputs(const Simulation& simulation,
                                        std::span<const std::vector<float>> images);

}  // namespace nas::supernet
