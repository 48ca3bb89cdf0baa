#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace nas::supernet {

// Labelled images, channels last, already augmented and normalised.
struct Batch {
  int resolution = 0;
  std::vector<float> pixels;         // size() x resolution x resolution x 3
  std::vector<std::int64_t> labels;  // size()
  std::vector<float> targets;        // size() x classes, or empty when the labels are all there is
  std::size_t size() const { return labels.size(); }
};

// A fixed list of batches at any resolution, for recalibration and scoring. `build` must be callable from
// many threads at once and give the same batch for the same arguments.
struct BatchList {
  std::int64_t batches = 0;
  std::function<void(int resolution, std::int64_t index, Batch& out)> build;
};

// The endless stream that training reads: batch number `step` is always the same one.
struct BatchStream {
  std::int64_t steps_per_epoch = 0;
  std::function<void(std::int64_t step, Batch& out)> read;
};

}  // namespace nas::supernet
