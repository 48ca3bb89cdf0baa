// Networks of low rank out of a supernet that holds every layer whole.
#include <tbb/global_control.h>

#include <cmath>

#include "space/low_rank.h"
#include "supernet/evaluate.h"
#include "supernet/path_gradients.h"
#include "supernet/train.h"
#include "tests/supernet/test_support.h"

namespace nas::supernet {
namespace {

SearchSpace rank_space() { return space_of(HWNAS_SOURCE_DIR "/examples/spaces/tiny-rank.json", {16}); }

at::Tensor matrix_of(const NamedTensor& t) {
  return at::tensor(t.values).view({t.shape[0], t.shape[1]}).to(at::kDouble);
}

// The extracted network of full rank with the weights of its layers replaced by their nearest ones of the
// ranks, by LAPACK's decomposition in double.
TrainedNetwork by_lapack(TrainedNetwork whole, const LayerRanks& ranks) {
  for (const auto& [layer, rank] : ranks) {
    auto& tensor = const_cast<NamedTensor&>(*whole.find(static_cast<std::size_t>(layer), "weight"));
    const auto [u, s, v] = at::linalg_svd(matrix_of(tensor), false);
    const at::Tensor low = at::matmul(u.narrow(1, 0, rank) * s.narrow(0, 0, rank), v.narrow(0, 0, rank));
    const at::Tensor flat = low.to(at::kFloat).contiguous();
    std::copy_n(flat.data_ptr<float>(), flat.numel(), tensor.values.begin());
  }
  return whole;
}

TEST(InheritedFactors, ComputeWhatTheWholeNetworkComputesWithItsNearestWeightsOfThatRank) {
  const SearchSpace space = rank_space();
  const Supernet supernet = shaken_supernet(space);
  const BatchList recalibration = random_list(2, 24, 1);
  Batch batch;
  random_list(1, 8, 2).build(16, 0, batch);
  std::size_t factors = 0;
  for (std::uint64_t i = 0; i < 12; ++i) {
    Rng rng(1, "ranks", 0, i);
    const Network network = space.lower(i == 0 ? space.smallest() : space.sample(rng));
    const Joined whole = joined(network);
    const auto thin = extract(supernet, network, recalibration, {});
    const auto full = extract(supernet, whole.network, recalibration, {});
    ASSERT_TRUE(thin && full) << to_string(thin.error());
    const TrainedNetwork wanted = by_lapack(*full, whole.ranks);
    std::size_t before = 0;
    for (const auto& [layer, rank] : whole.ranks) {
      const std::size_t at = static_cast<std::size_t>(layer) + before++;
      const at::Tensor product =
          at::matmul(matrix_of(*thin->find(at + 1, "weight")), matrix_of(*thin->find(at, "weight")));
      EXPECT_EQ(thin->find(at, "weight")->shape[0], rank);
      EXPECT_LT(
          largest_difference(product, matrix_of(*wanted.find(static_cast<std::size_t>(layer), "weight"))),
          1e-6);
    }
    factors += before;
    // Statistics taken anew with those weights, then the same answers.
    auto single = Supernet::of(wanted);
    ASSERT_TRUE(single);
    const auto fresh = extract(*single, wanted.network, recalibration, {});
    ASSERT_TRUE(fresh);
    const auto ours = logits(*thin, batch.pixels), theirs = logits(*fresh, batch.pixels);
    ASSERT_TRUE(ours && theirs);
    for (std::size_t k = 0; k < ours->size(); ++k)
      EXPECT_NEAR((*ours)[k], (*theirs)[k], 1e-5 * (1 + std::fabs((*theirs)[k]))) << i;
  }
  EXPECT_GT(factors, 12u);
}

TEST(InheritedFactors, OfFullRankAreTheSharedWeightsThemselves) {
  const SearchSpace space = rank_space(), plain = space_of("tiny", {16});
  auto ours = Supernet::make(space), theirs = Supernet::make(plain);
  ASSERT_TRUE(ours && theirs);
  EXPECT_EQ(ours->parameters(), theirs->parameters());  // names, shapes and initial values
  const BatchList list = random_list(2, 16, 1);
  const auto a = extract(*theirs, space.lower(space.largest()), list, {});
  const auto b = extract(*theirs, plain.lower(plain.largest()), list, {});
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->tensors, b->tensors);
}

TEST(InheritedFactors, LeaveTheSupernetByteIdenticalForAnyThreadsAndCompany) {
  const SearchSpace space = rank_space();
  const Supernet supernet = shaken_supernet(space);
  const auto before = supernet.parameters();
  std::vector<Network> networks;
  for (std::uint64_t i = 0; i < 6; ++i) {
    Rng rng(2, "company", 0, i);
    networks.push_back(space.lower(i < 2 ? space.smallest() : space.sample(rng)));
  }
  const BatchList recalibration = random_list(3, 16, 1), scoring = random_list(2, 32, 2);
  const auto together = evaluate(supernet, networks, recalibration, scoring);
  ASSERT_TRUE(together) << to_string(together.error());
  const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  for (std::size_t i = 0; i < networks.size(); ++i) {
    const auto alone = evaluate(supernet, {&networks[i], 1}, recalibration, scoring);
    ASSERT_TRUE(alone);
    EXPECT_EQ((*alone)[0].loss, (*together)[i].loss) << i;
  }
  EXPECT_EQ((*together)[0].loss, (*together)[1].loss);
  EXPECT_EQ(supernet.parameters(), before);
}

TEST(InheritedFactors, TrainOnlyOnceTheyAreANetworkOfTheirOwn) {
  const SearchSpace space = rank_space();
  const auto recipe = parse_recipe(
      R"({"name": "short", "phases": [{"name": "a", "steps": 3, "sampling": "sandwich", "paths": 3,
          "distillation": {"teacher": "in_place"}, "optimizer": {"learning_rate": 0.01}}]})",
      "short.json");
  ASSERT_TRUE(recipe) << to_string(recipe.error());
  const BatchList images = random_list(1, 16, 3);
  const BatchStream stream{10, [&](std::int64_t step, Batch& out) { images.build(16, step, out); }};
  auto supernet = Supernet::make(space);
  const auto trained = train(*supernet, space, *recipe, stream, {});
  ASSERT_TRUE(trained) << to_string(trained.error());
  const Network network = space.lower(space.smallest());
  const auto own = extract(*supernet, network, random_list(1, 16, 1), {});
  ASSERT_TRUE(own);
  auto single = Supernet::of(*own);
  ASSERT_TRUE(single) << to_string(single.error());
  ASSERT_TRUE(train(*single, own->network, *recipe, stream, {}));
  const auto tuned = extract(*single, own->network, random_list(1, 16, 1), {});
  ASSERT_TRUE(tuned);
  const auto first = static_cast<std::size_t>(joined(network).ranks.begin()->first);
  for (const std::size_t factor : {first, first + 1})
    EXPECT_NE(tuned->find(factor, "weight")->values, own->find(factor, "weight")->values);
}

TEST(InheritedFactors, HaveGatesAsOtherChoicesHave) {
  const SearchSpace space = rank_space();
  const Supernet supernet = shaken_supernet(space);
  const Genotype path = space.largest();
  Batch batch;
  random_list(1, 8, 4).build(16, 0, batch);
  // Both genes fill the same stretch: the gates of what the path has now are the same number.
  const std::vector<int> genes{space.find("stage2.block1.rank"), space.find("stage2.block1.expand")};
  const auto found = path_gradients(supernet, space, path, genes, batch);
  ASSERT_TRUE(found) << to_string(found.error());
  const std::vector<double>&rank = (*found)[0].of_choice, &expand = (*found)[1].of_choice;
  ASSERT_EQ(rank.size(), 3u);
  EXPECT_EQ(rank[2], expand[2]);
  EXPECT_NE(rank[0], rank[2]);
  EXPECT_NE(rank[0], rank[1]);
}

}  // namespace
}  // namespace nas::supernet
