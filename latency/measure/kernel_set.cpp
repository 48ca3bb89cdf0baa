#include "latency/measure/kernel_set.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>

namespace nas::latency {
namespace {

// Collects kernels by signature.
class Collector {
 public:
  Collector(const FusionRules& rules, Precision precision) : rules_(rules), precision_(precision) {}

  // True when the network holds a kernel that is new.
  bool add(const Network& network) {
    const std::size_t before = kernels_.size();
    for (Kernel& kernel : nas::kernels(with_precision(network, precision_), rules_)) {
      std::string key = signature(kernel);
      kernels_.try_emplace(std::move(key), std::move(kernel));
    }
    return kernels_.size() > before;
  }

  KernelSet finish() && {
    KernelSet set;
    for (auto& [key, kernel] : kernels_) {
      kernel.layers.clear();  // indices of one network mean nothing in a set
      set.kernels.push_back(std::move(kernel));
    }
    return set;
  }

  // Adds the network and returns how many of its different kernels were new, and how many it has.
  std::pair<std::size_t, std::size_t> draw(const Network& network) {
    std::map<std::string, Kernel> own;
    for (Kernel& kernel : nas::kernels(with_precision(network, precision_), rules_))
      own.try_emplace(signature(kernel), kernel);
    const std::size_t size = own.size();
    const std::size_t before = kernels_.size();
    kernels_.merge(own);
    return {kernels_.size() - before, size};
  }

 private:
  FusionRules rules_;
  Precision precision_;
  std::map<std::string, Kernel> kernels_;
};

KernelSet enumerate_all(const SearchSpace& space, Collector collector) {
  std::uint64_t lowered = 0;
  Network network;
  space.enumerate([&](const Genotype& g) {
    space.lower(g, network);
    collector.add(network);
    ++lowered;
    return true;
  });
  KernelSet set = std::move(collector).finish();
  set.exact = true;
  set.lowered = lowered;
  return set;
}

// Lowers genotypes from a work list; one that shows something new sends its neighbours to the list.
std::uint64_t walk(const SearchSpace& space, std::vector<Genotype> work, Collector& collector) {
  std::uint64_t lowered = 0;
  Network network;
  while (!work.empty()) {
    const Genotype g = std::move(work.back());
    work.pop_back();
    space.lower(g, network);
    ++lowered;
    if (!collector.add(network)) continue;
    for (Genotype& neighbour : space.neighbours(g)) work.push_back(std::move(neighbour));
  }
  return lowered;
}

KernelSet walk_all(const SearchSpace& space, Collector collector, const ReachOptions& options) {
  std::vector<Genotype> starts{space.smallest(), space.largest()};
  Rng rng(options.seed, "reachable kernels");
  for (int i = 0; i < 64; ++i) starts.push_back(space.sample(rng));
  std::uint64_t lowered = walk(space, std::move(starts), collector);
  // Random networks test the walk; whatever they show that is new is followed up.
  std::uint64_t missing = 0, kernels = 0;
  for (std::uint64_t i = 0; i < options.random_networks; ++i) {
    const Genotype g = space.sample(rng);
    const auto [fresh, total] = collector.draw(space.lower(g));
    missing += fresh;
    kernels += total;
    if (fresh > 0) lowered += walk(space, space.neighbours(g), collector);
  }
  KernelSet set = std::move(collector).finish();
  set.lowered = lowered + options.random_networks;
  set.coverage = 1 - static_cast<double>(missing + 1) / static_cast<double>(kernels + 1);
  return set;
}

// Where a kernel lies among its like: logarithms of what changes its work.
std::array<double, 8> place(const Kernel& kernel) {
  const Layer& a = kernel.anchor;
  const auto log = [](std::int64_t x) {
    return std::log2(static_cast<double>(std::max<std::int64_t>(1, x)));
  };
  return {log(a.in.channels), log(a.out.channels), log(a.in.height), log(a.in.width),
          2 * log(a.kernel),  2 * log(a.stride),   log(a.groups),    log(a.hidden)};
}

double squared_distance(const std::array<double, 8>& a, const std::array<double, 8>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// Farthest-point order of one group, from the kernel nearest to its middle.
std::vector<std::size_t> fill(std::span<const Kernel> kernels, const std::vector<std::size_t>& group,
                              std::size_t count) {
  std::array<double, 8> middle{};
  for (const std::size_t i : group)
    for (std::size_t d = 0; d < middle.size(); ++d)
      middle[d] += place(kernels[i])[d] / static_cast<double>(group.size());
  const auto first = std::ranges::min_element(
      group, {}, [&](std::size_t i) { return squared_distance(place(kernels[i]), middle); });
  std::vector<double> distance(group.size(), std::numeric_limits<double>::infinity());
  std::vector<std::size_t> chosen;
  std::size_t next = static_cast<std::size_t>(first - group.begin());
  while (chosen.size() < std::min(count, group.size())) {
    chosen.push_back(group[next]);
    const auto here = place(kernels[group[next]]);
    for (std::size_t i = 0; i < group.size(); ++i)
      distance[i] = std::min(distance[i], squared_distance(place(kernels[group[i]]), here));
    distance[next] = -1;
    for (std::size_t i = 0; i < group.size(); ++i)
      if (distance[i] > distance[next]) next = i;
  }
  return chosen;
}

bool alike(const Kernel& a, const Kernel& b) {
  return a.anchor.kind == b.anchor.kind && is_depthwise(a.anchor) == is_depthwise(b.anchor);
}

}  // namespace

Network with_precision(Network network, Precision precision) {
  for (Layer& layer : network.layers) {
    if (layer.weight_bits == 0) layer.weight_bits = precision.weight_bits;
    if (layer.activation_bits == 0) layer.activation_bits = precision.activation_bits;
  }
  return network;
}

KernelSet kernels_of(std::span<const Network> networks, const FusionRules& rules, Precision precision) {
  Collector collector(rules, precision);
  for (const Network& network : networks) collector.add(network);
  KernelSet set = std::move(collector).finish();
  set.exact = true;
  set.lowered = networks.size();
  return set;
}

KernelSet reachable_kernels(const SearchSpace& space, const FusionRules& rules, Precision precision,
                            const ReachOptions& options) {
  Collector collector(rules, precision);
  const std::string count = space.count();
  const bool small =
      count.size() < 18 && std::strtoull(count.c_str(), nullptr, 10) <= options.enumerate_up_to;
  return small ? enumerate_all(space, std::move(collector)) : walk_all(space, std::move(collector), options);
}

std::vector<Kernel> space_filling(std::span<const Kernel> kernels, std::size_t count) {
  if (count >= kernels.size()) return {kernels.begin(), kernels.end()};
  std::map<std::pair<LayerKind, bool>, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < kernels.size(); ++i)
    groups[{kernels[i].anchor.kind, is_depthwise(kernels[i].anchor)}].push_back(i);
  std::vector<Kernel> chosen;
  for (const auto& [kind, group] : groups) {
    const double share = static_cast<double>(count * group.size()) / static_cast<double>(kernels.size());
    for (const std::size_t i :
         fill(kernels, group, std::max<std::size_t>(1, static_cast<std::size_t>(share))))
      if (chosen.size() < count) chosen.push_back(kernels[i]);
  }
  return chosen;
}

std::vector<Kernel> farthest_from(std::span<const Kernel> kernels, std::span<const Kernel> near,
                                  std::size_t count) {
  constexpr double kFar = 1e9;  // beyond any two kernels: a kind that has none yet comes first
  std::vector<double> distance(kernels.size(), kFar);
  const auto approach = [&](const Kernel& one) {
    for (std::size_t i = 0; i < kernels.size(); ++i)
      if (alike(kernels[i], one))
        distance[i] = std::min(distance[i], squared_distance(place(kernels[i]), place(one)));
  };
  for (const Kernel& one : near) approach(one);
  std::vector<Kernel> chosen;
  std::vector<bool> taken(kernels.size(), false);
  while (chosen.size() < std::min(count, kernels.size())) {
    std::size_t best = kernels.size();
    for (std::size_t i = 0; i < kernels.size(); ++i)
      if (!taken[i] && (best == kernels.size() || distance[i] > distance[best])) best = i;
    taken[best] = true;
    chosen.push_back(kernels[best]);
    approach(kernels[best]);
  }
  return chosen;
}

}  // namespace nas::latency
