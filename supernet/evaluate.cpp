#include "supernet/evaluate.h"

#include <c10/core/GradMode.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "supernet/detail/inherited.h"
#include "supernet/detail/losses.h"
#include "supernet/detail/step.h"
#include "supernet/detail/supernet_impl.h"

namespace nas::supernet {
namespace {

int resolution_of(const Network& network) { return network.layers.front().out.height; }

// Runs body(network index, batch index, images of the batch) for every network and every batch of this rank,
// each batch built once a resolution.
template <class Body>
void for_each_batch(std::span<const Network> networks, const BatchList& list, const Ranks* ranks, Body body) {
  std::map<int, std::vector<std::size_t>> by_resolution;
  for (std::size_t i = 0; i < networks.size(); ++i) by_resolution[resolution_of(networks[i])].push_back(i);
  const std::int64_t world = ranks ? ranks->world() : 1, rank = ranks ? ranks->rank() : 0;
  const std::int64_t mine = (list.batches - rank + world - 1) / world;
  for (const auto& [resolution, members] : by_resolution)
    tbb::parallel_for(std::int64_t{0}, mine, [&, r = resolution, &m = members](std::int64_t k) {
      const std::int64_t b = rank + k * world;
      Batch batch;
      list.build(r, b, batch);
      tbb::parallel_for(std::size_t{0}, m.size(), [&](std::size_t i) { body(m[i], b, batch); });
    });
}

// Sums over batches of the rows of one layer, of their means and of their squares, in double.
struct PooledMoments {
  double rows = 0;
  at::Tensor mean, square;  // weighted by rows

  static PooledMoments zeros(std::int64_t channels) {
    return {0, at::zeros({channels}, at::kDouble), at::zeros({channels}, at::kDouble)};
  }
  void add(const Moments& moments, std::int64_t positions) {
    const auto n = static_cast<double>(positions);
    const at::Tensor m = moments.mean.to(at::kCPU, at::kDouble),
                     v = moments.variance.to(at::kCPU, at::kDouble);
    mean += m * n;
    square += (v + m * m) * n;
    rows += n;
  }
  // Mean of means, and mean of variances plus variance of means.
  Moments moments(double epsilon, at::Device device) const {
    const at::Tensor m = mean / rows;
    const at::Tensor variance = (square / rows - m * m).clamp_min(0);
    return {m.to(device, at::kFloat), variance.to(device, at::kFloat), epsilon};
  }
};

// Replaces the sums of every rank by the sums of all.
Result<void> share(std::vector<PooledMoments>& sums, Ranks* ranks) {
  if (!ranks) return {};
  std::vector<double> values;
  for (const PooledMoments& s : sums) {
    values.push_back(s.rows);
    for (const at::Tensor* t : {&s.mean, &s.square})
      values.insert(values.end(), t->data_ptr<double>(), t->data_ptr<double>() + t->numel());
  }
  NAS_CHECK(ranks->sum(values));
  const double* at = values.data();
  for (PooledMoments& s : sums) {
    s.rows = *at++;
    for (at::Tensor* t : {&s.mean, &s.square}) {
      std::copy_n(at, t->numel(), t->data_ptr<double>());
      at += t->numel();
    }
  }
  return {};
}

Result<std::vector<NormStatistics>> recalibrate(const Inherited& weights, std::span<const Network> networks,
                                                const BatchList& list, Ranks* ranks) {
  std::vector<std::vector<NormStatistics>> found(networks.size());
  for (auto& f : found) f.resize(static_cast<std::size_t>(list.batches));
  for_each_batch(networks, list, ranks, [&](std::size_t i, std::int64_t b, const Batch& batch) {
    const TaskGuard guard;
    ExecutionOptions options;
    options.mode = NormMode::record;
    options.keep = false;
    Execution run(weights.of(i), networks[i], options);
    run.forward(images_of(weights.of(i), batch, 0, batch.size()));
    found[i][static_cast<std::size_t>(b)] = std::move(run.recorded());
  });
  const c10::NoGradGuard no_grad;
  std::vector<NormStatistics> pooled(networks.size());
  for (std::size_t i = 0; i < networks.size(); ++i) {
    const at::Device device = weights.of(i).parameters().front().value.device();
    std::vector<PooledMoments> sums;
    std::vector<std::size_t> norms;
    for (std::size_t l = 0; l < networks[i].layers.size(); ++l) {
      if (networks[i].layers[l].kind != LayerKind::batch_norm) continue;
      norms.push_back(l);
      sums.push_back(PooledMoments::zeros(networks[i].layers[l].out.channels));
      for (const NormStatistics& s : found[i])  // the other ranks' batches are empty
        if (!s.of.empty()) sums.back().add(s.of[l], s.rows[l]);
    }
    NAS_CHECK(share(sums, ranks));
    pooled[i].of.resize(networks[i].layers.size());
    for (std::size_t k = 0; k < norms.size(); ++k)
      pooled[i].of[norms[k]] = sums[k].moments(weights.of(i).batch_norm_epsilon(), device);
  }
  return pooled;
}

struct Tally {
  double loss = 0;
  std::int64_t top1 = 0, top5 = 0, images = 0;
};

Tally tally_batch(const at::Tensor& logits, const Batch& batch) {
  const auto classes = static_cast<std::size_t>(logits.size(1));
  const std::span<const float> rows(logits.data_ptr<float>(), static_cast<std::size_t>(logits.numel()));
  Tally t;
  t.loss = hard_loss(rows, classes, batch.labels, {}, 0, 1, 1, {}).loss;
  for (std::size_t n = 0; n < batch.size(); ++n) {
    const auto row = rows.subspan(n * classes, classes);
    const auto label = static_cast<std::size_t>(batch.labels[n]);
    // Ties count against the network: a constant output must not look right.
    std::int64_t better = 0;
    for (std::size_t c = 0; c < classes; ++c) better += c != label && !(row[c] < row[label]);
    t.top1 += better < 1;
    t.top5 += better < 5;
    ++t.images;
  }
  return t;
}

Score score_of(const std::vector<Tally>& tallies) {
  Tally sum;
  for (const Tally& t : tallies) {
    sum.loss += t.loss;
    sum.top1 += t.top1;
    sum.top5 += t.top5;
    sum.images += t.images;
  }
  const double n = static_cast<double>(std::max<std::int64_t>(1, sum.images));
  Score s{
      static_cast<double>(sum.top1) / n, static_cast<double>(sum.top5) / n, sum.loss / n, sum.images, 0, 0};
  std::tie(s.top1_low, s.top1_high) = wilson_interval(sum.top1, sum.images);
  return s;
}

// Counts are exact in double and every batch has its own place, so ranks change nothing.
Result<void> share(std::vector<std::vector<Tally>>& tallies, Ranks* ranks) {
  if (!ranks) return {};
  std::vector<double> values;
  for (const auto& of_network : tallies)
    for (const Tally& t : of_network)
      values.insert(values.end(), {t.loss, static_cast<double>(t.top1), static_cast<double>(t.top5),
                                   static_cast<double>(t.images)});
  NAS_CHECK(ranks->sum(values));
  const double* at = values.data();
  const auto count = [&at] { return static_cast<std::int64_t>(*at++); };
  for (auto& of_network : tallies)
    for (Tally& t : of_network) {
      t.loss = *at++;
      t.top1 = count();
      t.top5 = count();
      t.images = count();
    }
  return {};
}

Result<std::vector<Score>> score(const Inherited& weights, std::span<const Network> networks,
                                 const std::vector<NormStatistics>& statistics, const BatchList& list,
                                 Ranks* ranks) {
  std::vector<std::vector<Tally>> tallies(networks.size(),
                                          std::vector<Tally>(static_cast<std::size_t>(list.batches)));
  for_each_batch(networks, list, ranks, [&](std::size_t i, std::int64_t b, const Batch& batch) {
    const TaskGuard guard;
    ExecutionOptions options;
    options.mode = NormMode::fixed;
    options.fixed = &statistics[i];
    options.keep = false;
    Execution run(weights.of(i), networks[i], options);
    const at::Tensor out = run.forward(images_of(weights.of(i), batch, 0, batch.size())).cpu().contiguous();
    tallies[i][static_cast<std::size_t>(b)] = tally_batch(out, batch);
  });
  NAS_CHECK(share(tallies, ranks));
  std::vector<Score> scores;
  for (const auto& t : tallies) scores.push_back(score_of(t));
  return scores;
}

bool needs_statistics(const Network& network) {
  return std::any_of(network.layers.begin(), network.layers.end(),
                     [](const Layer& l) { return l.kind == LayerKind::batch_norm; });
}

Result<void> check_batches(const BatchList& recalibration, std::span<const Network> networks) {
  if (recalibration.batches < 1 && std::any_of(networks.begin(), networks.end(), needs_statistics))
    return usage_error("recalibrating batch norm needs at least one batch, found none");
  return {};
}

NormStatistics own_statistics(const TrainedNetwork& trained, at::Device device) {
  NormStatistics s;
  s.of.resize(trained.network.layers.size());
  for (std::size_t l = 0; l < s.of.size(); ++l)
    if (trained.network.layers[l].kind == LayerKind::batch_norm)
      s.of[l] = {from_named(*trained.find(l, "mean"), device),
                 from_named(*trained.find(l, "variance"), device), trained.batch_norm_epsilon};
  return s;
}

}  // namespace

std::pair<double, double> wilson_interval(std::int64_t successes, std::int64_t trials, double z) {
  if (trials <= 0) return {0, 1};
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n, zz = z * z;
  const double centre = (p + zz / (2 * n)) / (1 + zz / n);
  const double half = z / (1 + zz / n) * std::sqrt(p * (1 - p) / n + zz / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

Result<std::vector<Score>> evaluate(const Supernet& supernet, std::span<const Network> networks,
                                    const BatchList& recalibration, const BatchList& scoring, Ranks* ranks) {
  for (const Network& n : networks) NAS_CHECK(supernet.holds(n));
  NAS_CHECK(check_batches(recalibration, networks));
  const Inherited weights(supernet.impl().weights, networks);
  NAS_TRY(statistics, recalibrate(weights, networks, recalibration, ranks));
  return score(weights, networks, statistics, scoring, ranks);
}

Result<TrainedNetwork> extract(const Supernet& supernet, const Network& network,
                               const BatchList& recalibration, const Provenance& provenance) {
  NAS_CHECK(supernet.holds(network));
  NAS_CHECK(check_batches(recalibration, {&network, 1}));
  const Inherited inherited(supernet.impl().weights, {&network, 1});
  const WeightTable& weights = inherited.of(0);
  NAS_TRY(all_statistics, recalibrate(inherited, {&network, 1}, recalibration, nullptr));
  const NormStatistics& statistics = all_statistics.front();
  const TaskGuard guard;
  TrainedNetwork trained{network, {}, weights.batch_norm_epsilon(), provenance};
  const Execution active(weights, network, {});
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const std::string name = layer_name(network.layers[l]) + ".";
    if (trained.find(l, to_string(Part::weight)) || trained.find(l, to_string(Part::scale))) continue;
    for (const PartShape& p : parts_of(network.layers[l]))
      trained.tensors.push_back(
          to_named(name + std::string(to_string(p.part)), active.active_weight(l, p.part)));
    if (!statistics.of[l].mean.defined()) continue;
    trained.tensors.push_back(to_named(name + "mean", statistics.of[l].mean));
    trained.tensors.push_back(to_named(name + "variance", statistics.of[l].variance));
  }
  NAS_CHECK(check(trained));
  return trained;
}

Result<Score> evaluate(const TrainedNetwork& trained, const BatchList& scoring) {
  NAS_TRY(single, Supernet::of(trained));
  const std::vector<NormStatistics> statistics{own_statistics(trained, at::kCPU)};
  const Inherited weights(single.impl().weights, {&trained.network, 1});
  NAS_TRY(scores, score(weights, {&trained.network, 1}, statistics, scoring, nullptr));
  return scores.front();
}

Result<std::vector<float>> logits(const TrainedNetwork& trained, std::span<const float> pixels) {
  NAS_TRY(single, Supernet::of(trained));
  const auto image = static_cast<std::size_t>(trained.network.layers.front().out.elements());
  if (pixels.empty() || pixels.size() % image != 0)
    return usage_error("logits: needs whole images of " + std::to_string(image) + " numbers, found " +
                       std::to_string(pixels.size()));
  const NormStatistics statistics = own_statistics(trained, at::kCPU);
  const TaskGuard guard;
  const Shape in = trained.network.layers.front().out;
  at::Tensor x = at::empty(
      {static_cast<std::int64_t>(pixels.size() / image), in.height, in.width, in.channels}, at::kFloat);
  std::copy(pixels.begin(), pixels.end(), x.data_ptr<float>());
  ExecutionOptions options;
  options.mode = NormMode::fixed;
  options.fixed = &statistics;
  options.keep = false;
  return to_named("", Execution(single.impl().weights, trained.network, options).forward(x)).values;
}

}  // namespace nas::supernet
