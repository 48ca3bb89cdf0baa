#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "space/cost.h"
#include "space/kernel.h"
#include "space/network.h"
#include "space/search_space.h"

namespace nas::latency {

// The different kernels that networks of a space are made of, and how sure it is that these are all.
struct KernelSet {
  std::vector<Kernel> kernels;  // by signature, ascending
  bool exact = false;           // every genotype was lowered
  std::uint64_t lowered = 0;    // genotypes that were looked at
  // Share of the kernels of a random network that are in the set: 1 when exact, else the Good-Turing estimate
  // from the random networks (never above 1 - 1/draws).
  double coverage = 1;
};

// The same network with the deployment's precision where the genotype chose none.
Network with_precision(Network network, Precision precision);

// The different kernels of some networks.
KernelSet kernels_of(std::span<const Network> networks, const FusionRules& rules, Precision precision);

struct ReachOptions {
  std::uint64_t enumerate_up_to = 200000;  // genotypes; larger spaces are walked
  std::uint64_t random_networks = 4000;
  std::uint64_t seed = 1;
};

// The kernels reachable in a space. Small spaces are enumerated. Large ones are walked: from the smallest,
// the largest and random genotypes, every genotype that showed a new kernel has all its one-gene neighbours
// lowered, until nothing new appears; random networks then tell how much was missed.
KernelSet reachable_kernels(const SearchSpace& space, const FusionRules& rules, Precision precision,
                            const ReachOptions& options = {});

// At most `count` kernels that fill the set evenly: per anchor kind in proportion, by farthest-point choice
// in the logarithms of shapes, kernel, stride and groups. Order: each kernel is the farthest from those
// before it.
std::vector<Kernel> space_filling(std::span<const Kernel> kernels, std::size_t count);

// At most `count` of `kernels`, each the farthest from those in `near` and those chosen before it, among
// kernels of equal kind.
std::vector<Kernel> farthest_from(std::span<const Kernel> kernels, std::span<const Kernel> near,
                                  std::size_t count);

}  // namespace nas::latency
