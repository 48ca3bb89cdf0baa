#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

// `hwnas space ...` as users type it.
namespace nas::apps {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class SpaceCommands : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  // Exit code; stdout and stderr together in output_. A hang ends in 124.
  int hwnas(const std::string& arguments, const std::string& before = "") {
    output_.clear();
    const std::string command =
        before + "timeout 60 " + HWNAS_PROGRAM + " space " + arguments + " 2>&1 < /dev/null";
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output_.append(buffer, n);
    return WEXITSTATUS(::pclose(pipe));
  }
  json record(const std::string& arguments) {
    EXPECT_EQ(hwnas(arguments + " -f json"), 0) << arguments << "\n" << output_;
    return json::parse(output_, nullptr, false);
  }
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  // One line that says it, exit code 2.
  void expect_refused(const std::string& arguments, const std::string& message) {
    EXPECT_EQ(hwnas(arguments), 2) << arguments << "\n" << output_;
    EXPECT_THAT(output_, HasSubstr(message)) << arguments;
    EXPECT_EQ(std::ranges::count(output_, '\n'), 1) << arguments << "\n" << output_;
  }
  // A definition with one stage; `stage` and `more` are JSON members.
  std::string space(const std::string& stage, const std::string& resolution = "32",
                    const std::string& stem = R"("channels": 8)", const std::string& more = "") {
    return file("space.json", R"({"name": "x", "classes": 2, "resolution": )" + resolution +
                                  R"(, "stem": {)" + stem + R"(}, "stages": [{)" + stage +
                                  R"(}], "head": [{"kind": "pool"}])" + more + "}");
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("hwnas-space-" + std::to_string(::getpid()));
  std::string output_;
};

TEST_F(SpaceCommands, CountOnceForAllExactly) {
  const json count = record("count ofa-mbv3-w1.0");
  EXPECT_EQ(count["genes"], 46);
  EXPECT_EQ(count["architectures"], "21758655492572485851");
  EXPECT_EQ(count["with_resolution"], "543966387314312146275");
}

// The table that Once-for-All publishes: MACs and parameters in millions, three decimals.
TEST_F(SpaceCommands, CostEqualsThePublishedTable) {
  struct Golden {
    const char *space, *uniform;
    int resolution;
    double macs_m, params_m;
  };
  for (const Golden& g : {Golden{"ofa-mbv3-w1.0", "kernel=7,expand=6,depth=4", 224, 566.171, 7.665},
                          Golden{"ofa-mbv3-w1.0", "kernel=7,expand=6,depth=4", 128, 188.248, 7.665},
                          Golden{"ofa-mbv3-w1.0", "kernel=3,expand=3,depth=2", 160, 63.241, 3.411},
                          Golden{"ofa-mbv3-w1.0", "kernel=3,expand=6,depth=4", 192, 319.556, 7.300},
                          Golden{"ofa-mbv3-w1.2", "kernel=7,expand=6,depth=4", 224, 843.101, 10.702},
                          Golden{"ofa-mbv3-w1.2", "kernel=3,expand=3,depth=2", 128, 65.537, 4.602}}) {
    const json cost = record(std::string("cost ") + g.space + " --uniform " + g.uniform + " --resolution " +
                             std::to_string(g.resolution));
    EXPECT_NEAR(cost["macs"].get<double>() / 1e6, g.macs_m, 5.001e-4) << cost;
    EXPECT_NEAR(cost["params"].get<double>() / 1e6, g.params_m, 5.001e-4) << cost;
  }
}

TEST_F(SpaceCommands, LayersSumUpToTheNetwork) {
  const json cost = record("cost ofa-mbv3-w1.0 --max --layers");
  std::int64_t macs = 0, params = 0, weights = 0, peak = 0;
  for (const json& layer : cost["layers"]) {
    macs += layer["macs"].get<std::int64_t>();
    params += layer["params"].get<std::int64_t>();
    weights += layer["weight_bytes"].get<std::int64_t>();
    peak = std::max(peak, layer.value("live_bytes", std::int64_t{0}));
  }
  EXPECT_EQ(cost["macs"], macs);
  EXPECT_EQ(cost["params"], params);
  EXPECT_EQ(cost["weight_bytes"], weights);
  EXPECT_EQ(cost["peak_activation_bytes"], peak);
  EXPECT_EQ(hwnas("cost tiny --layers"), 0);
  EXPECT_THAT(output_, HasSubstr("stage1.block1.expand"));
}

TEST_F(SpaceCommands, AnArchitectureIsTakenAsTextAndFromFiles) {
  const json low = record("cost tiny --min"), high = record("cost tiny --max");
  EXPECT_LT(low["macs"], high["macs"]);
  EXPECT_LT(low["peak_activation_bytes"], high["peak_activation_bytes"]);
  EXPECT_EQ(record("cost tiny"), high);  // the default
  const std::string text = low["arch"].get<std::string>();
  EXPECT_EQ(record("cost tiny --arch '" + text + "'"), low);
  EXPECT_EQ(record("cost tiny --arch " + file("arch.txt", text + "\n")), low);
  // The smallest network: first choice of every gene, one block a stage.
  const std::string genes =
      R"({"resolution": 16, "stage1.depth": 1, "stage1.block1.kernel": 3, "stage1.block1.expand": 2,
          "stage2.depth": 1, "stage2.block1.kernel": 3, "stage2.block1.expand": 2,
          "stage3.depth": 1, "stage3.block1.kernel": 3, "stage3.block1.expand": 2})";
  EXPECT_EQ(record("cost tiny --arch " + file("arch.json", genes)), low);
  EXPECT_NE(record("cost tiny --seed 1")["id"], record("cost tiny --seed 2")["id"]);
}

TEST_F(SpaceCommands, CostSaysWhichRuntimeAndWhichEnergyTableItAssumes) {
  const json plain = record("cost mcunet --min");
  EXPECT_EQ(plain["memory_model"], "plain");
  EXPECT_EQ(plain["energy_table"], "horowitz-45nm");
  EXPECT_EQ(hwnas("cost mcunet --min"), 0);
  EXPECT_THAT(output_,
              testing::AllOf(HasSubstr("energy, modelled"), HasSubstr("coefficients    horowitz-45nm")));
  // Every option that helps a runtime lowers the peak, every buffer and copy raises it.
  const auto peak = [&](const std::string& model) {
    return record("cost mcunet --max --memory " + model)["peak_activation_bytes"].get<std::int64_t>();
  };
  EXPECT_LT(peak("plain,depthwise=lines"), peak("plain"));
  EXPECT_LE(peak("plain,depthwise=free"), peak("plain,depthwise=lines"));
  EXPECT_LT(peak("in-place,overlap=rows"), peak("in-place"));
  EXPECT_LT(peak("in-place,overlap=full"), peak("in-place,overlap=rows"));
  EXPECT_GT(peak("plain,padding=copied"), peak("plain"));
  EXPECT_EQ(peak("in-place,overlap=full"), peak("overlap"));
  expect_refused("cost tiny --memory plian", "did you mean \"plain\"?");
  expect_refused("cost tiny --memory plain,overlp=rows", "did you mean \"overlap\"?");
  expect_refused("cost tiny --memory plain,overlap=row", "overlap must be one of off, rows, full");
  expect_refused("cost tiny --memory plain,im2col=-1", "im2col needs a whole number from 0 to 4096");
  expect_refused("cost tiny --energy nowhere.json", "nowhere.json");
}

TEST_F(SpaceCommands, TheArenaIsListedBlockByBlock) {
  const json cost = record("cost cifar-mbv3 --seed 3 --memory tinyengine,overlap=rows,align=16 --arena");
  std::int64_t top = 0;
  for (const json& block : cost["arena"]) {
    top = std::max(top, block["offset"].get<std::int64_t>() + block["bytes"].get<std::int64_t>());
    EXPECT_EQ(block["offset"].get<std::int64_t>() % 16, 0);
    EXPECT_LE(block["from_step"], block["to_step"]);
  }
  EXPECT_EQ(cost["arena_bytes"], top);
  EXPECT_EQ(cost["arena_bound_bytes"], cost["peak_activation_bytes"]);
  EXPECT_LE(top, cost["peak_activation_bytes"].get<double>() * 1.05);
  EXPECT_EQ(hwnas("cost tiny --arena"), 0);
  EXPECT_THAT(output_, testing::AllOf(HasSubstr("liveness bound"), HasSubstr("stage1.block1.expand")));
}

TEST_F(SpaceCommands, PatchesTradeMemoryForWork) {
  const std::string network = "cost mcunet --max --memory in-place ";
  const json whole = record(network), patched = record(network + "--patches 3");
  EXPECT_LT(patched["patch_peak_bytes"].get<double>(), 0.5 * whole["peak_activation_bytes"].get<double>());
  EXPECT_GT(patched["patch_macs"], whole["macs"]);
  EXPECT_LT(patched["patch_extra_macs"], 0.1);
  const json named =
      record(network + "--patches 3 --patch-split " + patched["patch_split"].get<std::string>());
  EXPECT_EQ(named, patched);
  const json finer =
      record(network + "--patches 6 --patch-split " + patched["patch_split"].get<std::string>());
  EXPECT_LT(finer["patch_stage_bytes"], patched["patch_stage_bytes"]);
  EXPECT_GT(finer["patch_extra_macs"], patched["patch_extra_macs"]);
  const json limited = record(network + "--patch-ram 640KB");
  EXPECT_LE(limited["patch_peak_bytes"], 640 * 1024);
  EXPECT_LE(limited["patch_extra_macs"], patched["patch_extra_macs"]);
  EXPECT_EQ(hwnas(network + "--patch-ram 1KB"), 3);
  EXPECT_THAT(output_, HasSubstr("the lowest peak reached is"));
  expect_refused(network + "--patches 64 --patch-split stage3", "no patch stage can end in a layer");
  expect_refused("cost autoformer-tiny --patches 2", "no layer that can end a patch stage");
}

TEST_F(SpaceCommands, SamplesAreArchitecturesAndTheSameForTheSameSeed) {
  const json drawn = record("sample ofa-mbv3-w1.0 -n 20 --seed 7");
  ASSERT_EQ(drawn.size(), 20u);
  std::set<std::string> different;
  for (const json& one : drawn) different.insert(one["arch"].get<std::string>());
  EXPECT_EQ(different.size(), 20u);
  EXPECT_EQ(record("sample ofa-mbv3-w1.0 -n 20 --seed 7"), drawn);
  EXPECT_NE(record("sample ofa-mbv3-w1.0 -n 20 --seed 8"), drawn);
  const json cost = record("cost ofa-mbv3-w1.0 --arch '" + drawn[3]["arch"].get<std::string>() + "'");
  EXPECT_EQ(cost["id"], drawn[3]["id"]);
  expect_refused("cost hat-wmt --resolution 64", "takes no resolution");
  EXPECT_EQ(hwnas("sample tiny -n 0"), 2);
  EXPECT_EQ(hwnas("sample tiny --seed -1"), 2);
}

TEST_F(SpaceCommands, GenesAreListedWithTheirChoicesAndWhenTheyAreActive) {
  const json genes = record("genes ofa-mbv3-w1.0");
  ASSERT_EQ(genes.size(), 46u);
  EXPECT_EQ(genes[0], json::parse(R"({"gene": "resolution", "key": "r", "active": "always", "choices":
      "128 132 136 140 144 148 152 156 160 164 168 172 176 180 184 188 192 196 200 204 208 212 216 220 224"})"));
  EXPECT_EQ(genes[8], json::parse(R"({"gene": "stage2.block4.kernel", "key": "k", "choices": "3 5 7",
                                      "active": "stage2.depth >= 4"})"));
  const json spaces = record("list");
  EXPECT_EQ(spaces.size(), 16u);
}

TEST_F(SpaceCommands, APictureAndAGraphAreWritten) {
  const std::string to = folder_.string();
  ASSERT_EQ(hwnas("show tiny --min --svg " + to + "/t.svg --dot " + to + "/t.dot"), 0) << output_;
  for (const auto& [name, start] : {std::pair{"t.svg", "<svg"}, std::pair{"t.dot", "digraph \"tiny "}}) {
    std::ifstream in(folder_ / name);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    EXPECT_THAT(text, testing::StartsWith(start));
  }
}

TEST_F(SpaceCommands, UnknownNamesSuggestTheNearest) {
  for (const char* verb : {"count", "cost", "show", "genes", "sample"})
    expect_refused(std::string(verb) + " ofa-mbv3-w1.O", "did you mean \"ofa-mbv3-w1.");
  expect_refused("analyse mcunt --max-ram 320KB --max-flash 1MB", "did you mean \"mcunet\"?");
  expect_refused("count " + (folder_ / "none.json").string(), "No such file");
  expect_refused("count " + folder_.string(), "not a regular file");
}

TEST_F(SpaceCommands, AWrongArchitectureIsNamedByGeneAndValue) {
  const std::string rest = ":e=4,4,4,4,4,4'";
  expect_refused("cost tiny --arch 'r=24:d=2,2,2:k=5,5,5,5,5,9" + rest,
                 "stage3.block2.kernel must be one of 3, 5; found \"9\"");
  expect_refused("cost tiny --arch 'r=24:d=2,2:k=5,5,5,5,5,5" + rest, "d= needs 3 values, found 2");
  expect_refused("cost tiny --arch 'r=24:d=2,2,2:k=5,5,5,5,5,5,5" + rest, "k= needs 6 values, found 7");
  expect_refused("cost tiny --arch nonsense", "needs parts key=value");
  expect_refused("cost tiny --uniform kernel=9", "has no choice \"9\", only 3, 5");
  expect_refused("cost tiny --uniform kernel", "needs name=value, found \"kernel\"");
  expect_refused("cost tiny --uniform kernel=3,kernel=5", "kernel is given twice");
  expect_refused("cost tiny --uniform colour=3", "no gene is named \"colour\"");
  expect_refused("cost tiny --max --min", "choose one of");
  expect_refused("cost tiny --arch " + file("list.json", "{\"resolution\": 16"), "list.json:1:");
  EXPECT_EQ(hwnas("cost tiny --arch ''"), 2);
  EXPECT_THAT(output_, HasSubstr("--arch: needs a value"));
}

TEST_F(SpaceCommands, AMistypedCommandLineIsNamedWithWhatWasMeant) {
  const std::pair<const char*, const char*> kWrong[] = {
      {"cuont tiny", "unknown command \"space cuont\"; did you mean \"count\"?"},
      {"cost tiny --resolutoin 24", "unknown option \"--resolutoin\"; did you mean \"--resolution\"?"},
      {"cost tiny --resolutoin=24", "unknown option \"--resolutoin\"; did you mean \"--resolution\"?"},
      {"count tiny cifar-mbv3", "unexpected argument \"cifar-mbv3\""},
      {"count", "space is required\nRun `hwnas space count --help` for its options."},
      {"cost tiny --seed 99999999999999999999", "--seed: Value 99999999999999999999 is beyond 64 bits"},
      {"sample tiny --seed 99999999999999999999", "--seed: Value 99999999999999999999 is beyond 64 bits"},
      {"sample tiny --count=-5", "--count: Value -5"}};
  for (const auto& [arguments, message] : kWrong) {
    EXPECT_EQ(hwnas(arguments), 2) << arguments;
    EXPECT_THAT(output_, HasSubstr(message)) << arguments;
    EXPECT_EQ(std::ranges::count(output_, '\n'), 2) << output_;
  }
}

TEST_F(SpaceCommands, SizesThatCannotBeAreRefused) {
  expect_refused("cost ofa-mbv3-w1.0 --resolution 16", "16 is too small: the strides multiply to 32");
  expect_refused("cost nasbench201 --resolution 1", "from 4 to 4096");
  EXPECT_EQ(hwnas("cost ofa-mbv3-w1.0 --resolution 99999999999999999999"), 2);
  EXPECT_THAT(output_, HasSubstr("--resolution"));
  expect_refused("cost " + space(R"("channels": 0)"), "stages[0].channels: needs a number from 1 to");
  expect_refused("cost " + space(R"("channels": 8)", "32", R"("channels": 0)"), "stem.channels: needs");
  expect_refused("cost " + space(R"("channels": 99999999999999999999)"), "stages[0].channels: needs");
  expect_refused("cost " + space(R"("channels": 8, "depth": 1000000)"), "stages[0].depth: needs");
  expect_refused("cost " + space(R"("channels": 8, "depth": 64, "kernel": 31)"), "stages[0].kernel: needs");
  expect_refused("cost " + space(R"("channels": 8)", "99999999"), "resolution: needs");
  expect_refused("cost " + space(R"("channels": 8)", R"({"from": 1, "to": 4000, "step": 0})"),
                 "resolution.step: needs");
  expect_refused("cost " + space(R"("channels": 8)", R"({"from": 1, "to": 4000, "step": 1})"),
                 "more than 256 choices");
  // 64 dense 15 x 15 convolutions of 16384 channels at 4096 x 4096: beyond 64 bits, said so.
  expect_refused("cost " + space(R"("block": "conv", "channels": 16384, "kernel": 15, "depth": 64)", "4096"),
                 "more than 9.2e18 MACs");
  for (const char* size : {"-5", "nan", "1e300", "320XB"})
    expect_refused(std::string("analyse tiny --max-flash 1MB --max-ram=") + size, "size: needs a number");
}

TEST_F(SpaceCommands, EmptyAndDoubleChoicesAreRefused) {
  expect_refused("count " + space(R"("channels": [8, 8])"), "stages[0].channels: holds a value twice");
  expect_refused("count " + space(R"("channels": [])"), "stages[0].channels: needs at least one value");
  expect_refused("count " + space(R"("channels": 8, "kernel": [3, 3])"), "kernel: holds a value twice");
  expect_refused("count " + space(R"("channels": 8, "expand": [])"), "expand: needs at least one value");
  expect_refused("count " + space(R"("channels": 8)", "[32, 32]"), "resolution: holds a value twice");
  expect_refused("count " + space(R"("channels": 8)", "[]"), "resolution: needs at least one value");
  expect_refused("count " + file("list.json", "[]"), "needs a JSON object, found []");
  expect_refused("count " + file("cut.json", "{"), "not valid JSON");
  expect_refused("count " + file("deep.json", std::string(100'000, '[')), "nested deeper than 64");
}

TEST_F(SpaceCommands, ManyThousandGenesAreCountedAndTooManyRefused) {
  const auto stages = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += std::string(i > 0 ? "}, {" : "") +
              R"("channels": [8, 16, 24], "depth": [1, 64], "kernel": [3, 5], "expand": [1, 2, 3],
                 "squeeze_excite": [false, true], "activation": ["relu", "swish"], "weight_bits": [4, 8])";
    return text;
  };
  const json count = record("count " + space(stages(46)));
  EXPECT_GT(count["genes"], 14'000);
  // A block has 2 x 3 x 2 x 2 x 2 = 48 settings, a stage 3 channels x (48 + 48^64), so 46 stages have
  // 4,970 or so digits: log10(3 x 48^64) x 46 = 108.0 x 46.
  EXPECT_NEAR(static_cast<double>(count["architectures"].get<std::string>().size()), 4972, 8);
  expect_refused("count " + space(stages(64)), "genes; at most 20000 are supported");
  // A million genes and more: 5,300 stages of 64 blocks with three genes each.
  expect_refused("count " + space(stages(5300)), "more than 64 stages");
}

TEST_F(SpaceCommands, AnalysisRanksAlikeOnOneCoreAndOnAll) {
  const std::string arguments = "analyse mcunet --max-ram 320KB --max-flash 1MB --samples 100 -f json";
  ASSERT_EQ(hwnas(arguments), 0) << output_;
  const std::string all = output_;
  ASSERT_EQ(json::parse(all).size(), 108u);
  ASSERT_EQ(hwnas(arguments, "taskset -c $(taskset -cp $$ | sed 's/.*: //; s/[,-].*//') "), 0) << output_;
  EXPECT_EQ(output_, all);
}

}  // namespace
}  // namespace nas::apps
