#include "apps/compress/channel_choice.h"

#include <algorithm>
#include <memory>
#include <set>

#include "apps/compress/ratio_search.h"
#include "supernet/evaluate.h"
#include "supernet/prune/importance.h"

namespace nas::apps {

using namespace supernet;
using Counts = std::vector<std::int32_t>;
using Groups = std::vector<ChannelGroup>;

BatchList batches_of(const LabelledImages& images, int resolution) {
  constexpr std::size_t kAtOnce = 64;
  auto batches = std::make_shared<std::vector<Batch>>();
  for (std::size_t begin = 0; begin < images.images.size(); begin += kAtOnce) {
    Batch& batch = batches->emplace_back();
    batch.resolution = resolution;
    for (std::size_t i = begin; i < std::min(begin + kAtOnce, images.images.size()); ++i) {
      batch.pixels.insert(batch.pixels.end(), images.images[i].begin(), images.images[i].end());
      batch.labels.push_back(images.labels[i]);
    }
  }
  const auto count = static_cast<std::int64_t>(batches->size());
  return {count,
          [batches](int, std::int64_t i, Batch& out) { out = (*batches)[static_cast<std::size_t>(i)]; }};
}

Result<ChannelChoice::Seen> ChannelChoice::look(const TrainedNetwork& network, const Groups& groups,
                                                Importance how, std::span<const Image> images) const {
  NAS_TRY(statistics, channel_statistics(network, groups, images));
  Seen seen{std::move(statistics), {}};
  if (how == Importance::apoz) {
    seen.scores = apoz_importance(seen.statistics);
  } else if (how == Importance::l1 || how == Importance::batch_norm) {
    seen.scores = weight_importance(network, groups, how);
  } else {
    NAS_TRY(found, gradient_importance(network, groups, images_.scoring.images, images_.scoring.labels));
    seen.scores = how == Importance::taylor ? std::move(found.taylor) : std::move(found.second);
  }
  return seen;
}

namespace {

KeptChannels best(const std::vector<std::vector<double>>& scores, const Counts& counts) {
  KeptChannels kept;
  for (std::size_t g = 0; g < counts.size(); ++g) kept.push_back(best_channels(scores[g], counts[g]));
  return kept;
}

}  // namespace

Result<TrainedNetwork> ChannelChoice::pruned(const TrainedNetwork& network, const Groups& groups,
                                             Importance how, const Counts& counts) const {
  NAS_TRY(seen, look(network, groups, how, images_.scoring.images));
  return prune_channels(network, groups, best(seen.scores, counts), seen.statistics);
}

Result<Counts> ChannelChoice::counts(const TrainedNetwork& network, const Groups& groups,
                                     const PruneRequest& request, nlohmann::ordered_json& record) const {
  if (request.choosing == Choosing::given) {
    Counts given;
    for (const ChannelGroup& g : groups) given.push_back(kept_at(g.channels, request.ratio, o_.multiple));
    NAS_CHECK(narrowed(network.network, groups, given));
    return given;
  }
  NAS_TRY(target, costs_.target());
  if (request.choosing == Choosing::uniform) return uniform(network.network, groups, target);
  NAS_TRY(seen, look(network, groups, request.importance, images_.few));
  NAS_TRY(sensitivity,
          prune_sensitivity(network, groups, seen.scores, seen.statistics, images_.few, o_.multiple));
  if (request.choosing == Choosing::sensitivity)
    return kept_within(network.network, groups, sensitivity, target.cost, target.limit);
  return searched(network, groups, seen, sensitivity, target, record);
}

// The smallest single ratio that holds the limit.
Result<Counts> ChannelChoice::uniform(const Network& network, const Groups& groups,
                                      const CompressCosts::Target& target) const {
  constexpr int kMostPercent = 94;
  double least = 0;
  for (int percent = 0; percent <= kMostPercent; ++percent) {
    Counts counts;
    for (const ChannelGroup& g : groups)
      counts.push_back(std::max(1, kept_at(g.channels, percent / 100.0, o_.multiple)));
    NAS_TRY(narrow, narrowed(network, groups, counts));
    NAS_TRY(cost, target.cost(narrow));
    if (cost <= target.limit) return counts;
    least = cost;
  }
  return Error{std::string("no uniform ratio holds the limit: ") + target.name + " must be at most " +
                   cost_text(target.limit) + ", with " + std::to_string(kMostPercent) +
                   " % of all inner channels gone it is " + cost_text(least),
               "", ErrorKind::infeasible};
}

// The statistics of its batch norms are taken anew on the same images: without that, the loss of a network
// that lost channels says little of what training makes of it (Li et al., EagleEye, ECCV 2020).
Result<double> ChannelChoice::loss_of(const TrainedNetwork& network) const {
  NAS_TRY(single, Supernet::of(network));
  const BatchList list = batches_of(images_.loss, network.network.layers.front().out.height);
  NAS_TRY(scores, evaluate(single, {&network.network, 1}, list, list));
  return scores.front().loss;
}

namespace {

// Counts that a search may choose for a group: multiples as kept_at() makes them, at least the fewest that
// sensitivity looked at, and those of the starts.
std::vector<Counts> choices_of(const PruneSensitivity& sensitivity, std::int32_t multiple,
                               const std::vector<Counts>& starts) {
  std::vector<Counts> choices;
  for (std::size_t g = 0; g < sensitivity.kept.size(); ++g) {
    const Counts& tried = sensitivity.kept[g];  // all channels first, the fewest last
    std::set<std::int32_t> counts(tried.begin(), tried.end());
    for (const Counts& start : starts) counts.insert(start[g]);
    const std::int32_t step = tried.front() >= 16 ? std::max(multiple, 1) : 1;
    for (std::int32_t n = (tried.back() / step + 1) * step; n < tried.front(); n += step) counts.insert(n);
    choices.emplace_back(counts.begin(), counts.end());
  }
  return choices;
}

// The error at a count that was tried, or on the line between its neighbours.
double error_at(const PruneSensitivity& sensitivity, std::size_t group, std::int32_t count) {
  const Counts& kept = sensitivity.kept[group];
  const std::vector<double>& error = sensitivity.error[group];
  for (std::size_t r = 0; r + 1 < kept.size(); ++r)
    if (count >= kept[r + 1])
      return error[r] + (error[r + 1] - error[r]) * (kept[r] - count) / (kept[r] - kept[r + 1]);
  return error.back();
}

}  // namespace

Result<Counts> ChannelChoice::searched(const TrainedNetwork& network, const Groups& groups, const Seen& seen,
                                       const PruneSensitivity& sensitivity,
                                       const CompressCosts::Target& target,
                                       nlohmann::ordered_json& record) const {
  RatioProblem problem;
  std::vector<std::string> names;
  // Where a limit is out of reach for one ratio everywhere, single ratios may still hold it.
  if (auto even = uniform(network.network, groups, target)) {
    names.emplace_back("uniform");
    problem.starts.push_back(*std::move(even));
  } else if (even.error().kind != ErrorKind::infeasible) {
    return even.error();
  }
  NAS_TRY(kept, kept_within(network.network, groups, sensitivity, target.cost, target.limit));
  names.emplace_back("sensitivity");
  problem.starts.push_back(std::move(kept));
  problem.choices = choices_of(sensitivity, o_.multiple, problem.starts);
  problem.limit = target.limit;
  problem.cost = [&](const Counts& counts) -> Result<double> {
    NAS_TRY(narrow, narrowed(network.network, groups, counts));
    return target.cost(narrow);
  };
  problem.loss = [&](const Counts& counts) -> Result<double> {
    NAS_TRY(narrow, prune_channels(network, groups, best(seen.scores, counts), seen.statistics));
    return loss_of(narrow);
  };
  problem.guess = [&](const Counts& counts) {
    double sum = 0;
    for (std::size_t g = 0; g < counts.size(); ++g) sum += error_at(sensitivity, g, counts[g]);
    return sum;
  };
  NAS_TRY(found, search_ratios(problem, o_.evaluations, o_.seed));
  auto& written = record["ratio_search"];
  written = {
      {"evaluations", found.evaluations}, {"images", images_.loss.images.size()}, {"loss", found.loss}};
  for (std::size_t i = 0; i < names.size(); ++i) written["loss_" + names[i]] = found.start_loss[i];
  return found.kept;
}

}  // namespace nas::apps
