#include "supernet/quantize/simulation.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>

namespace nas::supernet {
namespace {

using Values = std::vector<float>;

bool is_average(const DeployedOp& op) { return op.kind == DeployedKind::average_pool; }

// Integer code averages grid steps and rounds ties to an even number of steps from zero; sums of steps are
// whole numbers, which undoes the errors of the float mean.
void snap_average(Values& values, const Quantization& grid, std::int32_t positions) {
  for (float& v : values) {
    const double sum = std::rint(v / grid.scale * positions);
    v = static_cast<float>(grid.scale * std::rint(sum / positions));
  }
}

template <class Run>
std::vector<Values> all_outputs(std::span<const Values> images, Run run) {
  std::vector<Values> out(images.size());
  tbb::parallel_for(std::size_t{0}, images.size(), [&](std::size_t i) { out[i] = run(images[i]); });
  return out;
}

}  // namespace

void snap(Values& values, const Quantization& grid) {
  const auto scale = static_cast<float>(grid.scale), inverse = static_cast<float>(1 / grid.scale);
  const auto low = static_cast<float>(grid.low() - grid.zero),
             high = static_cast<float>(grid.high() - grid.zero);
  for (float& v : values) v = scale * std::clamp(std::rint(v * inverse), low, high);
}

Values Simulation::input(std::span<const float> image) const {
  Values values(image.begin(), image.end());
  if (grids_.tensors[0]) snap(values, *grids_.tensors[0]);
  return values;
}

void Simulation::step(std::size_t i, const Values& in, const Values& second, Values& out) const {
  executor_.before_activation(i, in, second, out);
  finish(i, out);
}

void Simulation::finish(std::size_t i, Values& values) const {
  const DeployedOp& op = executor_.network().deployment.ops[i];
  const std::optional<Quantization>& grid = grids_.tensors[i + 1];
  if (is_average(op) && grid) {
    const std::int32_t positions = op.kernel == 0 ? op.in.height * op.in.width : op.kernel * op.kernel;
    return snap_average(values, *grid, positions);
  }
  if (op.kind != DeployedKind::activation && needs_table(op.activation) && grids_.before[i])
    snap(values, *grids_.before[i]);
  activate(op.activation, values);
  if (grid) snap(values, *grid);
}

Values Simulation::run(std::span<const float> image) const {
  const std::vector<DeployedOp>& ops = executor_.network().deployment.ops;
  std::vector<Values> tensors(ops.size() + 1);
  const std::vector<std::size_t> last_use = last_uses(executor_.network().deployment);
  static const Values kNothing;
  tensors[0] = input(image);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const auto tensor = [&](int k) -> const Values& {
      const std::int32_t t = ops[i].inputs[static_cast<std::size_t>(k)];
      return t >= 0 ? tensors[static_cast<std::size_t>(t)] : kNothing;
    };
    step(i, tensor(0), tensor(1), tensors[i + 1]);
    for (const std::int32_t t : ops[i].inputs)
      if (t >= 0 && last_use[static_cast<std::size_t>(t)] == i)
        Values().swap(tensors[static_cast<std::size_t>(t)]);
  }
  return std::move(tensors.back());
}

double relative_error(std::span<const Values> exact, std::span<const Values> other) {
  double error = 0, power = 0;
  for (std::size_t i = 0; i < exact.size(); ++i)
    for (std::size_t k = 0; k < exact[i].size(); ++k) {
      const double off = static_cast<double>(other[i][k]) - exact[i][k];
      error += off * off;
      power += static_cast<double>(exact[i][k]) * exact[i][k];
    }
  return power > 0 ? error / power : error;
}

std::vector<Values> outputs(const FloatExecutor& executor, std::span<const Values> images) {
  return all_outputs(images, [&](const Values& image) { return executor.run(image); });
}

std::vector<Values> outputs(const Simulation& simulation, std::span<const Values> images) {
  return all_outputs(images, [&](const Values& image) { return simulation.run(image); });
}

}  // namespace nas::supernet
