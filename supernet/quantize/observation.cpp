#include "supernet/quantize/observation.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>

namespace nas::supernet {
namespace {

Result<void> check_images(const FoldedNetwork& folded, std::span<const std::vector<float>> images) {
  if (images.empty()) return usage_error("quantise: needs at least one calibration image, found none");
  const auto expected = static_cast<std::size_t>(folded.deployment.input.elements());
  for (const std::vector<float>& image : images)
    if (image.size() != expected)
      return usage_error("quantise: calibration images need " + std::to_string(expected) + " values, found " +
                         std::to_string(image.size()));
  return {};
}

Observation empty_observation(const Deployment& deployment) {
  Observation o;
  const std::size_t ops = deployment.ops.size();
  o.tensors.resize(ops + 1);
  o.before.resize(ops);
  o.largest.emplace_back(static_cast<std::size_t>(deployment.input.channels), 0.0F);
  for (const DeployedOp& op : deployment.ops) {
    o.means.emplace_back(static_cast<std::size_t>(op.out.channels), 0.0);
    o.largest.emplace_back(static_cast<std::size_t>(op.out.channels), 0.0F);
  }
  return o;
}

void add_first(Observation& o, std::size_t tensor, bool before, std::span<const float> values) {
  (before ? o.before[tensor - 1] : o.tensors[tensor]).add_range(values);
  const std::size_t channels = o.largest[tensor].size();
  if (before)
    for (std::size_t i = 0; i < values.size(); ++i) o.means[tensor - 1][i % channels] += values[i];
  else
    for (std::size_t i = 0; i < values.size(); ++i)
      o.largest[tensor][i % channels] = std::max(o.largest[tensor][i % channels], std::fabs(values[i]));
}

void merge(Histogram& into, const Histogram& from) {
  const bool broken = std::isnan(into.low) || std::isnan(from.low);
  into.low = broken ? std::nanf("") : std::min(into.low, from.low);
  into.high = broken ? std::nanf("") : std::max(into.high, from.high);
  into.zeros += from.zeros;
  into.counts.resize(std::max(into.counts.size(), from.counts.size()));
  for (std::size_t b = 0; b < from.counts.size(); ++b) into.counts[b] += from.counts[b];
}

void merge(Observation& into, const Observation& from) {
  for (std::size_t t = 0; t < into.tensors.size(); ++t) {
    merge(into.tensors[t], from.tensors[t]);
    for (std::size_t c = 0; c < into.largest[t].size(); ++c)
      into.largest[t][c] = std::max(into.largest[t][c], from.largest[t][c]);
  }
  for (std::size_t i = 0; i < into.before.size(); ++i) {
    merge(into.before[i], from.before[i]);
    for (std::size_t c = 0; c < into.means[i].size(); ++c) into.means[i][c] += from.means[i][c];
  }
}

// One pass over all images in a fixed number of parts, merged in their order.
void pass(const FloatExecutor& executor, std::span<const std::vector<float>> images, Observation& seen,
          bool counting) {
  constexpr std::size_t kParts = 8;
  Observation start = empty_observation(executor.network().deployment);
  if (counting) {
    start.tensors = seen.tensors;  // for their extremes
    start.before = seen.before;
  }
  std::vector<Observation> parts(std::min(kParts, images.size()), start);
  tbb::parallel_for(std::size_t{0}, parts.size(), [&](std::size_t p) {
    for (std::size_t i = p; i < images.size(); i += parts.size())
      executor.run(images[i], [&](std::size_t tensor, bool before, std::span<const float> values) {
        if (counting)
          (before ? parts[p].before[tensor - 1] : parts[p].tensors[tensor]).add_counts(values);
        else
          add_first(parts[p], tensor, before, values);
      });
  });
  for (const Observation& part : parts) merge(seen, part);
}

bool finite(const Histogram& h) { return std::isfinite(h.low) && std::isfinite(h.high); }

}  // namespace

Result<Observation> observe(const FloatExecutor& executor, std::span<const std::vector<float>> images) {
  NAS_CHECK(check_images(executor.network(), images));
  const Deployment& deployment = executor.network().deployment;
  Observation seen = empty_observation(deployment);
  pass(executor, images, seen, false);
  for (std::size_t t = 0; t < seen.tensors.size(); ++t)
    if (!finite(seen.tensors[t]) || (t > 0 && !finite(seen.before[t - 1])))
      return Error{"quantise: tensor " + std::to_string(t) + " holds values that are not finite"};
  for (std::size_t i = 0; i < seen.means.size(); ++i) {
    const Shape& out = deployment.ops[i].out;
    for (double& mean : seen.means[i])
      mean /= static_cast<double>(images.size()) * static_cast<double>(out.height) * out.width;
  }
  pass(executor, images, seen, true);
  return seen;
}

}  // namespace nas::supernet
