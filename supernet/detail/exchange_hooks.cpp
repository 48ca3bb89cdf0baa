#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "space/base/rng.h"
#include "supernet/detail/gradient_exchange.h"
#include "supernet/detail/supernet_impl.h"

// What travels instead of single-precision gradients. Every hook keeps what it left out, by parameter, and
// adds it to the next step's gradients.
namespace nas::supernet {
namespace {

template <class T>
std::span<std::uint8_t> as_bytes(std::vector<T>& values) {
  return {reinterpret_cast<std::uint8_t*>(values.data()), values.size() * sizeof(T)};
}

class ExactHook final : public ExchangeHook {
 public:
  void start(Bucket& bucket, Ranks& ranks) override { ranks.begin_sum(std::span<double>(bucket.exact)); }
};

class SingleHook final : public ExchangeHook {
 public:
  void start(Bucket& bucket, Ranks& ranks) override { ranks.begin_sum(std::span<float>(bucket.values)); }
};

// What every parameter still owes the other ranks.
class Residuals {
 public:
  explicit Residuals(const WeightTable& weights) {
    for (const Parameter& p : weights.parameters()) {
      names_.push_back(p.name);
      owed_.emplace_back(static_cast<std::size_t>(p.value.numel()), 0.0F);
    }
  }
  void add_to(Bucket& bucket) const {
    each(bucket, [&](float* values, const std::vector<float>& owed) {
      for (std::size_t i = 0; i < owed.size(); ++i) values[i] += owed[i];
    });
  }
  // All of `left` is owed from now on; it is laid out as the bucket's values.
  void set(Bucket& bucket, const float* left) {
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k)
      std::copy(left + bucket.start[k], left + bucket.start[k + 1], owed_[bucket.parameters[k]].begin());
  }
  std::vector<float>& of(std::size_t parameter) { return owed_[parameter]; }
  std::vector<NamedTensor> save() const {
    std::vector<NamedTensor> saved;
    for (std::size_t p = 0; p < names_.size(); ++p)
      saved.push_back({"owed/" + names_[p], {static_cast<std::int64_t>(owed_[p].size())}, owed_[p]});
    return saved;
  }
  Result<void> load(const std::vector<NamedTensor>& saved) {
    for (std::size_t p = 0; p < names_.size(); ++p) {
      const auto at = std::ranges::find(saved, "owed/" + names_[p], &NamedTensor::name);
      if (at == saved.end() || at->values.size() != owed_[p].size())
        return Error{"the exchange's state has no fitting tensor \"owed/" + names_[p] + "\""};
      owed_[p] = at->values;
    }
    return {};
  }

 private:
  template <class Body>
  void each(Bucket& bucket, Body body) const {
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k)
      body(bucket.values.data() + bucket.start[k], owed_[bucket.parameters[k]]);
  }
  std::vector<std::string> names_;
  std::vector<std::vector<float>> owed_;
};

class FeedbackHook : public ExchangeHook {
 public:
  explicit FeedbackHook(const WeightTable& weights) : residuals_(weights) {}
  std::vector<NamedTensor> state() const override { return residuals_.save(); }
  Result<void> set_state(const std::vector<NamedTensor>& saved) override { return residuals_.load(saved); }

 protected:
  Residuals residuals_;
};

// 16 bits a value. Every rank sums one part of the bucket for all, in single precision, and hands the rounded
// sums out; what the rounding of a sum lost is owed by the rank that made it.
template <class Half>
class HalfHook final : public FeedbackHook {
 public:
  HalfHook(const WeightTable& weights, int world)
      : FeedbackHook(weights), world_(static_cast<std::size_t>(world)) {}

  void prepare(Bucket& bucket) override {
    residuals_.add_to(bucket);
    const std::size_t n = bucket.values.size(), part = part_of(n);
    bucket.sent.assign(part * world_ * sizeof(Half), 0);
    bucket.got.resize(bucket.sent.size());
    auto* const rounded = reinterpret_cast<Half*>(bucket.sent.data());
    for (std::size_t i = 0; i < n; ++i)
      bucket.values[i] -= static_cast<float>(rounded[i] = round(bucket.values[i]));
    residuals_.set(bucket, bucket.values.data());
  }
  void start(Bucket& bucket, Ranks& ranks) override { ranks.begin_scatter(bucket.sent, bucket.got); }
  void turn(Bucket& bucket, Ranks& ranks) override {
    const std::size_t n = bucket.values.size(), part = part_of(n);
    const std::size_t first = part * static_cast<std::size_t>(ranks.rank());
    const auto* const parts = reinterpret_cast<const Half*>(bucket.got.data());
    std::vector<Half> sums(part);
    for (std::size_t i = 0; i < part; ++i) {
      float sum = 0;
      for (std::size_t r = 0; r < world_; ++r) sum += static_cast<float>(parts[r * part + i]);
      sums[i] = round(sum);
      if (first + i < n) bucket.values[first + i] += sum - static_cast<float>(sums[i]);
    }
    residuals_.set(bucket, bucket.values.data());
    std::memcpy(bucket.sent.data(), sums.data(), part * sizeof(Half));
    ranks.begin_gather(std::span(bucket.sent).first(part * sizeof(Half)), bucket.got);
  }
  void complete(Bucket& bucket) override {
    const auto* const sums = reinterpret_cast<const Half*>(bucket.got.data());
    for (std::size_t i = 0; i < bucket.values.size(); ++i) bucket.values[i] = static_cast<float>(sums[i]);
  }

 private:
  std::size_t part_of(std::size_t n) const { return (n + world_ - 1) / world_; }
  // Values beyond the range stay owed; NaN stays NaN, so that training sees it.
  static Half round(float value) {
    const auto most = static_cast<float>(std::numeric_limits<Half>::max());
    return Half(std::isnan(value) ? value : std::clamp(value, -most, most));
  }
  std::size_t world_;
};

// The largest values with their places; of equal ones the first.
class TopHook final : public FeedbackHook {
 public:
  TopHook(const WeightTable& weights, int world, double share)
      : FeedbackHook(weights), world_(static_cast<std::size_t>(world)), share_(share) {}

  void prepare(Bucket& bucket) override {
    residuals_.add_to(bucket);
    const std::size_t n = bucket.values.size();
    const auto k =
        std::clamp<std::size_t>(static_cast<std::size_t>(std::ceil(share_ * static_cast<double>(n))), 1, n);
    std::vector<std::uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0U);
    // NaN counts as the largest, so that the order is total.
    const auto size = [&](std::uint32_t i) {
      const float v = std::abs(bucket.values[i]);
      return std::isnan(v) ? std::numeric_limits<float>::infinity() : v;
    };
    const auto larger = [&](std::uint32_t a, std::uint32_t b) {
      return size(a) != size(b) ? size(a) > size(b) : a < b;
    };
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k - 1), order.end(), larger);
    bucket.sent.resize(k * sizeof(Entry));
    auto* const entries = reinterpret_cast<Entry*>(bucket.sent.data());
    std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
    for (std::size_t i = 0; i < k; ++i) entries[i] = {order[i], std::exchange(bucket.values[order[i]], 0.0F)};
    residuals_.set(bucket, bucket.values.data());
    bucket.got.resize(bucket.sent.size() * world_);
  }
  void start(Bucket& bucket, Ranks& ranks) override { ranks.begin_gather(bucket.sent, bucket.got); }
  void complete(Bucket& bucket) override {
    std::ranges::fill(bucket.values, 0.0F);
    const auto* const entries = reinterpret_cast<const Entry*>(bucket.got.data());
    for (std::size_t i = 0; i < bucket.got.size() / sizeof(Entry); ++i)
      bucket.values[entries[i].place] += entries[i].value;
  }

 private:
  struct Entry {
    std::uint32_t place;
    float value;
  };
  std::size_t world_;
  double share_;
};

// M = P Q^T by one step of a power iteration that goes on from the last step's Q. What is no matrix, or
// small, travels whole.
class PowerHook final : public FeedbackHook {
 public:
  PowerHook(const WeightTable& weights, int world, int rank)
      : FeedbackHook(weights), world_(static_cast<float>(world)), rank_(rank) {
    for (std::size_t p = 0; p < weights.parameters().size(); ++p) {
      const Parameter& parameter = weights.parameters()[p];
      names_.push_back(parameter.name);
      const std::int64_t all = parameter.value.numel();
      const std::int64_t rows = parameter.shape.empty() ? 1 : parameter.shape[0],
                         columns = all / std::max<std::int64_t>(rows, 1);
      const bool low = rows > 0 && (rows + columns) * rank < all;
      matrices_.push_back({low ? rows : 0, low ? columns : 0, {}, {}});
      if (!low) continue;
      at::Tensor q = at::empty({columns, rank}, at::kFloat);
      Rng rng(0, "low-rank factors", p);
      for (std::int64_t i = 0; i < q.numel(); ++i) q.data_ptr<float>()[i] = static_cast<float>(rng.normal());
      matrices_.back().q = q;
    }
  }

  void prepare(Bucket& bucket) override {
    residuals_.add_to(bucket);
    lay_out(
        bucket, [](const Matrix& m) { return m.rows; }, true);
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k) {
      const Matrix& m = matrices_[bucket.parameters[k]];
      if (m.rows > 0)
        factor(bucket, k, m.rows).copy_(gradient(bucket, k).mm(m.q));
      else
        std::copy(bucket.values.data() + bucket.start[k], bucket.values.data() + bucket.start[k + 1],
                  bucket.factors.data() + bucket.shape[k]);
    }
  }
  void start(Bucket& bucket, Ranks& ranks) override { ranks.begin_sum(std::span<float>(bucket.factors)); }
  void turn(Bucket& bucket, Ranks& ranks) override {
    const TaskGuard guard;
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k) {
      Matrix& m = matrices_[bucket.parameters[k]];
      if (m.rows == 0) {
        std::copy(bucket.factors.data() + bucket.shape[k], bucket.factors.data() + bucket.shape[k + 1],
                  bucket.values.data() + bucket.start[k]);
        std::ranges::fill(residuals_.of(bucket.parameters[k]), 0.0F);
        continue;
      }
      m.p = factor(bucket, k, m.rows).clone();
      orthogonalise(m.p);
    }
    lay_out(
        bucket, [](const Matrix& m) { return m.columns; }, false);
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k)
      if (const Matrix& m = matrices_[bucket.parameters[k]]; m.rows > 0)
        factor(bucket, k, m.columns).copy_(gradient(bucket, k).t().mm(m.p));
    if (!bucket.factors.empty()) ranks.begin_sum(std::span<float>(bucket.factors));
  }
  void complete(Bucket& bucket) override {
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k) {
      Matrix& m = matrices_[bucket.parameters[k]];
      if (m.rows == 0) continue;
      m.q = factor(bucket, k, m.columns).clone();
      const at::Tensor sum = m.p.mm(m.q.t()), own = gradient(bucket, k);
      const at::Tensor left = own - sum / world_;
      std::copy_n(left.data_ptr<float>(), left.numel(), residuals_.of(bucket.parameters[k]).data());
      own.copy_(sum);
    }
  }
  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> saved = FeedbackHook::state();
    for (std::size_t p = 0; p < matrices_.size(); ++p)
      if (matrices_[p].rows > 0) saved.push_back(to_named("factor/" + names_[p], matrices_[p].q));
    return saved;
  }
  Result<void> set_state(const std::vector<NamedTensor>& saved) override {
    NAS_CHECK(FeedbackHook::set_state(saved));
    for (std::size_t p = 0; p < matrices_.size(); ++p) {
      if (matrices_[p].rows == 0) continue;
      const auto at = std::ranges::find(saved, "factor/" + names_[p], &NamedTensor::name);
      if (at == saved.end() || std::ssize(at->values) != matrices_[p].q.numel())
        return Error{"the exchange's state has no fitting tensor \"factor/" + names_[p] + "\""};
      matrices_[p].q = from_named(*at, at::kCPU);
    }
    return {};
  }

 private:
  struct Matrix {
    std::int64_t rows = 0, columns = 0;  // 0: travels whole
    at::Tensor q, p;
  };
  // Where every parameter's message starts in `factors`: its factor, or with `whole` the values themselves.
  template <class Length>
  void lay_out(Bucket& bucket, Length length, bool whole) const {
    bucket.shape.assign(1, 0);
    for (std::size_t k = 0; k < bucket.parameters.size(); ++k) {
      const Matrix& m = matrices_[bucket.parameters[k]];
      const std::int64_t plain = whole ? bucket.start[k + 1] - bucket.start[k] : 0;
      bucket.shape.push_back(bucket.shape.back() + (m.rows > 0 ? length(m) * rank_ : plain));
    }
    bucket.factors.assign(static_cast<std::size_t>(bucket.shape.back()), 0.0F);
  }
  at::Tensor factor(Bucket& bucket, std::size_t k, std::int64_t rows) const {
    return at::from_blob(bucket.factors.data() + bucket.shape[k], {rows, rank_}, at::kFloat);
  }
  at::Tensor gradient(Bucket& bucket, std::size_t k) const {
    const Matrix& m = matrices_[bucket.parameters[k]];
    return at::from_blob(bucket.values.data() + bucket.start[k], {m.rows, m.columns}, at::kFloat);
  }
  // Gram-Schmidt by columns, in double. A column that the ones before span is left out.
  static void orthogonalise(at::Tensor& p) {
    const at::Tensor exact = p.to(at::kDouble).t().contiguous();
    const std::int64_t columns = exact.size(0);
    for (std::int64_t c = 0; c < columns; ++c) {
      at::Tensor column = exact[c];
      const double before = column.norm().item<double>();
      for (std::int64_t b = 0; b < c; ++b) column.sub_(exact[b] * exact[b].dot(column));
      const double after = column.norm().item<double>();
      if (after > 1e-10 * before)
        column.div_(after);
      else
        column.zero_();
    }
    p.copy_(exact.t());
  }

  float world_;
  std::int64_t rank_;
  std::vector<std::string> names_;
  std::vector<Matrix> matrices_;
};

}  // namespace

std::unique_ptr<ExchangeHook> make_hook(const ExchangeOptions& options, const WeightTable& weights,
                                        int world) {
  switch (options.compression) {
    case Compression::none:
      break;
    case Compression::fp32:
      return std::make_unique<SingleHook>();
    case Compression::fp16:
      return std::make_unique<HalfHook<c10::Half>>(weights, world);
    case Compression::bf16:
      return std::make_unique<HalfHook<c10::BFloat16>>(weights, world);
    case Compression::top_k:
      return std::make_unique<TopHook>(weights, world, options.share);
    case Compression::power:
      return std::make_unique<PowerHook>(weights, world, options.rank);
  }
  return std::make_unique<ExactHook>();
}

}  // namespace nas::supernet
