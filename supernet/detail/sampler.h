#pragma once
#include <functional>
#include <string>

#include "space/search_space.h"
#include "supernet/recipe.h"

namespace nas::supernet {

// Draws the sub-networks of a phase: which choices its genes may take, at the resolution of the batch.
class Sampler {
 public:
  // Fails when a phase limits a gene family that the space does not have.
  static Result<void> check(const SearchSpace& space, const Recipe& recipe);
  Sampler(const SearchSpace& space, const Phase& phase) : space_(space), phase_(phase) {}

  // Fail when the space has a resolution gene without this value.
  Result<Genotype> largest(int resolution) const;
  Result<Genotype> smallest(int resolution) const;
  Result<Genotype> random(int resolution, Rng& rng) const;

 private:
  std::uint8_t first_allowed(std::size_t gene) const;
  Result<Genotype> at_resolution(Genotype g, int resolution) const;
  const SearchSpace& space_;
  const Phase& phase_;
};

}  // namespace nas::supernet
