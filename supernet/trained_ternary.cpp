#include "supernet/trained_ternary.h"

#include <utility>

#include "supernet/detail/answer_trainer.h"
#include "supernet/detail/rounded_network.h"
#include "supernet/detail/ternary_function.h"

namespace nas::supernet {
namespace {

// A scale is its start * exp(parameter / kScaleUnit): it may move by tens of percent while weights move by
// some of their steps.
constexpr double kScaleUnit = 10;

// One operation's part of the training.
struct TernaryOp {
  std::size_t op = 0;
  at::Tensor magnitudes;              // [out, 1, 1, 1]
  double positive = 0, negative = 0;  // scales at the start
  std::size_t parameters = 0;         // leaves of the two scales: this and the next
};

class TernaryNetwork {
 public:
  TernaryNetwork(const FoldedNetwork& folded, const QuantizedNetwork& start) : network_(folded, start) {
    for (std::size_t i = 0; i < folded.deployment.ops.size(); ++i) {
      if (folded.deployment.ops[i].part == DeployedPart::none) {
        coded_.emplace_back();
        continue;
      }
      const TernaryWeights& t =
          coded_.emplace_back(ternary_weights(folded.deployment.ops[i], folded.weights[i]));
      const auto channels = static_cast<std::int64_t>(t.magnitudes.size());
      const at::Tensor magnitudes =
          at::tensor(at::ArrayRef<float>(t.magnitudes), at::kFloat).view({channels, 1, 1, 1});
      // A side without weights still has a scale, for those that come to it.
      const double p = t.book.centres[2], n = -t.book.centres[0];
      ops_.push_back({i, magnitudes, p > 0 ? p : 1.0, n > 0 ? n : 1.0, network_.table().parameters().size()});
      for (const char* side : {".positive", ".negative"}) add("op" + std::to_string(i) + side);
    }
  }

  RoundedNetwork& rounded() { return network_; }
  const RoundedNetwork& rounded() const { return network_; }

  // The leaves with ternary weights in the place of the float ones.
  std::vector<at::Tensor> ternary_leaves(std::vector<at::Tensor> leaves) const {
    for (const TernaryOp& t : ops_) {
      const at::Tensor& unit = network_.weight_unit(t.op);
      at::Tensor& leaf = leaves[static_cast<std::size_t>(network_.weight_leaf(t.op))];
      const auto [p, n] = scales(t, leaves);
      leaf = ternary_apply(leaf * unit, t.magnitudes, p, n) / unit;
    }
    return leaves;
  }

  // What was learned, coded.
  CodedNetwork coded() const {
    const at::NoGradGuard no_grad;
    const std::vector<at::Tensor> leaves = network_.leaves();
    FoldedNetwork folded = network_.real(ternary_leaves(leaves));
    std::vector<TernaryWeights> weights = coded_;
    for (const TernaryOp& t : ops_) {
      Codebook& book = weights[t.op].book;
      const auto [p, n] = scales(t, leaves);
      book.centres = {-n.item<float>(), 0.0F, p.item<float>()};
      const std::vector<float>& values = folded.weights[t.op].values;
      for (std::size_t k = 0; k < values.size(); ++k)
        book.codes[k] = static_cast<std::uint16_t>(values[k] < 0 ? 0 : values[k] > 0 ? 2 : 1);
    }
    return with_ternary(std::move(folded), weights);
  }

 private:
  void add(const std::string& name) {
    Parameter p;
    p.name = name;
    p.shape = {1};
    p.value = at::zeros({1});
    p.decay = false;
    network_.table().parameters().push_back(std::move(p));
  }

  static std::pair<at::Tensor, at::Tensor> scales(const TernaryOp& t, const std::vector<at::Tensor>& leaves) {
    return {t.positive * (leaves[t.parameters] / kScaleUnit).exp(),
            t.negative * (leaves[t.parameters + 1] / kScaleUnit).exp()};
  }

  RoundedNetwork network_;
  std::vector<TernaryWeights> coded_;  // per op, as at the start
  std::vector<TernaryOp> ops_;
};

}  // namespace

Result<CodedNetwork> train_ternary(const FoldedNetwork& folded, const QuantizedNetwork& start,
                                   const BatchStream& batches, const QuantizeAwareOptions& options) {
  TernaryNetwork network(folded, start);
  const AnswerTraining training{"training of ternary weights",
                                folded.deployment.input.height,
                                network.rounded().table(),
                                [&] { return network.rounded().leaves(); },
                                [&](const at::Tensor& x, const std::vector<at::Tensor>& leaves) {
                                  return network.rounded().forward(x, network.ternary_leaves(leaves), false);
                                },
                                [&](const at::Tensor& x, const std::vector<at::Tensor>& leaves) {
                                  return network.rounded().forward(x, leaves, false);
                                }};
  NAS_CHECK(train_by_answers(training, batches, options));
  return network.coded();
}

}  // namespace nas::supernet
