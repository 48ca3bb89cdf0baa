#include <ATen/ATen.h>
#include <tbb/parallel_for.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "supernet/detail/ops.h"
#include "supernet/detail/rounded_network.h"
#include "supernet/detail/step.h"
#include "supernet/prune/importance.h"

namespace nas::supernet {
namespace {

constexpr std::int64_t kClasses = 16;  // most probable ones that the second derivative looks at

// Grids of step 1: RoundedNetwork's float path only needs to know where weights lie.
QuantizedNetwork unit_grids(const FoldedNetwork& folded) {
  QuantizedNetwork q;
  q.deployment = folded.deployment;
  q.tensors.resize(folded.deployment.ops.size() + 1);
  q.before.resize(folded.deployment.ops.size());
  for (const FoldedWeights& w : folded.weights) {
    q.weights.push_back({std::vector<std::int8_t>(w.values.size()), std::vector<double>(w.bias.size(), 1.0),
                         std::vector<std::int32_t>(w.bias.size())});
  }
  return q;
}

// The parameters that each group's consumers' weights are.
std::vector<std::vector<std::size_t>> consumer_leaves(const FoldedNetwork& folded,
                                                      const RoundedNetwork& network,
                                                      const std::vector<ChannelGroup>& groups) {
  const auto leaf_of = [&](std::int32_t layer) -> std::size_t {
    for (std::size_t i = 0; i < folded.deployment.ops.size(); ++i) {
      const DeployedOp& op = folded.deployment.ops[i];
      if (op.layer == layer && op.part == DeployedPart::main)
        return static_cast<std::size_t>(network.weight_leaf(i));
    }
    return 0;
  };
  std::vector<std::vector<std::size_t>> leaves;
  for (const ChannelGroup& group : groups) {
    leaves.emplace_back();
    for (const std::int32_t consumer : group.consumers) leaves.back().push_back(leaf_of(consumer));
  }
  return leaves;
}

class Scorer {
 public:
  Scorer(const FoldedNetwork& folded, const std::vector<ChannelGroup>& groups)
      : network_(folded, unit_grids(folded)),
        in_(folded.deployment.input),
        groups_(groups),
        consumers_(consumer_leaves(folded, network_, groups)) {
    for (const auto& leaves : consumers_) wanted_.insert(wanted_.end(), leaves.begin(), leaves.end());
    std::sort(wanted_.begin(), wanted_.end());
    wanted_.erase(std::unique(wanted_.begin(), wanted_.end()), wanted_.end());
  }

  // One image's derivatives for all gates, and the expectation of their squares over the classes.
  GradientScores of(const std::vector<float>& image, std::int64_t label) const {
    const at::AutoGradMode recording(true);
    const std::vector<at::Tensor> leaves = network_.leaves();
    const at::Tensor x = at::tensor(image).view({1, in_.height, in_.width, in_.channels});
    const at::Tensor logits = network_.forward(x, leaves, false);
    const at::Tensor p = logits.detach().softmax(1);
    GradientScores scores;
    scores.taylor = gates(leaves, logits, p, label);
    for (const auto& t : scores.taylor) scores.second.emplace_back(t.size(), 0.0);
    const std::int64_t classes = std::min(kClasses, p.size(1));
    const at::Tensor order = p.flatten().argsort(0, true).contiguous();
    for (std::int64_t i = 0; i < classes; ++i) {
      const std::int64_t c = order.data_ptr<std::int64_t>()[i];
      const double share = p[0][c].item<double>();
      const auto g = gates(leaves, logits, p, c);
      for (std::size_t k = 0; k < g.size(); ++k)
        for (std::size_t n = 0; n < g[k].size(); ++n) scores.second[k][n] += share / 2 * g[k][n] * g[k][n];
    }
    return scores;
  }

 private:
  // A gate on a consumer's input channel acts as one on its weights' column: sum of weight x gradient.
  std::vector<std::vector<double>> gates(const std::vector<at::Tensor>& leaves, const at::Tensor& logits,
                                         const at::Tensor& p, std::int64_t label) const {
    at::Tensor gradient = p.clone();
    gradient.data_ptr<float>()[label] -= 1;
    std::vector<at::Tensor> inputs;
    for (const std::size_t w : wanted_) inputs.push_back(leaves[w]);
    const auto found = torch::autograd::grad({logits}, inputs, {gradient}, true, false, true);
    std::vector<at::Tensor> columns(leaves.size());
    for (std::size_t i = 0; i < wanted_.size(); ++i)
      columns[wanted_[i]] =
          (leaves[wanted_[i]].detach() * found[i]).to(at::kDouble).sum({0, 2, 3}).contiguous();
    std::vector<std::vector<double>> all;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      std::vector<double> sums(static_cast<std::size_t>(groups_[g].channels), 0);
      for (const std::size_t leaf : consumers_[g])
        for (std::size_t c = 0; c < sums.size(); ++c) sums[c] += columns[leaf].data_ptr<double>()[c];
      all.push_back(std::move(sums));
    }
    return all;
  }

  RoundedNetwork network_;
  Shape in_;
  const std::vector<ChannelGroup>& groups_;
  std::vector<std::vector<std::size_t>> consumers_;
  std::vector<std::size_t> wanted_;
};

}  // namespace

Result<GradientScores> gradient_importance(const TrainedNetwork& trained,
                                           const std::vector<ChannelGroup>& groups,
                                           std::span<const std::vector<float>> images,
                                           std::span<const std::int64_t> labels) {
  if (images.empty()) return usage_error("scores by gradients need images, found none");
  NAS_TRY(folded, fold(trained));
  const Scorer scorer(folded, groups);
  std::vector<GradientScores> each(images.size());
  tbb::parallel_for(std::size_t{0}, images.size(), [&](std::size_t i) {
    const TaskGuard guard;
    each[i] = scorer.of(images[i], labels[i]);
  });
  GradientScores sum = each.front();
  const auto add = [&](auto part) {
    for (std::size_t i = 1; i < each.size(); ++i)
      for (std::size_t g = 0; g < groups.size(); ++g)
        for (std::size_t c = 0; c < (sum.*part)[g].size(); ++c) (sum.*part)[g][c] += (each[i].*part)[g][c];
    for (auto& scores : sum.*part)
      for (double& s : scores) s = std::fabs(s) / static_cast<double>(images.size());
  };
  add(&GradientScores::taylor);
  add(&GradientScores::second);
  return sum;
}

}  // namespace nas::supernet
