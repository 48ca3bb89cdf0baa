#include "latency/table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <unordered_map>
#include <utility>

#include "latency/measure/kernel_set.h"
#include "space/learn/linear.h"

namespace nas::latency {
namespace {

constexpr std::size_t kFeatures = 5;
constexpr std::size_t kNeighbours = 4;
constexpr std::size_t kFewest = 6;  // measured kernels of a family that interpolation needs

using Features = std::array<double, kFeatures>;
using Sizes = std::array<double, 6>;

double on_grain(double value) { return std::max(std::round(value / kGrain), 1.0) * kGrain; }

// The dimensions that differ inside a family, in logarithms.
Sizes sizes(const Kernel& k) {
  const Layer& l = k.anchor;
  const auto log = [](std::int64_t v) { return std::log(static_cast<double>(v + 1)); };
  return {log(l.in.channels), log(l.out.channels), log(l.out.height),
          log(l.out.width),   log(l.hidden),       log(l.side.channels)};
}

Features features(const Kernel& k) {
  const Layer& l = k.anchor;
  return {1.0, static_cast<double>(macs(l).count()),
          static_cast<double>(l.in.elements() + l.side.elements() * (l.side.channels > 0)),
          static_cast<double>(l.out.elements()), static_cast<double>(params(l).count())};
}

// What the kernels of one family share: the signature with its sizes taken out.
std::string family(const Kernel& k) {
  Kernel plain = k;
  Layer& l = plain.anchor;
  const bool depthwise = is_depthwise(l);
  l.in = l.out = Shape{1, 1, 1};
  if (l.side.channels > 0) l.side = Shape{1, 1, 1};
  if (l.hidden > 0) l.hidden = 1;
  if (depthwise) l.groups = 1;
  return signature(plain) + (depthwise ? " depthwise" : "");
}

struct Point {
  Kernel kernel;
  Sizes sizes;
  Features features;
  double value = 0;
};

bool within(const Sizes& inner, const Sizes& outer) {
  for (std::size_t i = 0; i < inner.size(); ++i)
    if (inner[i] > outer[i]) return false;
  return true;
}

double distance(const Sizes& a, const Sizes& b) {
  double d = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += (a[i] - b[i]) * (a[i] - b[i]);
  return d;
}

// The measured kernels of one family and the model fitted to them.
class Family {
 public:
  void add(Point point) { points_.push_back(std::move(point)); }

  void fit() {
    if (points_.size() < kFewest) return;
    learn::Matrix x(points_.size(), kFeatures);
    std::vector<double> y;
    for (std::size_t i = 0; i < points_.size(); ++i) {
      std::ranges::copy(points_[i].features, x.row(i).begin());
      y.push_back(points_[i].value);
    }
    const auto found = learn::fit_nonnegative(x, y, learn::relative_weights(y), 1e-9);
    if (!found) return;
    std::ranges::copy(*found, coefficients_.begin());
    fitted_ = true;
    std::vector<double> errors;
    for (std::size_t i = 0; i < points_.size(); ++i)
      errors.push_back(
          std::abs(std::log(guess(points_[i].sizes, points_[i].features, i) / points_[i].value)));
    std::ranges::sort(errors);
    spread_ = errors[std::min(errors.size() - 1,
                              static_cast<std::size_t>(0.9 * static_cast<double>(errors.size())))];
  }

  bool fitted() const { return fitted_; }
  double spread() const { return spread_; }
  bool spans(const Sizes& s) const {
    for (std::size_t d = 0; d < s.size(); ++d) {
      const auto [low, high] = std::ranges::minmax(points_, {}, [d](const Point& p) { return p.sizes[d]; });
      if (s[d] < low.sizes[d] - 1e-12 || s[d] > high.sizes[d] + 1e-12) return false;
    }
    return true;
  }

  // `without`: a point to leave out, to see how well the others tell it.
  double guess(const Sizes& s, const Features& f, std::size_t without = SIZE_MAX) const {
    std::vector<std::pair<double, std::size_t>> near;
    double floor = 0, ceiling = HUGE_VAL;
    for (std::size_t i = 0; i < points_.size(); ++i) {
      if (i == without) continue;
      near.emplace_back(distance(s, points_[i].sizes), i);
      if (within(points_[i].sizes, s)) floor = std::max(floor, points_[i].value);
      if (within(s, points_[i].sizes)) ceiling = std::min(ceiling, points_[i].value);
    }
    const std::size_t k = std::min(kNeighbours, near.size());
    std::partial_sort(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(k), near.end());
    double weights = 0, ratio = 0;
    for (std::size_t n = 0; n < k; ++n) {
      const Point& p = points_[near[n].second];
      const double w = 1 / (near[n].first + 1e-6);
      weights += w;
      ratio += w * std::log(p.value / model(p.features));
    }
    const double value = model(f) * std::exp(weights > 0 ? ratio / weights : 0);
    return floor <= ceiling ? std::clamp(value, floor, ceiling) : value;
  }

 private:
  double model(const Features& f) const {
    double sum = 0;
    for (std::size_t i = 0; i < kFeatures; ++i) sum += coefficients_[i] * f[i];
    return std::max(sum, 1e-12);
  }

  std::vector<Point> points_;
  Features coefficients_{};
  double spread_ = 0;
  bool fitted_ = false;
};

}  // namespace

std::string_view to_string(EntrySource source) {
  return source == EntrySource::measured       ? "measured"
         : source == EntrySource::interpolated ? "interpolated"
                                               : "predicted";
}

Precision precision_of(const std::string& word) {
  const std::uint8_t bits = word == "int8" ? 8 : 32;
  return {bits, bits};
}

struct LatencyTable::Impl {
  SessionInfo info;
  std::unordered_map<std::string, KernelEstimate> entries;
  std::map<std::string, Family> families;
};

Result<LatencyTable> LatencyTable::make(const Session& session) {
  auto impl = std::make_shared<Impl>();
  impl->info = session.info;
  for (const KernelRecord& r : session.kernels) {
    if (!r.failure.empty() || r.signature.starts_with(kNetworkPrefix)) continue;
    if (!std::isfinite(r.median) || r.median <= 0)
      return usage_error(
          "table of " + session.info.device + ": required positive times, found " + std::to_string(r.median),
          r.signature);
    NAS_TRY(kernel, parse_signature(r.signature));
    const bool interval = r.low > 0 && r.high >= r.low;
    const double value = on_grain(r.median);
    impl->entries[r.signature] = {r.signature,
                                  {},
                                  value,
                                  interval ? std::min(r.low, value) : value,
                                  interval ? std::max(r.high, value) : value,
                                  EntrySource::measured};
    impl->families[family(kernel)].add({kernel, sizes(kernel), features(kernel), value});
  }
  if (impl->entries.empty())
    return usage_error("the session of " + session.info.device + " has no measured kernel");
  for (auto& [name, one] : impl->families) one.fit();
  LatencyTable table;
  table.impl_ = std::move(impl);
  return table;
}

const SessionInfo& LatencyTable::info() const { return impl_->info; }
std::size_t LatencyTable::size() const { return impl_->entries.size(); }

Result<KernelEstimate> LatencyTable::estimate(const Kernel& kernel) const {
  std::string key = signature(kernel);
  const auto exact = impl_->entries.find(key);
  if (exact != impl_->entries.end()) return exact->second;
  // Integer kernels add a bias, of zeros where the layer has none: measured with or without, it is one
  // kernel.
  Kernel other = kernel;
  const bool integer = precision_of(impl_->info.precision).weight_bits < 32;
  if (integer) other.anchor.bias = !kernel.anchor.bias;
  const auto same = impl_->entries.find(signature(other));
  if (same != impl_->entries.end()) return same->second;
  const Sizes s = sizes(kernel);
  for (const Kernel* form : {&kernel, &std::as_const(other)}) {
    const auto found = impl_->families.find(family(*form));
    if (found == impl_->families.end() || !found->second.fitted() || !found->second.spans(s)) continue;
    const double value = on_grain(found->second.guess(s, features(*form))),
                 factor = std::exp(found->second.spread());
    return KernelEstimate{std::move(key),           {}, value, value / factor, value * factor,
                          EntrySource::interpolated};
  }
  return usage_error("the table of " + impl_->info.device + " (" + std::to_string(size()) +
                         " kernels) does not cover this kernel, nor ones around it; profile it",
                     key);
}

Result<TableEstimate> LatencyTable::estimate(const Network& network, const FusionRules& rules) const {
  TableEstimate sum;
  double below = 0, above = 0;
  for (const Kernel& kernel : kernels(with_precision(network, precision_of(impl_->info.precision)), rules)) {
    NAS_TRY(one, estimate(kernel));
    one.layers = kernel.layers;
    sum.value += one.value;
    below += (one.value - one.low) * (one.value - one.low);
    above += (one.high - one.value) * (one.high - one.value);
    sum.interpolated += one.source == EntrySource::interpolated;
    sum.kernels.push_back(std::move(one));
  }
  sum.low = sum.value - std::sqrt(below);
  sum.high = sum.value + std::sqrt(above);
  return sum;
}

Result<double> LatencyTable::value(const Network& network, const FusionRules& rules) const {
  double sum = 0;
  for (const Kernel& kernel : kernels(with_precision(network, precision_of(impl_->info.precision)), rules)) {
    NAS_TRY(one, estimate(kernel));
    sum += one.value;
  }
  return sum;
}

}  // namespace nas::latency
