#pragma once
#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "supernet/data/augment.h"
#include "supernet/data/store.h"

namespace nas::data {

// Which batch: the whole state of a loader, for checkpoints.
struct Cursor {
  std::int64_t epoch = 0;
  std::int64_t step = 0;  // inside the epoch
  friend auto operator<=>(const Cursor&, const Cursor&) = default;
};

struct LoaderOptions {
  std::uint64_t seed = 1;
  int batch = 32;  // pictures a rank and step
  int rank = 0;    // 0 .. world - 1
  int world = 1;
  // Training: random order, random views, mixing, and an epoch's rest smaller than batch * world is left to
  // later epochs (unless it is all there is). Evaluation: rising order, centre views, everything exactly
  // once.
  bool training = true;
  std::vector<int> resolutions = {32};  // one a step, drawn by (seed, epoch, step): the same on every rank
  int prefetch = 4;                     // batches made ahead, 0..64; changes speed only
  int threads = 0;                      // at most this many make batches; 0: as many as TBB has
};

// Plain values, channels last.
struct Batch {
  Cursor at;
  int resolution = 0;
  std::vector<float> pixels;           // size() x resolution x resolution x 3
  std::vector<std::int64_t> labels;    // size()
  std::vector<float> targets;          // size() x classes, or empty when targets are the bare labels
  std::vector<std::uint32_t> samples;  // picture numbers in the store
  std::size_t size() const { return labels.size(); }
};

// Endless batches of a list of pictures, made ahead by TBB tasks in an arena of their own. What is in a batch
// is a function of (store, indices, options, cursor), whatever the threads or the prefetch.
class Loader {
 public:
  // Fails on options out of range, an empty list, or fewer pictures than ranks.
  static Result<std::unique_ptr<Loader>> make(std::shared_ptr<const Store> store,
                                              std::vector<std::uint32_t> indices,
                                              const Augmentation& augmentation, const LoaderOptions& options);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  ~Loader();  // waits for the batches being made

  // The batch at cursor(), which moves on by one. Blocks until it is ready, and makes it itself when no task
  // has begun to. The reference holds until the next call of next() or seek().
  const Batch& next();
  Cursor cursor() const;
  void seek(Cursor cursor);
  std::int64_t steps_per_epoch() const;
  int resolution_at(Cursor cursor) const;
  // Makes any batch into `batch`; may be called from many threads at once.
  void build(Cursor cursor, Batch& batch) const;
  // Seconds that next() has spent waiting or building: what the pipeline has cost its consumer.
  double seconds_waited() const;

 private:
  struct Impl;
  explicit Loader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nas::data
