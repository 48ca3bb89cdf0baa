// Predictors of single kernels, what to measure next, and the common interface of estimates.
#include "latency/kernel_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "latency/kernel_features.h"
#include "latency/measure/design.h"
#include "latency/measure/kernel_set.h"
#include "latency/predictor.h"
#include "space/base/rng.h"
#include "space/search_space.h"

namespace nas::latency {
namespace {

using testing::HasSubstr;

// Cycles a MAC by kind, an element, a kernel: what the reference measured on a microcontroller, about.
const std::map<std::string, double> kPerMac{
    {"pointwise conv", 1.02}, {"conv", 1.25}, {"depthwise conv", 9.4}, {"linear", 2.0}};

double law(const Kernel& k) {
  const auto w = kernel_work(k);
  const auto found = kPerMac.find(kernel_kind(k));
  return (found == kPerMac.end() ? 0 : found->second) * w[0] + 0.5 * w[1] + 300;
}

Session session_of(std::span<const Kernel> kernels, double noise) {
  Session session{{"s", "board", "p", "c", "int8", "cycles", "tiny", ""}, {}};
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    KernelRecord r;
    r.signature = signature(kernels[i]);
    r.n = r.visits = 5;
    r.median = law(kernels[i]) * std::exp(noise * Rng(5, "noise", i).normal());
    session.kernels.push_back(r);
  }
  return session;
}

std::vector<Kernel> tiny_kernels() { return reachable_kernels(*load_space("tiny"), {}, {8, 8}).kernels; }

TEST(KernelModels, FindCyclesPerMacOfEveryKind) {
  const auto models = KernelModels::fit(session_of(tiny_kernels(), 0.005));
  ASSERT_TRUE(models) << to_string(models.error());
  std::set<std::string> seen;
  for (const KindCosts& k : models->kinds()) {
    seen.insert(k.kind);
    const auto planted = kPerMac.find(k.kind);
    if (planted != kPerMac.end() && k.kernels >= 12) {
      EXPECT_NEAR(k.per_mac, planted->second, 0.05 * planted->second) << k.kind;
    }
    EXPECT_LT(k.mape, 1.5) << k.kind;
  }
  EXPECT_TRUE(seen.contains("depthwise conv") && seen.contains("pointwise conv"));
}

TEST(KernelModels, TellKernelsThatWereNotMeasuredAndSumThemOverANetwork) {
  const auto all = tiny_kernels();
  std::map<std::string, int> of_kind;
  for (const Kernel& k : all) ++of_kind[kernel_kind(k)];
  std::vector<Kernel> known;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (i % 3 != 0 || of_kind[kernel_kind(all[i])] < 12) known.push_back(all[i]);
  const auto models = KernelModels::fit(session_of(known, 0.01));
  ASSERT_TRUE(models);
  std::set<std::string> well_known;
  for (const KindCosts& k : models->kinds())
    if (k.kernels >= 12) well_known.insert(k.kind);
  std::size_t inside = 0, asked = 0;
  for (std::size_t i = 0; i < all.size(); i += 3) {
    const auto one = models->estimate(all[i]);
    if (!one || !well_known.contains(kernel_kind(all[i]))) continue;
    ++asked;
    EXPECT_EQ(one->source, EntrySource::predicted);
    EXPECT_NEAR(one->value / law(all[i]), 1, 0.08) << one->signature;
    inside += one->low <= law(all[i]) && law(all[i]) <= one->high;
  }
  EXPECT_GT(asked, all.size() / 4);
  EXPECT_GE(inside * 10, asked * 8);
  const SearchSpace space = *load_space("tiny");
  const Network network = space.lower(space.largest());
  double truth = 0;
  for (const Kernel& k : kernels(with_precision(network, {8, 8}), {})) truth += law(k);
  const auto sum = models->estimate(network, {});
  ASSERT_TRUE(sum) << to_string(sum.error());
  EXPECT_NEAR(sum->value / truth, 1, 0.05);
  EXPECT_LT(sum->low, sum->value);
}

TEST(KernelModels, NameAKindThatWasNeverMeasured) {
  const auto all = tiny_kernels();
  std::vector<Kernel> known;
  for (const Kernel& k : all)
    if (kernel_kind(k) != "depthwise conv") known.push_back(k);
  const auto models = KernelModels::fit(session_of(known, 0.01));
  ASSERT_TRUE(models);
  for (const Kernel& k : all) {
    if (kernel_kind(k) != "depthwise conv") continue;
    EXPECT_THAT(models->estimate(k).error().message, HasSubstr("no depthwise conv was measured on board"));
    break;
  }
  EXPECT_THAT(KernelModels::fit(Session{}).error().message, HasSubstr("3 measured kernels"));
  Session bad = session_of(all, 0);
  bad.kernels[2].median = -1;
  EXPECT_THAT(KernelModels::fit(bad).error().message, HasSubstr("required positive times, found -1"));
}

TEST(KernelModels, SurviveTheirFileAndRefuseEveryChangedByte) {
  auto all = tiny_kernels();
  all.resize(40);
  const auto models = KernelModels::fit(session_of(all, 0.02));
  ASSERT_TRUE(models);
  const std::string text = models->save();
  const auto back = KernelModels::load(text, "m");
  ASSERT_TRUE(back) << to_string(back.error());
  EXPECT_EQ(back->save(), text);
  for (const Kernel& k : all) {
    const auto a = models->estimate(k), b = back->estimate(k);
    ASSERT_EQ(static_cast<bool>(a), static_cast<bool>(b));
    if (a) {
      EXPECT_EQ(a->value, b->value);
    }
  }
  for (std::uint64_t i = 0; i < 3000; ++i) {
    Rng rng(6, "tamper", i);
    std::string bad = text;
    char& byte = bad[rng.below(bad.size())];
    const char before = byte;
    byte = static_cast<char>(rng.below(256));
    if (byte != before) {
      EXPECT_FALSE(KernelModels::load(bad, "m"));
    }
  }
  EXPECT_THAT(KernelModels::load(text.substr(0, text.size() / 2), "m").error().where, HasSubstr("m"));
}

TEST(NextKernels, TakeUnknownKindsFirstAndThenWhereLeastIsKnown) {
  const auto all = tiny_kernels();
  std::vector<Kernel> known;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (kernel_kind(all[i]) == "pointwise conv" && i % 2 == 0) known.push_back(all[i]);
  const Session session = session_of(known, 0.01);
  const auto next = next_kernels(all, session, 6, 0.01);
  ASSERT_TRUE(next) << to_string(next.error());
  ASSERT_EQ(next->size(), 6U);
  std::set<std::string> kinds;
  for (const Kernel& kernel : *next) kinds.insert(kernel_kind(kernel));
  EXPECT_TRUE(kinds.contains("depthwise conv"));
  EXPECT_FALSE(kinds.contains("pointwise conv"));
  const auto again = next_kernels(all, session, 6, 0.01);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(signature((*again)[i]), signature((*next)[i]));
}

// Measuring what it names must make a predictor better than measuring as many random ones does, on average.
TEST(NextKernels, TeachMoreThanRandomOnes) {
  std::vector<Kernel> all;
  for (const Kernel& k : tiny_kernels())
    if (kernel_kind(k) == "pointwise conv") all.push_back(k);
  ASSERT_GT(all.size(), 60U);
  // A device with a bend: kernels of many output channels fall out of its cache.
  const auto bend = [](const Kernel& k) { return law(k) * (k.anchor.out.channels > 48 ? 1.6 : 1.0); };
  const auto error_after = [&](const std::vector<std::size_t>& measured) {
    Session s{{"s", "board", "p", "c", "int8", "cycles", "tiny", ""}, {}};
    for (const std::size_t i : measured) {
      KernelRecord r;
      r.signature = signature(all[i]);
      r.median = bend(all[i]);
      s.kernels.push_back(r);
    }
    const auto models = KernelModels::fit(s);
    double sum = 0;
    for (const Kernel& k : all) {
      const double e = std::log(models->estimate(k)->value / bend(k));
      sum += e * e / static_cast<double>(all.size());
    }
    return std::sqrt(sum);
  };
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < all.size(); ++i) place[signature(all[i])] = i;
  double chosen = 0, random = 0;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const auto start = Rng(seed, "start").sample(all.size(), 10);
    std::vector<std::size_t> by_gain(start.begin(), start.end()), by_chance = by_gain;
    Session s{{"s", "board", "p", "c", "int8", "cycles", "tiny", ""}, {}};
    for (const std::size_t i : start) {
      KernelRecord r;
      r.signature = signature(all[i]);
      r.median = bend(all[i]);
      s.kernels.push_back(r);
    }
    const auto next = next_kernels(all, s, 12, 0);
    ASSERT_TRUE(next);
    for (const Kernel& kernel : *next) by_gain.push_back(place.at(signature(kernel)));
    for (const std::size_t i : Rng(seed, "chance").sample(all.size(), all.size()))
      if (by_chance.size() < by_gain.size() && std::ranges::count(by_chance, i) == 0) by_chance.push_back(i);
    chosen += error_after(by_gain);
    random += error_after(by_chance);
  }
  EXPECT_LT(chosen, 1.05 * random);
}

TEST(Predictors, GiveEveryFigureThroughOneInterface) {
  const SearchSpace space = *load_space("tiny");
  const Network network = space.lower(space.smallest());
  const Session session = session_of(tiny_kernels(), 0);
  const auto table = LatencyTable::make(session);
  const auto models = KernelModels::fit(session);
  ASSERT_TRUE(table && models);
  const Precision int8{8, 8};
  std::map<std::string, Estimate> by;
  for (const Predictor& p :
       {latency_by_table(*table, {}, {}), modelled_energy(*load_energy_table("horowitz-45nm"), int8, {}),
        modelled_memory(int8, {}), modelled_flash(int8, 1000)}) {
    const auto one = p(network);
    ASSERT_TRUE(one);
    EXPECT_LE(one->low, one->value);
    EXPECT_GE(one->high, one->value);
    by[one->quantity] = *one;
  }
  EXPECT_EQ(by["latency"].value, *table->value(network, {}));
  EXPECT_EQ(by["latency"].source, "predicted");
  EXPECT_EQ(by["energy"].source, "modelled");
  EXPECT_LE(by["peak memory"].low, by["peak memory"].high);
  EXPECT_EQ(by["flash"].value, static_cast<double>(weight_bytes(network, int8).count() + 1000));
  const auto kinds = latency_by_kernels(*models, {}, "cycles")(network);
  ASSERT_TRUE(kinds) << to_string(kinds.error());
  EXPECT_NEAR(kinds->value / by["latency"].value, 1, 0.03);
}

}  // namespace
}  // namespace nas::latency
