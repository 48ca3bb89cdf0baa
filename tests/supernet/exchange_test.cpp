#include "supernet/exchange.h"

#include <cmath>

#include "supernet/detail/gradient_exchange.h"
#include "supernet/detail/supernet_impl.h"
#include "supernet/scaling.h"
#include "supernet/supernet.h"
#include "tests/supernet/rank_processes.h"

namespace nas::supernet {
namespace {

using testing::HasSubstr;

class ExchangeTest : public RankProcesses {};

// A gradient of every parameter that hangs on the rank and the step.
StepGradients gradients_of(const WeightTable& weights, int rank, std::int64_t step) {
  StepGradients gradients;
  gradients.parts.resize(1);
  for (std::size_t p = 0; p < weights.parameters().size(); ++p) {
    const at::Tensor& value = weights.parameters()[p].value;
    const double start = 100.0 * rank + 10.0 * static_cast<double>(p) + static_cast<double>(step);
    const at::Tensor place = at::arange(value.numel(), at::kFloat);
    const at::Tensor g = at::sin(place * place * 0.37 + start).mul_(1e-3).view(value.sizes());
    gradients.parts[0].push_back(g);
  }
  return gradients;
}

double norm(const std::vector<at::Tensor>& list) {
  double sum = 0;
  for (const at::Tensor& t : list) sum += t.to(at::kDouble).square().sum().item<double>();
  return std::sqrt(sum);
}

// What was delivered and what all ranks still owe together are all gradients of all ranks: nothing is lost.
// Gives the bytes that the rank has sent for it.
Result<double> expect_conserved(Ranks& ranks, const ExchangeOptions& options, int steps, double bound) {
  NAS_TRY(space, load_space("tiny"));
  NAS_TRY(supernet, Supernet::make(space));
  const WeightTable& weights = supernet.impl().weights;
  const TaskGuard guard;
  GradientExchange exchange(weights, ranks, options);
  const std::vector<PathJob> paths{{space.lower(space.largest()), false, 0}};
  std::vector<at::Tensor> sums, balance;
  for (const Parameter& p : weights.parameters()) {
    sums.push_back(at::zeros_like(p.value));
    balance.push_back(at::zeros_like(p.value, at::kDouble));
  }
  std::vector<double> owed;
  for (int step = 0; step < steps; ++step) {
    const StepGradients own = gradients_of(weights, ranks.rank(), step);
    exchange.begin(paths, 1, own);
    for (std::size_t l = paths[0].network.layers.size(); l-- > 1;)
      exchange.layer_done(paths[0].network.layers[l]);
    NAS_CHECK(exchange.finish(sums));
    for (std::size_t p = 0; p < sums.size(); ++p) balance[p] += sums[p];
    for (int r = 0; r < ranks.world(); ++r) {
      const StepGradients all = gradients_of(weights, r, step);
      for (std::size_t p = 0; p < sums.size(); ++p) balance[p] -= all.parts[0][p];
    }
  }
  const auto sent = static_cast<double>(ranks.bytes_sent());
  for (const NamedTensor& t : exchange.hook().state())
    if (t.name.starts_with("owed/")) owed.insert(owed.end(), t.values.begin(), t.values.end());
  NAS_CHECK(ranks.sum(owed));
  std::size_t at = 0;
  if (!owed.empty())
    for (at::Tensor& b : balance)
      for (std::int64_t i = 0; i < b.numel(); ++i) b.data_ptr<double>()[i] += owed[at++];
  const double wrong = norm(balance);
  if (wrong < bound) return sent;
  return Error{to_string(options) + ": " + std::to_string(wrong) + " of the gradients went missing"};
}

TEST_F(ExchangeTest, WhatCompressionLeavesOutIsOwedAndNothingIsLost) {
  for (const char* way : {"none", "fp32", "fp16", "bf16", "topk:0.05", "powersgd:3"}) {
    run(3, [&](Ranks& ranks) -> Result<void> {
      NAS_TRY(options, parse_compression(way));
      NAS_CHECK(expect_conserved(ranks, options, 6, 1e-4));  // gradients' own norm is about 1
      return {};
    });
    expect_all_well();
  }
}

TEST_F(ExchangeTest, BytesSentAreThoseOfTheScalingModel) {
  for (const char* way : {"none", "fp32", "fp16", "topk:0.05", "powersgd:3"}) {
    run(3, [&](Ranks& ranks) -> Result<void> {
      NAS_TRY(options, parse_compression(way));
      NAS_TRY(sent, expect_conserved(ranks, options, 2, 1));
      NAS_TRY(space, load_space("tiny"));
      ScalingQuestion question;
      question.ranks = 3;
      question.exchange = options;
      const double modelled = 2 * bytes_a_step(weight_shapes(space.lower(space.largest())), question);
      if (std::abs(sent / modelled - 1) < 0.05) return {};
      return Error{std::string(way) + ": sent " + std::to_string(sent) + ", modelled " +
                   std::to_string(modelled)};
    });
    expect_all_well();
  }
}

TEST(Compression, IsReadAndWrittenAndMistakesAreNamed) {
  for (const char* text :
       {"none", "fp32", "fp16", "bf16", "topk:0.01", "topk:0.5", "powersgd:4", "powersgd:64"})
    EXPECT_EQ(to_string(*parse_compression(text)), text);
  EXPECT_EQ(to_string(*parse_compression("topk")), "topk:0.01");
  EXPECT_EQ(to_string(*parse_compression("powersgd")), "powersgd:4");
  for (const char* text : {"", "zip", "topk:", "topk:0", "topk:0.6", "topk:nan", "topk:0.1x", "powersgd:0",
                           "powersgd:65", "powersgd:2.5", "fp16:3"}) {
    const auto wrong = parse_compression(text);
    ASSERT_FALSE(wrong) << text;
    EXPECT_THAT(to_string(wrong.error()), HasSubstr("\"" + std::string(text) + "\": required ")) << text;
  }
}

// Four numbers by hand: 1000 x 1000 weights, 4 ranks, 1 MB/s.
TEST(Scaling, AddsWhatTheLinkTakesToWhatTheRanksShare) {
  const WeightShapes shapes{{{1000, 1000}}};
  ScalingQuestion q;
  q.ranks = 4;
  q.compute_seconds = 8;
  q.link_bytes_per_second = 1e6;
  q.latency_seconds = 0;
  EXPECT_DOUBLE_EQ(bytes_a_step(shapes, q), 12e6);  // 2 x 3/4 x 8 bytes
  const StepTime plain = step_time(shapes, q);
  EXPECT_DOUBLE_EQ(plain.compute, 2);
  EXPECT_DOUBLE_EQ(plain.exchange, 12);
  EXPECT_NEAR(plain.exposed, 12 - 4.0 / 3, 1e-9);  // two thirds of the compute hide it
  q.exchange.compression = Compression::power;
  q.exchange.rank = 5;
  EXPECT_DOUBLE_EQ(bytes_a_step(shapes, q), 60e3);  // 2 x 3/4 x 4 bytes x 5 x 2000
  q.exchange = {};
  q.exchange.local_steps = 10;
  EXPECT_DOUBLE_EQ(bytes_a_step(shapes, q), 1.2e6);  // weights and momentum, every tenth step
  q.ranks = 1;
  EXPECT_DOUBLE_EQ(step_time(shapes, q).total(), 8);
  EXPECT_DOUBLE_EQ(*parse_link("100mbit"), 12.5e6);
  for (const char* wrong : {"", "100", "mbit", "-1mbit", "0gbit", "1e999gbit", "5 gbit"})
    EXPECT_FALSE(parse_link(wrong)) << wrong;
}

}  // namespace
}  // namespace nas::supernet
