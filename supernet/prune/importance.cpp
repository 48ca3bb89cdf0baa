#include "supernet/prune/importance.h"

#include <array>
#include <cmath>

namespace nas::supernet {
namespace {

constexpr std::array<std::string_view, 5> kNames{"l1", "bn", "apoz", "taylor", "second"};

using Scores = std::vector<double>;

// Multiplies each score by the L1 norm of its row (of equal parts) or of its column.
void times_rows(const NamedTensor& t, Scores& scores) {
  const std::size_t each = t.values.size() / scores.size();
  for (std::size_t c = 0; c < scores.size(); ++c) {
    double norm = 0;
    for (std::size_t i = 0; i < each; ++i) norm += std::fabs(static_cast<double>(t.values[c * each + i]));
    scores[c] *= norm;
  }
}

void add_columns(const NamedTensor& t, Scores& norms) {
  const std::size_t rows = static_cast<std::size_t>(t.shape[0]), columns = norms.size();
  const std::size_t each = t.values.size() / (rows * columns);
  for (std::size_t i = 0; i < t.values.size(); ++i)
    norms[i / each % columns] += std::fabs(static_cast<double>(t.values[i]));
}

Scores by_filters(const TrainedNetwork& trained, const ChannelGroup& group) {
  const auto n = static_cast<std::size_t>(group.channels);
  Scores scores(n, 1), read(n, 0);
  times_rows(*trained.find(static_cast<std::size_t>(group.producer), "weight"), scores);
  for (const std::int32_t i : group.carriers)
    if (trained.network.layers[static_cast<std::size_t>(i)].kind == LayerKind::conv)
      times_rows(*trained.find(static_cast<std::size_t>(i), "weight"), scores);
  for (const std::int32_t i : group.consumers)
    add_columns(*trained.find(static_cast<std::size_t>(i), "weight"), read);
  for (std::size_t c = 0; c < n; ++c) scores[c] *= read[c];
  return scores;
}

// A group without batch norm has no such score: all its channels count alike.
Scores by_batch_norm(const TrainedNetwork& trained, const ChannelGroup& group) {
  Scores scores(static_cast<std::size_t>(group.channels), 1);
  for (const std::int32_t i : group.carriers)
    if (const NamedTensor* scale = trained.find(static_cast<std::size_t>(i), "scale"))
      times_rows(*scale, scores);
  return scores;
}

}  // namespace

std::string_view to_string(Importance importance) { return kNames[static_cast<std::size_t>(importance)]; }

Result<Importance> importance_named(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<Importance>(i);
  return usage_error("an importance must be l1, bn, apoz, taylor or second, found \"" + std::string(name) +
                     "\"");
}

std::vector<Scores> weight_importance(const TrainedNetwork& trained, const std::vector<ChannelGroup>& groups,
                                      Importance how) {
  std::vector<Scores> all;
  for (const ChannelGroup& group : groups)
    all.push_back(how == Importance::l1 ? by_filters(trained, group) : by_batch_norm(trained, group));
  return all;
}

std::vector<Scores> apoz_importance(const std::vector<ChannelStatistics>& statistics) {
  std::vector<Scores> all;
  for (const ChannelStatistics& s : statistics) all.push_back(s.non_zero);
  return all;
}

}  // namespace nas::supernet
