#include "supernet/path_gradients.h"

#include <tbb/parallel_for.h>

#include <algorithm>

#include "supernet/detail/inherited.h"
#include "supernet/detail/losses.h"
#include "supernet/detail/step.h"
#include "supernet/detail/supernet_impl.h"

namespace nas::supernet {
namespace {

// Equal but for where the inputs stand.
bool same_work(const Layer& a, const Layer& b) {
  return a.kind == b.kind && a.activation == b.activation && a.bias == b.bias && a.site == b.site &&
         a.in == b.in && a.side == b.side && a.out == b.out && a.kernel == b.kernel && a.stride == b.stride &&
         a.padding == b.padding && a.groups == b.groups && a.hidden == b.hidden && a.heads == b.heads;
}

// The stretch of a network that a gene's choices fill: layers [begin, size - behind).
struct Stretch {
  std::size_t begin, behind;
};

std::size_t common_begin(const Network& a, const Network& b) {
  std::size_t i = 0;
  while (i < a.layers.size() && i < b.layers.size() && same_work(a.layers[i], b.layers[i]) &&
         a.layers[i].inputs == b.layers[i].inputs)
    ++i;
  // A batch norm does the activation behind it: never cut between the two.
  while (i > 0 && ((i < a.layers.size() && a.layers[i].kind == LayerKind::activation) ||
                   (i < b.layers.size() && b.layers[i].kind == LayerKind::activation)))
    --i;
  return i;
}

std::size_t common_end(const Network& a, const Network& b, std::size_t begin) {
  std::size_t n = 0;
  const std::size_t limit = std::min(a.layers.size(), b.layers.size()) - begin;
  while (n < limit && same_work(a.layers[a.layers.size() - 1 - n], b.layers[b.layers.size() - 1 - n])) ++n;
  return n;
}

// The layers behind the cut read nothing of the stretch but its last output, and the same things before it in
// both networks.
bool clean_cut(const Network& a, const Network& b, std::size_t begin, std::size_t behind) {
  const auto first_a = static_cast<std::int32_t>(a.layers.size() - behind);
  const auto first_b = static_cast<std::int32_t>(b.layers.size() - behind);
  for (std::size_t k = 0; k < behind; ++k) {
    const Layer &la = a.layers[a.layers.size() - 1 - k], &lb = b.layers[b.layers.size() - 1 - k];
    for (std::size_t i = 0; i < 2; ++i) {
      const std::int32_t x = la.inputs[i], y = lb.inputs[i];
      if (x >= first_a && y >= first_b && x - first_a == y - first_b) continue;
      if (x == first_a - 1 && y == first_b - 1) continue;  // the stretch's output
      if (x == y && x < static_cast<std::int32_t>(begin)) continue;
      return false;
    }
  }
  const bool activation = behind > 0 && a.layers[a.layers.size() - behind].kind == LayerKind::activation;
  return !activation && first_a > 0 && first_b > 0 &&
         a.layers[static_cast<std::size_t>(first_a - 1)].out ==
             b.layers[static_cast<std::size_t>(first_b - 1)].out;
}

Result<Stretch> find_stretch(const Network& base, const std::vector<Network>& others, const Gene& gene) {
  Stretch s{base.layers.size(), base.layers.size()};
  for (const Network& n : others) s.begin = std::min(s.begin, common_begin(base, n));
  for (const Network& n : others) s.behind = std::min(s.behind, common_end(base, n, s.begin));
  const auto clean = [&] {
    return std::all_of(others.begin(), others.end(),
                       [&](const Network& n) { return clean_cut(base, n, s.begin, s.behind); });
  };
  while (s.behind > 0 && !clean()) --s.behind;
  if (s.begin == 0 || s.behind == 0)
    return usage_error("gene " + gene.name +
                       " has no gate: its choices change more than one stretch of the network");
  return s;
}

struct Passed {
  std::vector<at::Tensor> values, gradients;  // of every layer of the path
};

Passed run_path(const WeightTable& weights, const Network& network, const Batch& batch) {
  Passed passed;
  Execution run(weights, network, {});
  const at::Tensor out = run.forward(images_of(weights, batch, 0, batch.size()));
  for (std::size_t i = 0; i < network.layers.size(); ++i) passed.values.push_back(run.value(i));
  const at::Tensor logits = out.cpu().contiguous();
  at::Tensor gradient = at::zeros_like(logits);
  const auto size = static_cast<std::size_t>(logits.numel());
  hard_loss({logits.data_ptr<float>(), size}, static_cast<std::size_t>(logits.size(1)), batch.labels,
            batch.targets, 0, 1, static_cast<double>(batch.size()), {gradient.data_ptr<float>(), size});
  passed.gradients.resize(network.layers.size());
  run.watch = [&](std::size_t layer, const at::Tensor& g) { passed.gradients[layer] = g; };
  run.want_input_gradient = true;
  Gradients ignored;
  run.backward(gradient.to(out.device()), ignored);
  return passed;
}

}  // namespace

Result<std::vector<GateGradients>> path_gradients(const Supernet& supernet, const SearchSpace& space,
                                                  const Genotype& path, std::span<const int> genes,
                                                  const Batch& batch,
                                                  const std::vector<std::vector<std::uint8_t>>& choices) {
  NAS_CHECK(space.check(path));
  const Network base = space.lower(path);
  NAS_CHECK(supernet.holds(base));
  if (base.layers.front().out.height != batch.resolution)
    return usage_error("path_gradients: the path takes " + std::to_string(base.layers.front().out.height) +
                       " pixels, the batch has " + std::to_string(batch.resolution));
  const TaskGuard guard;
  const WeightTable& weights = supernet.impl().weights;
  const Passed passed = run_path(Inherited(weights, {&base, 1}).of(0), base, batch);
  std::vector<GateGradients> found;
  for (std::size_t k = 0; k < genes.size(); ++k) {
    const auto gene = static_cast<std::size_t>(genes[k]);
    const std::size_t count = space.genes()[gene].choices.size();
    std::vector<Network> networks;
    for (std::size_t c = 0; c < count; ++c) {
      Genotype g = path;
      g[gene] = static_cast<std::uint8_t>(c);
      networks.push_back(space.lower(space.canonical(g)));
    }
    NAS_TRY(stretch, find_stretch(base, networks, space.genes()[gene]));
    const at::Tensor& gradient = passed.gradients[base.layers.size() - stretch.behind - 1];
    const Inherited inherited(weights, networks);
    GateGradients gates{genes[k], std::vector<double>(count, 0)};
    tbb::parallel_for(std::size_t{0}, count, [&](std::size_t c) {
      const bool wanted = choices.empty() || choices[k].empty() ||
                          std::find(choices[k].begin(), choices[k].end(), c) != choices[k].end();
      if (!wanted || !gradient.defined()) return;
      const TaskGuard inside;
      ExecutionOptions options;
      options.keep = true;  // nothing is released, the prefix is shared
      Execution run(inherited.of(c), networks[c], options);
      const at::Tensor out =
          run.continue_from(passed.values, stretch.begin, networks[c].layers.size() - stretch.behind);
      gates.of_choice[c] = (out.to(at::kDouble) * gradient.to(at::kDouble)).sum().item<double>();
    });
    found.push_back(std::move(gates));
  }
  return found;
}

}  // namespace nas::supernet
