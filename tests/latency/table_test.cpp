#include "latency/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "latency/calibration.h"
#include "latency/measure/kernel_set.h"
#include "latency/ofa_yaml.h"
#include "search/additive.h"
#include "space/base/rng.h"
#include "space/search_space.h"

namespace nas::latency {
namespace {

using testing::HasSubstr;

// A made-up device whose kernels follow a law that the table does not know.
double law(const Kernel& kernel) {
  const Layer& l = kernel.anchor;
  const double time =
      500 + 0.8 * static_cast<double>(macs(l).count()) + 2.5 * static_cast<double>(l.out.elements());
  return std::round(time / kGrain) * kGrain;
}

KernelRecord record_of(const Kernel& kernel) {
  KernelRecord r;
  r.signature = signature(kernel);
  r.n = r.visits = 5;
  r.median = law(kernel);
  r.low = 0.99 * r.median;
  r.high = 1.01 * r.median;
  r.steady = true;
  return r;
}

struct Device {
  SearchSpace space = *load_space("tiny");
  std::vector<Kernel> all = reachable_kernels(space, {}, {8, 8}).kernels;
  Session session{{"s", "device", "p", "c", "int8", "ns", "tiny", ""}, {}};
};

// Every kernel, or only those whose number is not a multiple of `skip`.
Device device_with(std::size_t skip = 0) {
  Device d;
  for (std::size_t i = 0; i < d.all.size(); ++i)
    if (skip == 0 || i % skip != 0) d.session.kernels.push_back(record_of(d.all[i]));
  return d;
}

double true_time(const Network& network) {
  double sum = 0;
  for (const Kernel& k : kernels(with_precision(network, {8, 8}), {})) sum += law(k);
  return sum;
}

TEST(LatencyTable, SumsTheMeasuredKernelsOfANetworkToTheLastBit) {
  const Device d = device_with();
  const auto table = LatencyTable::make(d.session);
  ASSERT_TRUE(table);
  for (std::uint64_t i = 0; i < 50; ++i) {
    Rng rng(1, "t", i);
    const Network network = d.space.lower(d.space.sample_canonical(rng));
    const auto estimate = table->estimate(network, {});
    ASSERT_TRUE(estimate);
    EXPECT_EQ(estimate->value, true_time(network));
    EXPECT_EQ(*table->value(network, {}), estimate->value);
    EXPECT_EQ(estimate->interpolated, 0U);
    EXPECT_LT(estimate->low, estimate->value);
    EXPECT_GT(estimate->high, estimate->value);
  }
}

TEST(LatencyTable, TakesAnIntegerKernelWithABiasForTheOneWithoutAndNoOtherWay) {
  Device d = device_with();
  for (const bool integer : {true, false}) {
    d.session.info.precision = integer ? "int8" : "fp32";
    const auto table = LatencyTable::make(d.session);
    ASSERT_TRUE(table);
    std::size_t others = 0;
    for (const Kernel& kernel : d.all) {
      Kernel other = kernel;
      other.anchor.bias = !kernel.anchor.bias;
      const auto found = table->estimate(other), measured = table->estimate(kernel);
      ASSERT_TRUE(measured);
      if (signature(other) == signature(kernel)) continue;
      ++others;
      if (integer) {
        ASSERT_TRUE(found) << signature(other);
        EXPECT_EQ(found->value, measured->value);
        EXPECT_EQ(found->source, EntrySource::measured);
      } else {
        EXPECT_FALSE(found && found->source == EntrySource::measured) << signature(other);
      }
    }
    EXPECT_GT(others, 10U);
  }
}

TEST(LatencyTable, InterpolatesKernelsInsideWhatWasMeasuredAndSaysSo) {
  const Device d = device_with(5);
  const auto table = LatencyTable::make(d.session);
  ASSERT_TRUE(table);
  std::size_t inside = 0, covered = 0, outside = 0;
  for (std::size_t i = 0; i < d.all.size(); i += 5) {
    const auto one = table->estimate(d.all[i]);
    if (!one) {
      ++outside;
      EXPECT_THAT(one.error().message, HasSubstr("does not cover"));
      continue;
    }
    ++inside;
    EXPECT_EQ(one->source, EntrySource::interpolated);
    EXPECT_NEAR(one->value / law(d.all[i]), 1, 0.05) << one->signature;
    covered += one->low <= law(d.all[i]) * 1.0001 && law(d.all[i]) <= one->high * 1.0001;
  }
  EXPECT_GT(inside, d.all.size() / 10);
  EXPECT_GT(outside, 0U);
  EXPECT_GE(covered * 10, inside * 8);
}

TEST(LatencyTable, NeverPutsALargerKernelBelowASmallerOne) {
  // Same family, noisy measurements at some widths; estimates in between must rise with the width.
  Session session{{"s", "device", "p", "c", "int8", "ns", "tiny", ""}, {}};
  const auto kernel = [](int channels) {
    return *parse_signature("conv k1 s1 p0 g1 16x8x8->" + std::to_string(channels) + "x8x8 bn relu6 w8a8 i8");
  };
  for (int c = 8; c <= 128; c += 8) {
    KernelRecord r = record_of(kernel(c));
    r.median *= c % 16 == 0 ? 1.02 : 1.0;
    session.kernels.push_back(r);
  }
  const auto table = LatencyTable::make(session);
  ASSERT_TRUE(table);
  double before = 0;
  for (int c = 8; c <= 128; c += 8) {
    const double measured = table->estimate(kernel(c))->value;
    const double between = c < 128 ? table->estimate(kernel(c + 4))->value : HUGE_VAL;
    EXPECT_LE(before, measured);
    EXPECT_LE(measured, between);
    before = c < 128 ? between : before;
  }
}

TEST(LatencyTable, RefusesEmptySessionsAndImpossibleTimes) {
  Device d = device_with();
  Session empty = d.session;
  empty.kernels.clear();
  EXPECT_THAT(LatencyTable::make(empty).error().message, HasSubstr("no measured kernel"));
  for (const double bad : {0.0, -1.0, std::nan("")}) {
    Session broken = d.session;
    broken.kernels[3].median = bad;
    const auto table = LatencyTable::make(broken);
    ASSERT_FALSE(table);
    EXPECT_EQ(table.error().where, broken.kernels[3].signature);
  }
}

// Compiled for search: the same bits as summing the network's kernels, and the true ends of the space.
void expect_equal_bits(const SearchSpace& space, const LatencyTable& table, int networks) {
  const std::vector<std::string> names{"latency"};
  const auto compiled = search::compile_additive(
      space, [&](const Genotype& g, std::span<double> out) { out[0] = *table.value(space.lower(g), {}); },
      names, {.tolerance = 0});
  ASSERT_TRUE(compiled[0]) << compiled[0].error().message;
  const auto reach = search::range(space, *compiled[0]);
  ASSERT_TRUE(reach);
  EXPECT_EQ(reach->min, *table.value(space.lower(reach->at_min), {}));
  EXPECT_EQ(reach->max, *table.value(space.lower(reach->at_max), {}));
  for (int i = 0; i < networks; ++i) {
    Rng rng(2, "c", static_cast<std::uint64_t>(i));
    const Genotype g = space.sample_canonical(rng);
    const double value = (*compiled[0])(g);
    ASSERT_EQ(value, *table.value(space.lower(g), {}));
    EXPECT_GE(value, reach->min);
    EXPECT_LE(value, reach->max);
  }
}

TEST(LatencyTable, CompilesToAnAdditiveCostOfTheSameBits) {
  // Times as a device gives them, nothing round.
  Device d = device_with();
  for (std::size_t i = 0; i < d.session.kernels.size(); ++i)
    d.session.kernels[i].median *= 1 + 0.01 * std::sin(static_cast<double>(i));
  const auto full = LatencyTable::make(d.session);
  ASSERT_TRUE(full);
  expect_equal_bits(d.space, *full, 300);
  // Kernels that the others can tell are left out: now they are interpolated.
  for (std::size_t i = 0; i < d.all.size(); i += 3) {
    d.session.kernels[i].failure = "left out";
    const auto without = LatencyTable::make(d.session);
    if (!without || !without->estimate(d.all[i])) d.session.kernels[i].failure.clear();
  }
  for (std::size_t i = 0; i < d.all.size(); ++i) {
    const auto without = LatencyTable::make(d.session);
    ASSERT_TRUE(without);
    if (!without->estimate(d.all[i])) d.session.kernels[i].failure.clear();
  }
  const auto table = LatencyTable::make(d.session);
  ASSERT_TRUE(table);
  EXPECT_LT(table->size() + 5, full->size());
  expect_equal_bits(d.space, *table, 300);
}

TEST(LatencyTable, CompilesOnceForAllToTheSameBits) {
  const SearchSpace space = *load_space("ofa-mbv3-w1.0", {.resolutions = {128, 192}});
  Session session{{"s", "device", "p", "c", "fp32", "ns", "ofa", ""}, {}};
  for (const Kernel& k : reachable_kernels(space, {}, {32, 32}, {.random_networks = 200}).kernels) {
    session.kernels.push_back(record_of(k));
    session.kernels.back().median *= 1.0123456789;
  }
  const auto table = LatencyTable::make(session);
  ASSERT_TRUE(table);
  expect_equal_bits(space, *table, 200);
}

const std::string kOfaYaml =
    "Conv-input:224x224x3-output:112x112x16:\n  mean: 0.52\n  count: 10\n"
    "expanded_conv-input:112x112x16-output:112x112x16: {count: 3, mean: 1.25}\n";

TEST(OfaYaml, ReadsBothWaysOfWritingAnEntry) {
  const auto session = read_ofa_yaml(kOfaYaml, "t.yaml");
  ASSERT_TRUE(session) << to_string(session.error());
  ASSERT_EQ(session->kernels.size(), 2U);
  EXPECT_EQ(session->kernels[0].median, 520000);
  EXPECT_EQ(session->kernels[1].median, 1250000);
  EXPECT_THAT(to_string(read_ofa_yaml("a:\n  mean: -1\n", "t.yaml").error()),
              HasSubstr("t.yaml:2: error: mean"));
  EXPECT_THAT(to_string(read_ofa_yaml("a:\n  mean: nan\n", "t.yaml").error()),
              HasSubstr("t.yaml:2: error: mean"));
  EXPECT_THAT(to_string(read_ofa_yaml("a:\n  count: 1\n", "t.yaml").error()), HasSubstr("none for a"));
  EXPECT_THAT(to_string(read_ofa_yaml("", "t.yaml").error()), HasSubstr("at least one key"));
}

// Whatever the bytes are, reading ends in a table of positive times or in one line that names the file.
TEST(Readers, SurviveDamagedTablesAndSessions) {
  Device d = device_with();
  d.session.kernels.resize(6);
  std::string lines = to_line(d.session.info);
  for (const KernelRecord& r : d.session.kernels) lines += to_line(r);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    Rng rng(8, "damaged-readers", i);
    for (const bool yaml : {true, false}) {
      std::string bad = yaml ? kOfaYaml : lines;
      for (std::uint64_t k = 1 + rng.below(4); k > 0; --k)
        bad[rng.below(bad.size())] = static_cast<char>(rng.below(256));
      if (rng.chance(0.2)) bad.resize(rng.below(bad.size()));
      const auto session = yaml ? read_ofa_yaml(bad, "f") : parse_session(bad, "f");
      if (!session) {
        EXPECT_EQ(session.error().message.find('\n'), std::string::npos);
        continue;
      }
      const auto table = LatencyTable::make(*session);
      if (!table) continue;
      for (const Kernel& k : d.all) {
        const auto one = table->estimate(k);
        if (one) {
          EXPECT_TRUE(std::isfinite(one->value) && one->value > 0);
        }
        break;
      }
    }
  }
}

// Networks whose whole takes more than their kernels, in a way each form can or cannot express.
std::pair<std::vector<SumFeatures>, std::vector<double>> wholes(double factor, double constant,
                                                                double per_kernel) {
  std::vector<SumFeatures> sums;
  std::vector<double> times;
  for (std::uint64_t i = 0; i < 40; ++i) {
    Rng rng(3, "wholes", i);
    sums.push_back({rng.uniform(1e5, 1e6), std::floor(rng.uniform(10, 60))});
    times.push_back((constant + factor * sums.back().sum + per_kernel * sums.back().kernels) *
                    rng.uniform(0.995, 1.005));
  }
  return {sums, times};
}

TEST(Calibration, ChoosesTheSimplestFormThatExplainsTheWhole) {
  const struct {
    double factor, constant, per_kernel;
    const char* form;
  } cases[] = {{1, 0, 0, "sum"},
               {1.1, 0, 0, "factor"},
               {1.05, 90000, 0, "affine"},
               {1.02, 5000, 3000, "affine+kernels"}};
  for (const auto& c : cases) {
    const auto [sums, times] = wholes(c.factor, c.constant, c.per_kernel);
    const auto fit = fit_calibration(sums, times);
    ASSERT_TRUE(fit);
    EXPECT_EQ(fit->form, c.form);
    EXPECT_EQ(fit->evidence.size(), 4U);
    std::size_t inside = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const double p = (*fit)(sums[i]);
      EXPECT_NEAR(p / times[i], 1, 0.02);
      inside += times[i] >= p / (1 + fit->spread) && times[i] <= p * (1 + fit->spread);
    }
    EXPECT_GE(inside, 34U);
  }
}

TEST(Calibration, SurvivesItsFileAndRefusesDamagedOnes) {
  const auto [sums, times] = wholes(1.05, 100, 0);
  const auto fit = fit_calibration(sums, times);
  ASSERT_TRUE(fit);
  const std::string text = save_calibration(*fit);
  const auto back = load_calibration(text, "c");
  ASSERT_TRUE(back);
  EXPECT_EQ(save_calibration(*back), text);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    Rng rng(4, "damage", i);
    std::string damaged = text;
    damaged[rng.below(damaged.size())] = static_cast<char>(rng.below(256));
    EXPECT_TRUE(damaged == text || !load_calibration(damaged, "c"));
  }
  EXPECT_FALSE(load_calibration("", "c"));
  EXPECT_THAT(load_calibration(text + "x", "c").error().where, HasSubstr("c"));
}

// Wholes whose kernels overlap the more the larger the depthwise share is: no linear form can express that.
TEST(Calibration, TreesOrNetworksAreTakenWhereNoLinearFormFits) {
  std::vector<SumFeatures> sums;
  std::vector<double> times;
  for (std::uint64_t i = 0; i < 120; ++i) {
    Rng rng(5, "bent wholes", i);
    const double depthwise = rng.uniform(0, 0.6);
    sums.push_back({rng.uniform(1e5, 1e6),
                    std::floor(rng.uniform(10, 60)),
                    {0.9 - depthwise, depthwise, 0.1, 0, 0, 14, 9}});
    times.push_back(sums.back().sum * (depthwise > 0.3 ? 0.6 : 1.2) * rng.uniform(0.99, 1.01));
  }
  const auto fit = fit_calibration(sums, times);
  ASSERT_TRUE(fit) << to_string(fit.error());
  ASSERT_EQ(fit->evidence.size(), 6U);
  EXPECT_TRUE(fit->form == "trees" || fit->form == "mlp") << fit->form;
  EXPECT_LT(fit->evidence[4].mape, 0.3 * fit->evidence[3].mape);
  const std::string text = save_calibration(*fit);
  const auto back = load_calibration(text, "c");
  ASSERT_TRUE(back) << to_string(back.error());
  for (const SumFeatures& f : sums) EXPECT_EQ((*back)(f), (*fit)(f));
  EXPECT_EQ(save_calibration(*back), text);
}

TEST(Calibration, NeedsEnoughNetworksWithPositiveTimes) {
  const auto [sums, times] = wholes(1, 0, 0);
  EXPECT_FALSE(fit_calibration(std::span(sums).first(4), std::span(times).first(4)));
  std::vector<double> bad = times;
  bad[7] = -1;
  EXPECT_THAT(fit_calibration(sums, bad).error().message, HasSubstr("positive"));
}

}  // namespace
}  // namespace nas::latency
