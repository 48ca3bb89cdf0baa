#include "supernet/quantize/quantize.h"

#include <algorithm>
#include <cmath>

#include "supernet/quantize/bias_correction.h"
#include "supernet/quantize/equalise.h"

namespace nas::supernet {
namespace {

using Values = std::vector<float>;

// Position of weight i of an output channel.
std::size_t weight_at(const DeployedOp& op, std::size_t channel, std::size_t i, std::size_t per) {
  return op.kind == DeployedKind::depthwise ? i * static_cast<std::size_t>(op.out.channels) + channel
                                            : channel * per + i;
}

// A network on its way: the float weights, the same rounded, and the tensors' grids.
struct Attempt {
  FoldedNetwork folded;
  FloatExecutor rounded;
  GridChoice choice;
  std::size_t equalised = 0;
  bool corrected = false;
  double error = 0;
};

FloatExecutor with_rounded_weights(const FoldedNetwork& folded) {
  FoldedNetwork rounded = folded;
  for (std::size_t i = 0; i < rounded.weights.size(); ++i) {
    const DeployedOp& op = rounded.deployment.ops[i];
    if (op.part == DeployedPart::none) continue;
    // Biases keep their values: their step depends on the input's grid and is far below the output's.
    rounded.weights[i].values = real_values(op, quantize_weights(op, folded.weights[i], 1), 1).values;
  }
  return FloatExecutor(rounded);
}

class Quantizer {
 public:
  Quantizer(std::span<const Values> images, const QuantizeOptions& options)
      : images_(images), options_(options) {
    for (std::size_t m = 0; m < kRangeMethods; ++m) {
      const auto method = static_cast<Calibration>(m);
      if (options.calibration == method || options.calibration == Calibration::automatic)
        methods_.push_back(method);
    }
  }

  Result<Attempt> run(const FoldedNetwork& folded) {
    const FloatExecutor executor(folded);
    NAS_TRY(seen, observe(executor, images_));
    exact_ = outputs(executor, images_);
    std::optional<Attempt> best;
    try_methods(folded, seen, 0, best);
    FoldedNetwork equalised = folded;
    const std::size_t changed = options_.equalise ? equalise(equalised, seen.largest) : 0;
    if (changed > 0) {
      NAS_TRY(seen_again, observe(FloatExecutor(equalised), images_));
      try_methods(equalised, seen_again, changed, best);
      if (best->equalised > 0) seen = std::move(seen_again);
    }
    std::optional<Attempt> searched;
    if (options_.calibration == Calibration::automatic) searched = search(*best, seen);
    if (options_.correct_bias) correct(*best, seen);
    if (searched && options_.correct_bias) correct(*searched, seen);
    return searched && searched->error < best->error ? std::move(*searched) : std::move(*best);
  }

 private:
  double error_of(const Attempt& a) const {
    return relative_error(exact_, outputs(Simulation(a.rounded, a.choice.grids), images_));
  }

  // One method for all tensors: the best of those asked for.
  void try_methods(const FoldedNetwork& folded, const Observation& seen, std::size_t equalised,
                   std::optional<Attempt>& best) const {
    const FloatExecutor rounded = with_rounded_weights(folded);
    for (const Calibration method : methods_) {
      Attempt a{folded, rounded, {grids_by(folded.deployment, seen, method), {}}, equalised, false, 0};
      a.choice.methods = {std::vector<Calibration>(seen.tensors.size(), method),
                          std::vector<Calibration>(seen.before.size(), method)};
      a.error = error_of(a);
      if (!best || a.error < best->error) best = std::move(a);
    }
  }

  Attempt search(const Attempt& from, const Observation& seen) const {
    const std::size_t n = std::min(std::max<std::size_t>(options_.search_images, 1), images_.size());
    std::vector<Grids> choices;
    for (const Calibration method : methods_)
      choices.push_back(grids_by(from.folded.deployment, seen, method));
    Attempt a = from;
    a.choice = search_grids(a.rounded, choices, images_.first(n), std::span<const Values>(exact_).first(n),
                            from.choice.methods.tensors.front());
    a.error = error_of(a);
    return a;
  }

  void correct(Attempt& a, const Observation& seen) const {
    Attempt other = a;
    const auto changes = correct_biases(other.rounded, other.choice.grids, seen.means, images_);
    for (std::size_t i = 0; i < changes.size(); ++i)
      for (std::size_t c = 0; c < changes[i].size(); ++c) other.folded.weights[i].bias[c] += changes[i][c];
    other.corrected = true;
    other.error = error_of(other);
    if (other.error < a.error) a = std::move(other);
  }

  std::span<const Values> images_;
  const QuantizeOptions& options_;
  std::vector<Calibration> methods_;
  std::vector<Values> exact_;
};

}  // namespace

QuantizedWeights quantize_weights(const DeployedOp& op, const FoldedWeights& from, double input_scale,
                                  const std::vector<double>& scales) {
  QuantizedWeights to;
  const auto channels = static_cast<std::size_t>(op.out.channels);
  const std::size_t per = from.values.size() / channels;
  const double top = largest_code(op.weight_bits);
  to.values.resize(from.values.size());
  for (std::size_t o = 0; o < channels; ++o) {
    double most = 0;
    for (std::size_t i = 0; i < per; ++i)
      most = std::max(most, std::fabs(static_cast<double>(from.values[weight_at(op, o, i, per)])));
    const double scale = static_cast<float>(!scales.empty() ? scales[o] : most > 0 ? most / top : 1 / top);
    for (std::size_t i = 0; i < per; ++i) {
      const std::size_t at = weight_at(op, o, i, per);
      to.values[at] = static_cast<std::int8_t>(std::clamp(std::round(from.values[at] / scale), -top, top));
    }
    to.scales.push_back(scale);
    // A bias that leaves 30 bits belongs to a channel whose weights are all but zero; it saturates the output
    // anyway.
    to.bias.push_back(static_cast<std::int32_t>(
        std::clamp(std::round(from.bias[o] / (input_scale * scale)), -1073741824.0, 1073741823.0)));
  }
  return to;
}

FoldedWeights real_values(const DeployedOp& op, const QuantizedWeights& weights, double input_scale) {
  FoldedWeights real;
  real.values.resize(weights.values.size());
  const std::size_t channels = weights.scales.size(), per = weights.values.size() / channels;
  for (std::size_t o = 0; o < channels; ++o) {
    for (std::size_t i = 0; i < per; ++i) {
      const std::size_t at = weight_at(op, o, i, per);
      real.values[at] = static_cast<float>(weights.scales[o] * weights.values[at]);
    }
    real.bias.push_back(static_cast<float>(weights.bias[o] * (input_scale * weights.scales[o])));
  }
  return real;
}

QuantizedNetwork assemble(const FoldedNetwork& folded, const Grids& grids) {
  QuantizedNetwork q;
  q.deployment = folded.deployment;
  for (const std::optional<Quantization>& grid : grids.tensors) q.tensors.push_back(*grid);
  for (std::size_t i = 0; i < folded.deployment.ops.size(); ++i) {
    const DeployedOp& op = folded.deployment.ops[i];
    q.before.push_back(before_has_choice(folded.deployment, i) ? *grids.before[i] : q.tensors[i + 1]);
    const double input_scale = q.tensors[static_cast<std::size_t>(op.inputs[0])].scale;
    q.weights.push_back(op.part == DeployedPart::none ? QuantizedWeights{}
                                                      : quantize_weights(op, folded.weights[i], input_scale));
  }
  return q;
}

Result<void> check_bits(const Deployment& deployment) {
  for (std::size_t i = 0; i < deployment.ops.size(); ++i) {
    const DeployedOp& op = deployment.ops[i];
    const auto bad = [&](const char* what, int bits, const char* known) {
      return usage_error("operation " + std::to_string(i) + ": integer " + what + " have " + known +
                         " bits, found " + std::to_string(bits));
    };
    if (op.part != DeployedPart::none && op.weight_bits != 8 && op.weight_bits != 4 && op.weight_bits != 2)
      return bad("weights", op.weight_bits, "8, 4 or 2");
    if (op.activation_bits != 8 && op.activation_bits != 4)
      return bad("activations", op.activation_bits, "8 or 4");
  }
  return {};
}

Result<void> check_eight_bit_results(const Deployment& deployment, const char* format) {
  for (std::size_t i = 0; i < deployment.ops.size(); ++i)
    if (deployment.ops[i].activation_bits != 8)
      return usage_error("operation " + std::to_string(i) + ": " + format + " has no activations of " +
                         std::to_string(deployment.ops[i].activation_bits) + " bits; the form c has");
  return {};
}

Result<QuantizedNetwork> quantize(const FoldedNetwork& folded, std::span<const Values> images,
                                  const QuantizeOptions& options, QuantizeReport* report) {
  NAS_CHECK(check_bits(folded.deployment));
  NAS_TRY(done, Quantizer(images, options).run(folded));
  if (report) *report = {done.choice.methods, done.equalised, done.corrected, done.error, done.folded};
  return assemble(done.folded, done.choice.grids);
}

}  // namespace nas::supernet
