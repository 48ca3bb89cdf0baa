#pragma once
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "space/search_space.h"

namespace nas {

// A space that can be enumerated: 2 resolutions, 2 widths, two kinds of stages, bit widths.
inline constexpr const char* kSmallSpace = R"({
  "name": "small", "classes": 4, "resolution": [8, 16],
  "stem": {"channels": 8, "stride": 2},
  "stages": [
    {"channels": [8, 16], "depth": [1, 2, 3], "kernel": [3, 5], "expand": [2, 4], "stride": 1},
    {"block": "basic", "channels": 16, "depth": [1, 2], "genes": "stage", "kernel": 3, "stride": 2, "weight_bits": [4, 8]}
  ],
  "head": [{"kind": "pool"}]
})";

// Names and files of every space that is shipped, that with rank genes among them.
inline std::vector<std::string> every_space() {
  std::vector<std::string> names = builtin_space_names();
  names.push_back(std::string(HWNAS_SOURCE_DIR) + "/examples/spaces/tiny-rank.json");
  return names;
}

// Oracle of counts: every raw genotype, canonical.
inline std::set<Genotype> by_brute_force(const SearchSpace& space) {
  std::set<Genotype> raw;
  Genotype g(space.genes().size());
  while (true) {
    raw.insert(space.canonical(g));
    std::size_t i = g.size();
    while (i > 0 && g[i - 1] + 1u == space.genes()[i - 1].choices.size()) g[--i] = 0;
    if (i == 0) break;
    ++g[i - 1];
  }
  return raw;
}

inline SearchSpace small_space() {
  auto space = parse_space(kSmallSpace, "small.json");
  EXPECT_TRUE(space) << to_string(space.error());
  return *space;
}

}  // namespace nas
