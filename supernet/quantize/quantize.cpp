#include "supernet/quantize/quantize.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "supernet/quantize/float_executor.h"

namespace nas::supernet {
namespace {

constexpr std::size_t kBins = 2048;
constexpr double kTail = 1e-4;  // percentile: share of values outside the range

struct Range {
  double low = 0;
  double high = 0;
};

// What calibration saw of one place: a tensor, or an op's result before its activation.
struct Seen {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  std::vector<std::uint64_t> histogram;

  void add_range(std::span<const float> values) {
    for (const float v : values) {
      low = std::min(low, v);
      high = std::max(high, v);
      if (std::isnan(v)) low = high = v;
    }
  }
  double width() const { return (static_cast<double>(high) - low) / kBins; }
  void add_counts(std::span<const float> values) {
    const double w = width();
    for (const float v : values) {
      const double bin = w > 0 ? (v - low) / w : 0;
      ++histogram[std::min(static_cast<std::size_t>(bin), kBins - 1)];
    }
  }
};

// Slot 2 t: tensor t; slot 2 t + 1: before its activation.
std::size_t slot(std::size_t tensor, bool before) { return 2 * tensor + (before ? 1 : 0); }

// One pass over all images; counts are integers and extremes are exact, so the order of merging does not
// matter.
void pass(const FloatExecutor& executor, std::span<const std::vector<float>> images, std::vector<Seen>& seen,
          bool counting) {
  constexpr std::size_t kParts = 8;
  std::vector<std::vector<Seen>> parts(std::min(kParts, images.size()), seen);
  tbb::parallel_for(std::size_t{0}, parts.size(), [&](std::size_t p) {
    for (std::size_t i = p; i < images.size(); i += parts.size())
      executor.run(images[i], [&](std::size_t tensor, bool before, std::span<const float> values) {
        Seen& at = parts[p][slot(tensor, before)];
        counting ? at.add_counts(values) : at.add_range(values);
      });
  });
  for (const std::vector<Seen>& part : parts)
    for (std::size_t s = 0; s < seen.size(); ++s) {
      if (counting) {
        for (std::size_t b = 0; b < seen[s].histogram.size(); ++b)
          seen[s].histogram[b] += part[s].histogram[b];
      } else {
        seen[s].low = std::min(seen[s].low, part[s].low);
        seen[s].high = std::max(seen[s].high, part[s].high);
        if (std::isnan(part[s].low)) seen[s].low = seen[s].high = part[s].low;
      }
    }
}

Quantization grid_of(Range range) {
  const double low = std::min(0.0, range.low), high = std::max(0.0, range.high);
  if (high - low < 1e-12) return {1.0 / 255, 0};
  // The scale is a float wherever it is stored; rounding it first keeps all forms on one grid.
  const double scale = static_cast<float>((high - low) / 255);
  const double zero = std::clamp(std::round(-128 - low / scale), -128.0, 127.0);
  return {scale, static_cast<std::int32_t>(zero)};
}

Range by_percentile(const Seen& seen) {
  std::uint64_t total = 0;
  for (const std::uint64_t n : seen.histogram) total += n;
  const auto cut = static_cast<std::uint64_t>(static_cast<double>(total) * kTail / 2);
  std::size_t low = 0, high = kBins;
  for (std::uint64_t n = 0; low < kBins && (n += seen.histogram[low]) <= cut;) ++low;
  for (std::uint64_t n = 0; high > low + 1 && (n += seen.histogram[high - 1]) <= cut;) --high;
  return {seen.low + seen.width() * static_cast<double>(low),
          seen.low + seen.width() * static_cast<double>(high)};
}

double squared_error(const Seen& seen, Range range) {
  const Quantization grid = grid_of(range);
  double error = 0;
  for (std::size_t b = 0; b < kBins; ++b) {
    if (seen.histogram[b] == 0) continue;
    const double value = seen.low + seen.width() * (static_cast<double>(b) + 0.5);
    const double off = value - from_grid(to_grid(value, grid), grid);
    error += static_cast<double>(seen.histogram[b]) * off * off;
  }
  return error;
}

// Shrinks the two ends in turn while the error falls.
Range by_mse(const Seen& seen) {
  Range best{seen.low, seen.high};
  double best_error = squared_error(seen, best);
  constexpr std::array<double, 10> kShrink{1, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3};
  for (const double s : kShrink)
    for (const double t : kShrink) {
      const Range tried{seen.low * s, seen.high * t};
      if (const double error = squared_error(seen, tried); error < best_error) {
        best_error = error;
        best = tried;
      }
    }
  return best;
}

Quantization choose(const Seen& seen, Calibration how) {
  switch (how) {
    case Calibration::min_max:
      return grid_of({seen.low, seen.high});
    case Calibration::percentile:
      return grid_of(by_percentile(seen));
    case Calibration::mse:
      return grid_of(by_mse(seen));
  }
  return {};
}

QuantizedWeights quantize_weights(const DeployedOp& op, const FoldedWeights& from, double input_scale) {
  QuantizedWeights to;
  const auto channels = static_cast<std::size_t>(op.out.channels);
  const std::size_t per = from.values.size() / channels;
  const bool depthwise = op.kind == DeployedKind::depthwise;
  to.values.resize(from.values.size());
  for (std::size_t o = 0; o < channels; ++o) {
    const auto at = [&](std::size_t i) { return depthwise ? i * channels + o : o * per + i; };
    double most = 0;
    for (std::size_t i = 0; i < per; ++i)
      most = std::max(most, std::fabs(static_cast<double>(from.values[at(i)])));
    const double scale = static_cast<float>(most > 0 ? most / 127 : 1.0 / 127);
    for (std::size_t i = 0; i < per; ++i)
      to.values[at(i)] =
          static_cast<std::int8_t>(std::clamp(std::round(from.values[at(i)] / scale), -127.0, 127.0));
    to.scales.push_back(scale);
    // A bias that leaves 30 bits belongs to a channel whose weights are all but zero; it saturates the output
    // anyway.
    to.bias.push_back(static_cast<std::int32_t>(
        std::clamp(std::round(from.bias[o] / (input_scale * scale)), -1073741824.0, 1073741823.0)));
  }
  return to;
}

Result<void> check_images(const FoldedNetwork& folded, std::span<const std::vector<float>> images) {
  if (images.empty()) return usage_error("quantise: needs at least one calibration image, found none");
  const auto expected = static_cast<std::size_t>(folded.deployment.input.elements());
  for (const std::vector<float>& image : images)
    if (image.size() != expected)
      return usage_error("quantise: calibration images need " + std::to_string(expected) + " values, found " +
                         std::to_string(image.size()));
  return {};
}

}  // namespace

std::int8_t to_grid(double value, const Quantization& grid) {
  return static_cast<std::int8_t>(std::clamp(std::nearbyint(value / grid.scale) + grid.zero, -128.0, 127.0));
}

double from_grid(std::int8_t q, const Quantization& grid) { return grid.scale * (q - grid.zero); }

Result<QuantizedNetwork> quantize(const FoldedNetwork& folded, std::span<const std::vector<float>> images,
                                  const QuantizeOptions& options) {
  NAS_CHECK(check_images(folded, images));
  const std::vector<DeployedOp>& ops = folded.deployment.ops;
  const FloatExecutor executor(folded);
  std::vector<Seen> seen(2 * (ops.size() + 1));
  pass(executor, images, seen, false);
  for (std::size_t s = 0; s < seen.size(); ++s) {
    if (s != slot(0, true) && !(std::isfinite(seen[s].low) && std::isfinite(seen[s].high)))
      return Error{"quantise: tensor " + std::to_string(s / 2) + " holds values that are not finite"};
    seen[s].histogram.assign(kBins, 0);
  }
  if (options.calibration != Calibration::min_max) pass(executor, images, seen, true);

  QuantizedNetwork q;
  q.deployment = folded.deployment;
  q.tensors.push_back(choose(seen[slot(0, false)], options.calibration));
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const DeployedOp& op = ops[i];
    const Quantization input = q.tensors[static_cast<std::size_t>(op.inputs[0])];
    const bool keeps_grid = op.kind == DeployedKind::average_pool || op.kind == DeployedKind::max_pool;
    const bool gate = op.activation == Activation::hard_sigmoid || op.activation == Activation::sigmoid;
    q.tensors.push_back(keeps_grid ? input
                        : gate     ? grid_of({0, 1})
                                   : choose(seen[slot(i + 1, false)], options.calibration));
    q.before.push_back(needs_table(op.activation) ? choose(seen[slot(i + 1, true)], options.calibration)
                                                  : q.tensors.back());
    q.weights.push_back(op.part == DeployedPart::none ? QuantizedWeights{}
                                                      : quantize_weights(op, folded.weights[i], input.scale));
  }
  return q;
}

}  // namespace nas::supernet
