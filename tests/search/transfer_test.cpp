#include "search/transfer_surrogate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "space/cost.h"

namespace nas::search {
namespace {

constexpr const char* kPlain = R"({"name": "plain", "family": "staged", "classes": 4, "resolution": [16, 24],
  "stem": {"channels": 8}, "stages": [
    {"depth": [1, 2], "channels": 8, "kernel": [3, 5], "expand": [2, 3, 4]$BITS$},
    {"depth": [1, 2], "channels": 16, "kernel": [3, 5], "expand": [2, 3, 4], "stride": 2$BITS$}],
  "head": [{"kind": "pool"}]})";

SearchSpace space_with(const std::string& bits) {
  std::string json = kPlain;
  for (std::size_t at = 0; (at = json.find("$BITS$")) != std::string::npos;) json.replace(at, 6, bits);
  auto space = parse_space(json, "test");
  if (!space) throw std::runtime_error(space.error().message);
  return *space;
}

// Made up: saturating in the MACs, so no sum over genes; four bits cost more than eight.
double truth(const SearchSpace& space, const Genotype& g) {
  double a = 0.9 - 2e5 / (2e5 + static_cast<double>(macs(space.lower(g)).count()));
  for (std::size_t i = 0; i < g.size(); ++i)
    if (space.active(g, i) && space.genes()[i].name.ends_with("weight_bits")) a -= g[i] == 0 ? 0.03 : 0.002;
  return a;
}

auto float_surrogate(const SearchSpace& plain, std::size_t count, int epochs) {
  const auto networks = designed_sample(plain, count, 1);
  std::vector<double> accuracy, work;
  for (const Genotype& g : networks) {
    accuracy.push_back(truth(plain, g));
    work.push_back(static_cast<double>(macs(plain.lower(g)).count()));
  }
  SurrogateOptions options;
  options.epochs = epochs;
  return fit_accuracy(plain, networks, accuracy, work, options);
}

TEST(TransferSurrogate, NeedsFewerQuantisedNetworksThanAModelOfTheirOwn) {
  const SearchSpace plain = space_with(""), bits = space_with(", \"weight_bits\": [4, 8]");
  const auto surrogate = float_surrogate(plain, 200, 60);
  ASSERT_TRUE(surrogate) << surrogate.error().message;
  const auto few = designed_sample(bits, 30, 2);
  std::vector<double> quantised;
  for (const Genotype& g : few) quantised.push_back(truth(bits, g));
  const auto transfer = fit_transfer(bits, few, quantised, plain, *surrogate);
  ASSERT_TRUE(transfer) << transfer.error().message;
  const auto& s = transfer->scores();
  ASSERT_EQ(s.size(), 3u);
  EXPECT_LT(s[2].rmse, 0.7 * s[0].rmse);
  EXPECT_LT(s[2].rmse, s[1].rmse);
  EXPECT_GT(transfer->share(), 0.5);
  // Networks that neither model has seen.
  double off = 0;
  const auto fresh = designed_sample(bits, 100, 9);
  const auto predicted = transfer->predict(fresh);
  for (std::size_t i = 0; i < fresh.size(); ++i)
    off += std::pow(predicted[i] - truth(bits, fresh[i]), 2) / 100;
  EXPECT_LT(std::sqrt(off), 1.5 * s[2].rmse + 2e-3);
}

TEST(TransferSurrogate, StaysNearTheFloatSurrogateWhereTheFewNetworksShowOnlyNoise) {
  const SearchSpace plain = space_with(""), bits = space_with(", \"weight_bits\": [4, 8]");
  const auto few = designed_sample(bits, 30, 2);
  const auto surrogate = float_surrogate(plain, 120, 30);
  ASSERT_TRUE(surrogate) << surrogate.error().message;
  // What the float surrogate says, and noise: nothing to learn from it.
  std::vector<Genotype> without_bits;
  for (const Genotype& g : few) {
    Genotype p(plain.genes().size());
    for (std::size_t i = 0; i < p.size(); ++i)
      p[i] = g[static_cast<std::size_t>(bits.find(plain.genes()[i].name))];
    without_bits.push_back(plain.canonical(p));
  }
  double worse = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<double> noisy = surrogate->predict(without_bits);
    Rng rng(seed, "noise");
    for (double& y : noisy) y += 0.02 * rng.normal();
    const auto transfer = fit_transfer(bits, few, noisy, plain, *surrogate, seed);
    ASSERT_TRUE(transfer) << transfer.error().message;
    worse += transfer->scores()[2].rmse / transfer->scores()[0].rmse / 10;
    EXPECT_GE(transfer->share(), 0);
    EXPECT_LE(transfer->share(), 1);
  }
  EXPECT_LT(worse, 1.06);
}

TEST(TransferSurrogate, RefusesSpacesThatDoNotBelongTogether) {
  const SearchSpace plain = space_with(""), other = *load_space("tiny");
  const auto networks = designed_sample(plain, 40, 1);
  std::vector<double> y, work;
  for (const Genotype& g : networks) {
    y.push_back(truth(plain, g));
    work.push_back(static_cast<double>(macs(plain.lower(g)).count()));
  }
  SurrogateOptions options;
  options.epochs = 2;
  const auto surrogate = fit_accuracy(plain, networks, y, work, options);
  ASSERT_TRUE(surrogate) << surrogate.error().message;
  const auto theirs = designed_sample(other, 20, 1);
  EXPECT_THAT(fit_transfer(other, theirs, std::vector<double>(20, 0.5), plain, *surrogate).error().message,
              testing::HasSubstr("must have the gene"));
  EXPECT_THAT(fit_transfer(plain, std::vector<Genotype>(3, plain.smallest()), std::vector<double>(3, 0.5),
                           plain, *surrogate)
                  .error()
                  .message,
              testing::HasSubstr("10 quantised networks"));
}

}  // namespace
}  // namespace nas::search
