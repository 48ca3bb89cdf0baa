#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "supernet/detail/step.h"
#include "supernet/exchange.h"
#include "supernet/ranks.h"
#include "supernet/tensor_file.h"

namespace nas::supernet {

// Values of some parameters that travel together.
struct Bucket {
  std::vector<std::size_t> parameters;  // of the weight table
  std::vector<std::int64_t> start;      // of each in `values`, and the end
  std::vector<double> exact;            // sums of this rank's parts, for Compression::none
  std::vector<float> values;            // the same for all others; after the exchange the ranks' sums
  std::vector<std::uint8_t> sent, got;  // messages
  std::vector<std::int64_t> shape;      // PowerSGD: where factors and plain values start in `factors`
  std::vector<float> factors;
  std::atomic<int> left = 0;  // gradients that are still to come
  bool ready = false;

  std::int64_t size() const { return start.back(); }
};

// How the values of a bucket become messages and sums again. prepare() may run for several buckets at once;
// start(), turn() and complete() run in the order of the buckets, the same on all ranks, with all messages of
// start() delivered before the first turn(), and all of turn() before the first complete().
class ExchangeHook {
 public:
  virtual ~ExchangeHook() = default;
  virtual void prepare(Bucket&) {}
  virtual void start(Bucket& bucket, Ranks& ranks) = 0;
  virtual void turn(Bucket&, Ranks&) {}
  virtual void complete(Bucket&) {}
  // What this rank carries from step to step.
  virtual std::vector<NamedTensor> state() const { return {}; }
  virtual Result<void> set_state(const std::vector<NamedTensor>&) { return {}; }
};

std::unique_ptr<ExchangeHook> make_hook(const ExchangeOptions& options, const WeightTable& weights,
                                        int world);

// Sums the gradients of a step over the ranks, bucket by bucket: a bucket leaves as soon as the last backward
// pass has made the last of its gradients, while others still run. Buckets leave in a fixed order, so that
// all ranks meet in the same exchange; what no path of the step uses does not travel.
class GradientExchange {
 public:
  GradientExchange(const WeightTable& weights, Ranks& ranks, const ExchangeOptions& options);

  // Before the step's backward passes: `passes` of each path will report their layers.
  void begin(const std::vector<PathJob>& paths, int passes, const StepGradients& gradients);
  // From any thread: one pass has made all gradients of this layer.
  void layer_done(const Layer& layer);
  // After them: the sums of all ranks, by parameter; zeros where no path went.
  Result<void> finish(std::vector<at::Tensor>& sums);

  ExchangeHook& hook() { return *hook_; }

 private:
  using Owner = std::pair<Site, LayerKind>;
  void lay_out(const std::vector<PathJob>& paths, int passes);
  void open_bucket();
  void prepare(Bucket& bucket);

  const WeightTable& weights_;
  Ranks& ranks_;
  bool exact_;
  std::unique_ptr<ExchangeHook> hook_;
  const StepGradients* gradients_ = nullptr;
  std::map<Owner, std::vector<std::size_t>> owned_;  // parameters of a layer's place
  std::deque<Bucket> buckets_;
  std::vector<int> bucket_of_;  // by parameter; -1: not in this step
  std::mutex mutex_;
  std::size_t next_ = 0;  // bucket to leave
};

}  // namespace nas::supernet
