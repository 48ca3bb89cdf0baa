#pragma once
#include <string>

#include "supernet/data/source.h"

namespace nas::data {

// A generated set: a class is a shape (8), a surface (5) and, beyond 40 classes, a band of hues. Position,
// size, rotation and all other colours tell nothing. Difficulty moves shapes about, adds noise and clutter,
// hides parts and takes contrast away.
struct ProceduralOptions {
  int classes = 10;         // 2..1000
  int count = 2000;         // samples, classes in turn; 1..10,000,000
  int side = 32;            // pixels, 8..512
  double difficulty = 0.3;  // 0 (clean) .. 1 (hardly visible)
  std::uint64_t seed = 1;
};

Result<Source> procedural_source(const ProceduralOptions& options);

// Reads "classes=10,count=2000,side=32,difficulty=0.3,seed=1"; every key may be left out.
Result<ProceduralOptions> parse_procedural(const std::string& text);

// Sample `index` of the set, a function of the options and the index alone.
Image render_procedural(const ProceduralOptions& options, std::size_t index);

}  // namespace nas::data
