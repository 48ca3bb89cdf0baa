#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/network_count.h"

namespace nas::testing_support {

// Two runtimes' logits of the same images.
struct Gap {
  double largest = 0, off = 0;  // largest logit, largest difference
  bool same = true;             // every answer
  double relative() const { return off / largest; }
};
inline Gap gap(const std::vector<float>& a, const std::vector<float>& b, std::size_t classes) {
  Gap g;
  g.same = a.size() == b.size();
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    g.largest = std::max<double>(g.largest, std::abs(a[i]));
    g.off = std::max<double>(g.off, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  const auto answer = [classes](const std::vector<float>& v, std::size_t image) {
    const auto row = v.begin() + static_cast<std::ptrdiff_t>(image * classes);
    return std::max_element(row, row + static_cast<std::ptrdiff_t>(classes)) - row;
  };
  for (std::size_t i = 0; g.same && i < a.size() / classes; ++i) g.same = answer(a, i) == answer(b, i);
  return g;
}

}  // namespace nas::testing_support
