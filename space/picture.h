#pragma once
#include <string>

#include "space/kernel.h"
#include "space/network.h"

namespace nas {

struct PictureOptions {
  std::string title;  // any text; escaped
  FusionRules fusion;
  int width = 1200;  // pixels
  int height = 260;
};

// A strip with one box per kernel in execution order: height ~ square root of the output channels, width ~
// share of the MACs (with a floor, so that every box shows), colour = window size; lines at stage borders, a
// mark where the resolution falls. Readable on light and dark grounds; title and description for screen
// readers.
std::string svg(const Network& network, const PictureOptions& options);

// The graph of kernels in Graphviz's language.
std::string dot(const Network& network, const PictureOptions& options);

}  // namespace nas
