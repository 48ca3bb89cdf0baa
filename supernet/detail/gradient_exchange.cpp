#include "supernet/detail/gradient_exchange.h"

#include <tbb/parallel_for.h>

namespace nas::supernet {
namespace {

constexpr std::int64_t kBucket = 1 << 18;  // values

}  // namespace

GradientExchange::GradientExchange(const WeightTable& weights, Ranks& ranks, const ExchangeOptions& options)
    : weights_(weights),
      ranks_(ranks),
      exact_(options.compression == Compression::none),
      hook_(make_hook(options, weights, ranks.world())) {
  for (std::size_t i = 0; i < weights.parameters().size(); ++i) {
    const ParameterKey& key = weights.parameters()[i].key;
    owned_[{key.site, key.kind}].push_back(i);
  }
}

void GradientExchange::open_bucket() {
  buckets_.emplace_back();
  buckets_.back().start.push_back(0);
}

// In the order in which backward passes end with the parameters: the first path's, then what only others use.
void GradientExchange::lay_out(const std::vector<PathJob>& paths, int passes) {
  buckets_.clear();
  bucket_of_.assign(weights_.parameters().size(), -1);
  for (const PathJob& path : paths)
    for (std::size_t l = path.network.layers.size(); l-- > 0;) {
      const Layer& layer = path.network.layers[l];
      const auto found = owned_.find({layer.site, layer.kind});
      if (found == owned_.end()) continue;
      for (const std::size_t p : found->second) {
        if (bucket_of_[p] < 0) {
          if (buckets_.empty() || buckets_.back().size() >= kBucket) open_bucket();
          Bucket& bucket = buckets_.back();
          bucket_of_[p] = static_cast<int>(buckets_.size()) - 1;
          bucket.parameters.push_back(p);
          bucket.start.push_back(bucket.size() + weights_.parameters()[p].value.numel());
        }
        buckets_[static_cast<std::size_t>(bucket_of_[p])].left += passes;
      }
    }
}

void GradientExchange::begin(const std::vector<PathJob>& paths, int passes, const StepGradients& gradients) {
  gradients_ = &gradients;
  next_ = 0;
  lay_out(paths, passes);
}

void GradientExchange::prepare(Bucket& bucket) {
  const auto size = static_cast<std::size_t>(bucket.size());
  exact_ ? bucket.exact.resize(size) : bucket.values.resize(size);
  for (std::size_t k = 0; k < bucket.parameters.size(); ++k) {
    const std::size_t p = bucket.parameters[k];
    const at::IntArrayRef shape = weights_.parameters()[p].value.sizes();
    at::Tensor sum = exact_ ? at::from_blob(bucket.exact.data() + bucket.start[k], shape, at::kDouble)
                            : at::from_blob(bucket.values.data() + bucket.start[k], shape, at::kFloat);
    sum_parts(weights_, *gradients_, p, sum);
  }
  hook_->prepare(bucket);
}

void GradientExchange::layer_done(const Layer& layer) {
  const auto found = owned_.find({layer.site, layer.kind});
  if (found == owned_.end()) return;
  for (const std::size_t p : found->second) {
    Bucket& bucket = buckets_[static_cast<std::size_t>(bucket_of_[p])];
    if (bucket.left.fetch_sub(1) != 1) continue;
    prepare(bucket);
    const std::lock_guard lock(mutex_);
    bucket.ready = true;
    for (; next_ < buckets_.size() && buckets_[next_].ready; ++next_) hook_->start(buckets_[next_], ranks_);
  }
}

Result<void> GradientExchange::finish(std::vector<at::Tensor>& sums) {
  NAS_CHECK(ranks_.finish());
  for (Bucket& bucket : buckets_) hook_->turn(bucket, ranks_);
  NAS_CHECK(ranks_.finish());
  tbb::parallel_for(std::size_t{0}, buckets_.size(), [&](std::size_t b) {
    const TaskGuard guard;
    Bucket& bucket = buckets_[b];
    hook_->complete(bucket);
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k) {
      at::Tensor& sum = sums[bucket.parameters[k]];
      sum.copy_(exact_ ? at::from_blob(bucket.exact.data() + bucket.start[k], sum.sizes(), at::kDouble)
                       : at::from_blob(bucket.values.data() + bucket.start[k], sum.sizes(), at::kFloat));
    }
  });
  for (std::size_t p = 0; p < sums.size(); ++p)
    if (bucket_of_[p] < 0) sums[p].zero_();
  return {};
}

}  // namespace nas::supernet
