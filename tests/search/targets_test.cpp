#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tbb/parallel_for.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "latency/measured_networks.h"
#include "search/additive_fit.h"
#include "search/evolution.h"
#include "search/exact.h"
#include "search/feasibility.h"
#include "tests/search/fixtures.h"
#include "tests/search/separable_error.h"

namespace nas::search {
namespace {

// 2 x 10^19 networks, nine devices, twelve latency targets each: the exact front of every device and a search
// for every target, which must come close to it.
TEST(Targets, TwelveOnNineDevicesWithExactFrontsEndWithinAMinute) {
  const char* set = std::getenv("HWNAS_DATA");
  const std::filesystem::path folder = set != nullptr ? set : HWNAS_SOURCE_DIR "/../shared/data";
  const auto file = folder / "latency" / "help_ofa.csv";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is absent (set HWNAS_DATA)";
  const auto before = std::chrono::steady_clock::now();
  const std::clock_t cpu_before = std::clock();
  const SearchSpace space = *load_space("ofa-mbv3-w1.0");
  const std::vector<std::string> devices{"2080ti_1",    "2080ti_32", "2080ti_64", "titan_xp_1", "titan_xp_32",
                                         "titan_xp_64", "v100_1",    "v100_32",   "v100_64"};
  const Additive error = test::separable_error(space, 1);
  constexpr std::size_t kTargets = 12;
  std::vector<double> gap(devices.size() * kTargets);
  std::vector<std::size_t> points(devices.size());
  std::vector<double> mape(devices.size());
  tbb::parallel_for(std::size_t{0}, devices.size(), [&](std::size_t d) {
    const auto measured = latency::read_measured_networks(space, file, devices[d]);
    ASSERT_TRUE(measured) << measured.error().message;
    const auto fit = fit_latency(space, measured->networks, measured->values);
    ASSERT_TRUE(fit) << fit.error().message;
    mape[d] = fit->held_out.mape;
    const Additive latency = fit->cost;
    const std::vector<Additive> costs{latency, error};
    const auto front = exact_front(space, costs);
    ASSERT_TRUE(front) << front.error().message;
    points[d] = front->size();
    const double low = front->values(0)[0], high = front->values(front->size() - 1)[0];
    tbb::parallel_for(std::size_t{0}, kTargets, [&](std::size_t t) {
      const double limit = low + (high - low) * (static_cast<double>(t) + 0.5) / kTargets;
      double optimum = 0;
      for (std::size_t i = 0; i < front->size() && front->values(i)[0] <= limit; ++i)
        optimum = front->values(i)[1];
      const auto judge =
          *Judge::make({{{"error"}}, {{"latency_ms", {}, limit}}}, {{"error", "%"}, {"latency_ms", "ms"}});
      const std::vector<KnownCost> known{{"latency_ms", latency}};
      const auto feasible = check_feasible(space, judge, known);
      ASSERT_TRUE(feasible) << feasible.error().message;
      Strategy strategy("ofa", OfaEvolution(make_setting(space, judge, 1, feasible->screen), OfaOptions{}));
      RunOptions options = test::evaluations(5000);
      options.track_hypervolume = false;
      const auto run =
          run_search(space, judge, test::additive_evaluator({"error", "latency_ms"}, {error, latency}),
                     strategy, options);
      ASSERT_TRUE(run && run->history.best());
      gap[d * kTargets + t] = run->history.values(*run->history.best())[0] - optimum;
    });
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
  // Processor time, because a loaded machine has no say in this: a quarter of it is what four cores need.
  const double cpu = static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC;
  EXPECT_LT(cpu / 4, 60);
  for (std::size_t d = 0; d < devices.size(); ++d) {
    double mean = 0, worst = 0;
    for (std::size_t t = 0; t < kTargets; ++t) {
      EXPECT_GE(gap[d * kTargets + t], -1e-6) << "better than the exact front";
      mean += gap[d * kTargets + t] / kTargets;
      worst = std::max(worst, gap[d * kTargets + t]);
    }
    // Seeds and data are fixed. At batch 1 the cards' own overhead leaves a sum of terms 5 to 9 % off.
    EXPECT_LT(mean, 0.6);
    EXPECT_LT(worst, 1.8);
    EXPECT_LT(mape[d], 10);
    std::printf(
        "%-12s model MAPE %.1f %%, front %5zu points, evolution's gap mean %.3f worst %.3f (error rate, "
        "%%)\n",
        devices[d].c_str(), mape[d], points[d], mean, worst);
  }
  std::printf("all in %.1f s, %.1f s of processor time\n", took.count(), cpu);
}

}  // namespace
}  // namespace nas::search
