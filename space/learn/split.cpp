#include "space/learn/split.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "space/base/hash.h"
#include "space/base/rng.h"

namespace nas::learn {

Split split_rows(std::size_t rows, double train, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::size_t>> keys(rows);
  for (std::size_t i = 0; i < rows; ++i) keys[i] = {mix64(seed * 1000003 + i), i};
  std::sort(keys.begin(), keys.end());
  // 0.7 * 10 must give 7, not 6: a product a hair below a whole number is that number.
  const auto share = [&](double part) {
    return std::min(rows, static_cast<std::size_t>(std::floor(part * static_cast<double>(rows) + 1e-9)));
  };
  const std::size_t train_end = share(train);
  const std::size_t validation_end = std::min(rows, train_end + share(0.1));
  Split split;
  for (std::size_t i = 0; i < rows; ++i) {
    (i < train_end        ? split.train
     : i < validation_end ? split.validation
                          : split.test)
        .push_back(keys[i].second);
  }
  return split;
}

std::vector<std::size_t> fold_of_rows(std::size_t rows, std::size_t folds, std::uint64_t seed) {
  std::vector<std::size_t> fold(rows);
  for (std::size_t i = 0; i < rows; ++i) fold[i] = i % folds;
  Rng(seed, "folds").shuffle(std::span(fold));
  return fold;
}

}  // namespace nas::learn
