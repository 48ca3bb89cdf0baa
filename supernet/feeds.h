#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "space/search_space.h"
#include "supernet/batch.h"
#include "supernet/data/augment.h"
#include "supernet/data/splits.h"

namespace nas::supernet {

struct FeedOptions {
  std::uint64_t seed = 1;              // of the splits, and of the order and views of training()
  std::optional<std::uint64_t> order;  // of these alone, where it is another one
  int batch = 64;                      // images of a training step, of all ranks together
  int rank = 0;                        // 0 .. world - 1, whose part of them training() gives
  int world = 1;
  std::vector<int> resolutions;              // that training draws from; one a batch
  std::int64_t recalibration_images = 2000;  // at most this many of the recalibration split
  int threads = 0;                           // that make batches ahead; 0: as many as TBB has
  bool skip_bad = false;
  bool cache = true;  // keep decoded pictures in the cache folder
  // Augmentation of training batches; absent: the standard one for the pictures' size.
  bool augment = true;
};

// A user's images, split and ready: the training stream and the lists that recalibration and scoring read.
class Feeds {
 public:
  // `data` is anything data::open_source takes.
  static Result<Feeds> open(const std::string& data, const FeedOptions& options);

  // Follows the loader of the training split; the next step is made while the last one trains.
  BatchStream training() const;
  // Recalibration images go through the evaluation view: what is deployed sees no augmentation either.
  BatchList recalibration() const;
  BatchList scoring(data::Split split) const;
  // The same pictures in another order: each batch is spread over the whole split, so that a few stand for
  // all.
  BatchList mixed(data::Split split) const;

  // How the pictures become numbers: size, mean and deviation of the training split, for whoever deploys.
  const data::Augmentation& view() const;
  const data::Store& store() const;
  const data::Splits& splits() const;
  std::string fingerprint() const;  // of the splits

 private:
  struct Impl;
  explicit Feeds(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

// The values of a space's resolution gene, or the one its networks take.
std::vector<int> resolutions_of(const SearchSpace& space);

}  // namespace nas::supernet
