#include "results/store.h"

#include <fstream>
#include <thread>

#include "results/catalog.h"
#include "results/measurements.h"
#include "results/runs.h"
#include "results/samples.h"
#include "results/schema.h"
#include "results/tables.h"
#include "space/base/file.h"
#include "space/base/rng.h"
#include "tests/results/fixture.h"

namespace nas::results {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class StoreTest : public ProjectTest {};

TEST_F(StoreTest, IsMadeOnFirstUseAndKeepsWhatItWasGiven) {
  Id id = 0;
  {
    Store store = open();
    id = need(keep(store, Dataset{.name = "flowers",
                                  .kind = "imagefolder",
                                  .root = "/data/flowers",
                                  .train = 10,
                                  .test = 3,
                                  .classes = R"(["a","b"])",
                                  .fingerprint = "f1"}));
    EXPECT_EQ(id, need(keep(store, Dataset{.name = "again", .fingerprint = "f1"})));
  }
  Store reader = open_reader();
  const Dataset dataset = need(get_dataset(reader, id));
  EXPECT_EQ(dataset.name, "flowers");
  EXPECT_EQ(dataset.train, 10);
  EXPECT_EQ(dataset.test, 3);
  EXPECT_GT(dataset.created, 1'500'000'000'000);
  expect_clean(reader);
}

TEST_F(StoreTest, MadeByManyThreadsAtOnceIsOneStore) {
  std::vector<std::thread> threads;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&] {
      auto store = Store::open(project_);
      if (store && keep(*store, Space{.name = "s", .json = "{}"})) ++opened;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(opened, 16);
  Store store = open_reader();
  EXPECT_EQ(need(list_spaces(store)).size(), 1u);
  for (const auto& entry : std::filesystem::directory_iterator(project_))
    EXPECT_THAT(entry.path().filename().string(), testing::Not(HasSubstr(".new")));
}

TEST_F(StoreTest, AReaderCannotWriteAndAnAbsentStoreIsNotMadeByLooking) {
  auto absent = Store::open(project_, {.access = Access::read});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind, ErrorKind::usage);
  EXPECT_FALSE(std::filesystem::exists(project_));
  { Store store = open(); }
  Store reader = open_reader();
  const auto written = keep(reader, Space{.name = "s", .json = "{}"});
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("may only be read"));
}

TEST_F(StoreTest, ATransactionRollsBackUnlessCommittedAlsoWhenNested) {
  Store store = open();
  {
    auto outer = need(store.begin());
    need(keep(store, Space{.name = "kept", .json = "1"}));
    {
      auto inner = need(store.begin());
      need(keep(store, Space{.name = "dropped", .json = "2"}));
    }
    EXPECT_EQ(need(list_spaces(store)).size(), 1u);
    need(outer.commit());
  }
  {
    auto outer = need(store.begin());
    need(keep(store, Space{.name = "dropped", .json = "3"}));
  }
  const auto spaces = need(list_spaces(store));
  ASSERT_EQ(spaces.size(), 1u);
  EXPECT_EQ(spaces[0].name, "kept");
}

TEST_F(StoreTest, RefusesNetworkFileSystemsWithTheReasonAndTheWayOut) {
  std::filesystem::create_directories(project_);
  for (const std::int64_t magic : {0x6969, 0x517B, 0x0BD00BD0, 0x01021997}) {
    const auto store = Store::open(project_, {.file_system = magic});
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().kind, ErrorKind::store);
    EXPECT_THAT(store.error().message, HasSubstr("network file system"));
    EXPECT_THAT(store.error().message, HasSubstr("hwnas db merge"));
  }
  EXPECT_FALSE(network_file_system(0xEF53, "ext4"));
  EXPECT_TRUE(network_file_system(0x65735546, "fuse.sshfs"));
  EXPECT_FALSE(network_file_system(0x65735546, "fuseblk"));
}

TEST_F(StoreTest, RefusesAStoreOfANewerVersionAndLeavesItAlone) {
  {
    Store store = open();
    need(store.db().script("PRAGMA user_version = 999"));
  }
  const std::string before = need(read_file(project_ / kStoreFile));
  for (const Access access : {Access::read, Access::write}) {
    const auto store = Store::open(project_, {.access = access});
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().kind, ErrorKind::store);
    EXPECT_THAT(store.error().message, HasSubstr("format 999"));
  }
  EXPECT_EQ(need(read_file(project_ / kStoreFile)), before);
}

TEST_F(StoreTest, RefusesFilesThatAreNoStore) {
  need(write_file(project_ / kStoreFile, std::string(5000, 'x')));
  const auto text = Store::open(project_);
  ASSERT_FALSE(text);
  EXPECT_THAT(text.error().message, HasSubstr("damaged or no store"));
  std::filesystem::remove(project_ / kStoreFile);
  {
    auto other = need(Database::open(project_ / kStoreFile, Database::Mode::create, std::chrono::seconds(1)));
    need(other->script("CREATE TABLE t(a)"));
  }
  const auto foreign = Store::open(project_);
  ASSERT_FALSE(foreign);
  EXPECT_THAT(foreign.error().message, HasSubstr("another program"));
}

TEST_F(StoreTest, KeepsObjectsUnderTheirHashAndNoticesAChangedOne) {
  Store store = open();
  const std::string name = need(store.put_object("weights"));
  EXPECT_EQ(name, sha256("weights"));
  EXPECT_EQ(need(store.put_object("weights")), name);
  need(write_file(project_ / "source.bin", "other"));
  const std::string other = need(store.put_object_file(project_ / "source.bin"));
  EXPECT_EQ(need(store.get_object(other)), "other");
  std::ofstream(store.object_path(name), std::ios::app) << "!";
  const auto changed = store.get_object(name);
  ASSERT_FALSE(changed);
  EXPECT_THAT(changed.error().message, HasSubstr("SHA-256"));
}

TEST_F(StoreTest, ChecksFindAChangedObjectAWrongCounterAndAMissingParent) {
  Store store = open();
  const Id space = need(keep(store, Space{.name = "s", .json = "{}"}));
  const Id net = need(keep(store, Supernet{.name = "n", .space_id = space}));
  need(keep(store, Checkpoint{.supernet_id = net, .stage = "full", .object = need(store.put_object("w"))}));
  const Id run = need(add_run(store, {.name = "r", .kind = "search"}));
  expect_clean(store);
  std::ofstream(store.object_path(sha256("w"))) << "v";
  need(store.db().run("UPDATE run SET candidates=7 WHERE id=?", run));
  need(store.db().script("PRAGMA foreign_keys=OFF; UPDATE supernet SET space_id=77"));
  EXPECT_THAT(need(check(store)), testing::UnorderedElementsAre(HasSubstr("foreign key: row 1 of supernet"),
                                                                HasSubstr("counts 7"), HasSubstr("SHA-256")));
}

TEST_F(StoreTest, MeasurementsComeBackWithTheirRawSamples) {
  Store store = open();
  const Id device = need(keep(store, Device{.name = "board", .kind = "mcu"}));
  const Id session = need(open_session(store, {.device_id = device, .unit = "cycles"}));
  need(add_kernel_times(
      store,
      {{.session_id = session, .signature = "conv b", .time = {.n = 2, .median = 7, .samples = {7, 8}}},
       {.session_id = session, .signature = "conv a", .time = {.n = 1, .median = 5}}}));
  need(add_kernel_times(
      store,
      {{.session_id = session, .signature = "conv a", .time = {.n = 1, .median = 6, .samples = {6}}}}));
  const auto rows = need(kernel_times(store, session, true));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].signature, "conv a");
  EXPECT_EQ(rows[0].time.median, 6);
  EXPECT_THAT(rows[1].time.samples, ElementsAre(7, 8));
  const Id arch = make_architectures(store, 1)[0];
  NetworkTime network;
  network.session_id = session;
  network.arch_id = arch;
  network.ram_bytes = 100;
  network.time.median = 9;
  need(add_network_times(store, {network}));
  EXPECT_EQ(need(network_times(store, session))[0].ram_bytes, 100);
  EXPECT_EQ(need(network_times(store, session))[0].time.median, 9);
  need(close_session(store, session, "done"));
  EXPECT_EQ(need(get_session(store, session)).state, "done");
  expect_clean(store);
}

TEST(Samples, RoundTripAndTakeTwoBytesEachWhereTheyAreAlike) {
  const std::vector<std::int64_t> odd{0, -1, INT64_MAX, INT64_MIN, 5};
  EXPECT_EQ(need(unpack_samples(pack_samples(odd))), odd);
  Rng rng(1, "samples");
  std::vector<std::int64_t> alike(1000);
  for (auto& sample : alike) sample = 1'000'000 + static_cast<std::int64_t>(rng.below(4000));
  const Bytes8 packed = pack_samples(alike);
  EXPECT_EQ(need(unpack_samples(packed)), alike);
  EXPECT_LT(packed.size(), 2010u);
}

TEST(Samples, DamagedBlobsAreErrorsNeverCrashes) {
  Rng rng(2, "fuzz");
  const Bytes8 good = pack_samples(std::vector<std::int64_t>{100, 200, 300, -7});
  for (int i = 0; i < 200000; ++i) {
    Bytes8 bad = good;
    for (std::uint64_t k = rng.below(3); k < 3; ++k)
      bad[rng.below(bad.size())] = static_cast<std::uint8_t>(rng.below(256));
    bad.resize(rng.below(bad.size() + 1));
    const auto result = unpack_samples(bad);
    if (result) {
      ASSERT_LE(result->size(), bad.size());
    }
  }
}

TEST_F(StoreTest, RunsAreFoundByNameNumberAndLatest) {
  Store store = open();
  const Id first = need(add_run(store, {.name = "mcu", .kind = "search", .config = "{}"}));
  const Id second = need(add_run(store, {.kind = "train"}));
  EXPECT_EQ(need(find_run(store, "mcu")).id, first);
  EXPECT_EQ(need(find_run(store, std::to_string(second))).name, "train-2");
  EXPECT_EQ(need(find_run(store, "latest")).id, second);
  EXPECT_EQ(need(get_run(store, first)).config_sha256, sha256("{}"));
  EXPECT_THAT(find_run(store, "mc").error().message, HasSubstr("did you mean mcu"));
  EXPECT_THAT(add_run(store, {.name = "mcu"}).error().message, HasSubstr("exists"));
  EXPECT_FALSE(add_run(store, {.name = "12"}));
  need(set_run_state(store, first, RunState::running));
  need(set_run_state(store, first, RunState::done));
  const auto run = need(get_run(store, first));
  EXPECT_TRUE(run.started && run.ended);
  EXPECT_EQ(run.state, RunState::done);
}

TEST_F(StoreTest, CandidatesAreCountedOnceAndTheFrontHoldsOnlyFeasibleOnes) {
  Store store = open();
  const auto archs = make_architectures(store, 10);
  EXPECT_EQ(make_architectures(store, 12)[9], archs[9]);
  const Id run = need(add_run(store, {.name = "r", .kind = "search"}));
  std::vector<Candidate> rows(10);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = {.number = static_cast<std::int64_t>(i),
               .arch_id = archs[i],
               .state = i % 2 == 0 ? CandidateState::ok : CandidateState::infeasible,
               .violation = i % 2 == 0 ? 0 : 0.5,
               .accuracy = 0.1 * static_cast<double>(i),
               .latency_ms = i == 3 ? std::optional<double>() : 2.5};
  need(add_candidates(store, run, rows));
  need(add_candidates(store, run, rows));
  need(set_front(store, run, std::vector<std::int64_t>{0, 8}, 8));
  need(set_front(store, run, std::vector<std::int64_t>{2, 8}, 8));
  EXPECT_THAT(set_front(store, run, std::vector<std::int64_t>{1}, {}).error().message,
              HasSubstr("not feasible"));
  const auto stored = need(get_run(store, run));
  EXPECT_EQ(stored.candidates, 10);
  EXPECT_EQ(stored.feasible, 5);
  const auto best = need(front(store, run));
  ASSERT_EQ(best.size(), 2u);
  EXPECT_EQ(best[1].accuracy, 0.8);
  EXPECT_FALSE(need(get_candidate(store, run, 3)).latency_ms);
  EXPECT_EQ(need(list_candidates(store, run, 4, 3)).size(), 3u);
  expect_clean(store);
}

TEST_F(StoreTest, AnArchitectureIsFoundByAnUnambiguousPrefix) {
  Store store = open();
  make_architectures(store, 2000);
  const std::string name = to_string(hash_text("77"));
  for (const std::size_t digits : {8, 9, 31, 32})
    EXPECT_EQ(need(find_architecture(store, name.substr(0, digits))).text, "a=77");
  EXPECT_THAT(find_architecture(store, "zzzz").error().message, HasSubstr("hexadecimal"));
  EXPECT_FALSE(find_architecture(store, "00000000000000000000000000000000"));
  const Id space = need(list_spaces(store))[0].id;
  need(keep_architectures(store,
                          std::vector<Architecture>{{.space_id = space, .hash = {0xabcd000000000000, 1}},
                                                    {.space_id = space, .hash = {0xabcd000000000000, 2}}}));
  EXPECT_THAT(find_architecture(store, "abcd00000").error().message, HasSubstr("several"));
}

TEST_F(StoreTest, EvaluationsAreACacheSnapshotsKeepTheLastAndCurvesTheNaN) {
  Store store = open();
  const auto archs = make_architectures(store, 3);
  const Id net = need(keep(store, Supernet{.name = "n", .space_id = 1}));
  const Id weights = need(keep(store, Checkpoint{.supernet_id = net, .stage = "full"}));
  const Evaluation row{.arch_id = archs[1], .checkpoint_id = weights, .resolution = 32, .accuracy = 0.5};
  need(add_evaluations(store, std::vector<Evaluation>{row, row}));
  EXPECT_EQ(need(find_evaluation(store, row))->accuracy, 0.5);
  Evaluation other = row;
  other.resolution = 64;
  EXPECT_FALSE(need(find_evaluation(store, other)));
  const Id run = need(add_run(store, {.kind = "search"}));
  for (std::uint8_t step = 0; step < 9; ++step) need(add_snapshot(store, run, step, {step, 1}, 3));
  EXPECT_THAT(need(latest_snapshot(store, run))->state, ElementsAre(8, 1));
  EXPECT_EQ(need(store.db().value<std::int64_t>("SELECT count(*) FROM snapshot")), 3);
  need(add_curve(store, std::vector<CurvePoint>{{.owner_id = run, .name = "loss", .step = 1, .value = NAN},
                                                {.owner_id = run, .name = "loss", .step = 0, .value = 2}}));
  const auto curve = need(list_curve(store, CurveOwner::run, run));
  EXPECT_EQ(curve[0].value, 2);
  EXPECT_TRUE(std::isnan(curve[1].value));
  need(remove_run(store, run));
  EXPECT_EQ(need(store.db().value<std::int64_t>("SELECT count(*) FROM curve")), 0);
  expect_clean(store);
}

}  // namespace
}  // namespace nas::results
