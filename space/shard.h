#pragma once
#include <string>

#include "space/search_space.h"

namespace nas {

// One of `count` parts of a set of networks. Which part a network belongs to hangs on its genes alone, so
// parts that are worked on apart never overlap and together are the whole.
struct Shard {
  int index = 1;  // 1 .. count
  int count = 1;

  bool has(const SearchSpace& space, const Genotype& genotype) const {
    return space.hash(genotype).low % static_cast<std::uint64_t>(count) ==
           static_cast<std::uint64_t>(index - 1);
  }
  bool is_all() const { return count == 1; }
  // ".2-of-3", to tell what parts make apart; empty where there is one.
  std::string suffix() const;
};

// From "2/3".
Result<Shard> parse_shard(const std::string& text);

}  // namespace nas
