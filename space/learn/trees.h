#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::learn {

enum class TreeLoss : std::uint8_t { squared, absolute };

struct TreeOptions {
  int rounds = 500;
  int depth = 6;
  double learning_rate = 0.05;
  double row_share = 0.8;     // of rows drawn for each tree
  double column_share = 0.8;  // of features drawn for each tree
  double min_weight = 1;      // least weight of a leaf
  double lambda = 1;          // L2 on leaf values
  TreeLoss loss = TreeLoss::squared;
  std::uint64_t seed = 0;
};

// Gradient-boosted regression trees (XGBoost's C library, histogram method), one thread per fit: run several
// fits at once instead. The same data and options give the same bits.
class Trees {
 public:
  // Fails on no rows, unequal sizes, non-finite numbers, or when the library reports an error.
  static Result<Trees> fit(const Matrix& x, std::span<const double> y, const TreeOptions& options,
                           std::span<const double> weights = {});
  std::size_t features() const { return features_; }
  // x.columns == features(). Safe from several threads at once.
  std::vector<double> predict(const Matrix& x) const;

  // The library's JSON inside our checked envelope.
  std::string save() const;
  static Result<Trees> load(std::string_view content, const std::string& where);

 private:
  struct Handle;
  std::shared_ptr<const Handle> handle_;
  std::size_t features_ = 0;
  double offset_ = 0;
};

}  // namespace nas::learn
