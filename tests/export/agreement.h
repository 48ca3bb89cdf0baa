#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/export/double_network.h"
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

// Whether a runtime's float logits are right: within 1e-5 of ours, or, where float32 itself is less exact
// than that (`deep`: rounding of networks of random weights grows over a hundred operations and swishes),
// about as near as ours to what double precision gives.
inline void expect_float_agreement(const supernet::FoldedNetwork& network,
                                   const std::vector<std::vector<float>>& images,
                                   const std::vector<float>& ours, const std::vector<float>& theirs,
                                   bool deep, const std::string& title) {
  const std::size_t classes = ours.size() / images.size();
  const Gap apart = gap(ours, theirs, classes);
  std::printf("%s: %.2g apart\n", title.c_str(), apart.relative());
  EXPECT_TRUE(apart.same) << title;
  if (!deep || apart.relative() <= 1e-5) {
    EXPECT_LE(apart.relative(), 1e-5) << title;
    return;
  }
  std::vector<float> exact;
  for (const auto& image : images)
    for (const double v : run_in_double(network, image)) exact.push_back(static_cast<float>(v));
  const double our_error = gap(exact, ours, classes).relative(),
               error = gap(exact, theirs, classes).relative();
  std::printf("%s: off double precision by %.2g, ours by %.2g\n", title.c_str(), error, our_error);
  EXPECT_LE(error, std::max(1e-5, 4 * our_error)) << title;
  EXPECT_LE(our_error, 1e-4) << title;
}

}  // namespace nas::testing_support
