#include "apps/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <set>

#include "latency/measure/kernel_set.h"
#include "latency/measure/session.h"
#include "space/cost.h"
#include "space/energy.h"
#include "space/kernel.h"
#include "space/search_space.h"
#include "tests/apps/report/run_fixture.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
using test::line;
using test::Project;
using test::run_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Three on the front, one dominated, one over the limit, one that failed.
std::string six_candidates() {
  return line(0, 0, 0, "0.7", "2") + line(1, 0, 1, "0.8", "4") + line(2, 1, 0, "0.75", "5") +
         line(3, 1, 1, "0.9", "7.5") + line(4, 2, 0, "0.95", "9.2") +
         R"({"number":5,"arch":"a=2:b=1","genes":[2,1],"origin":"mutation","generation":1,"parents":[3,-1],"fidelity":1.0,"failure":"out of memory"})"
         "\n";
}

Json document_of(const Project& project, const std::vector<std::string>& names = {}) {
  auto reporter =
      Reporter::open({.project = project.folder(), .names = names, .title = "test", .version = "1"});
  EXPECT_TRUE(reporter) << reporter.error().message;
  return reporter ? reporter->document() : Json();
}

TEST(Report, TellsCountsFrontBestAndReasonsOfARun) {
  const Project project("counts");
  project.write("runs/mine/run.json", run_json());
  project.write("runs/mine/candidates.jsonl", six_candidates());
  const Json run = document_of(project)["runs"].at(0);
  EXPECT_EQ(run["counts"], Json::parse(R"({"candidates":6,"feasible":4,"failed":1,"partial":0})"));
  EXPECT_EQ(run["front"], Json({3, 1, 0}));
  EXPECT_EQ(run["best"], 3);
  EXPECT_EQ(run["state"], "unfinished");
  EXPECT_EQ(run["candidates"]["failure"][5], "out of memory");
  EXPECT_EQ(run["candidates"]["values"][1][5], nullptr);
  EXPECT_NEAR(run["candidates"]["violation"][4].get<double>(), 0.15, 1e-12);
  EXPECT_EQ(run["candidates"]["genes"][4], "0200");
}

TEST(Report, DrawsTheHypervolumeAgainstTheWorstOfTheFrontTenPercentBeyond) {
  const Project project("volume");
  project.write("runs/mine/run.json", run_json());
  project.write("runs/mine/candidates.jsonl", six_candidates());
  const Json progress = document_of(project)["runs"][0]["progress"];
  // Front (-0.7, 2), (-0.8, 4), (-0.9, 7.5); reference (-0.68, 8.05): by hand, strip by strip.
  const std::vector<double> by_hand{0.02 * 6.05, 0.02 * 6.05 + 0.1 * 4.05, 0.02 * 6.05 + 0.1 * 4.05,
                                    0.02 * 6.05 + 0.1 * 4.05 + 0.1 * 0.55};
  for (std::size_t i = 0; i < by_hand.size(); ++i)
    EXPECT_NEAR(progress["hypervolume"][i].get<double>(), by_hand[i], 1e-12) << i;
  EXPECT_EQ(progress["evaluations"], Json({1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(progress["best"], Json({0.7, 0.8, 0.8, 0.9, 0.9, 0.9}));
}

TEST(Report, TakesRandomSearchesOfTheSameQuestionAsTheBaseline) {
  const Project project("baseline");
  for (const auto& [name, strategy, seed] :
       {std::tuple{"mine", "nsga2", 1}, std::tuple{"r1", "random", 1}, std::tuple{"r2", "random", 2}}) {
    project.write(std::string("runs/") + name + "/run.json", run_json(strategy, seed));
    project.write(std::string("runs/") + name + "/candidates.jsonl", six_candidates());
  }
  std::string other = run_json("random", 3);
  other.replace(other.find("\"max\": 8"), 8, "\"max\": 9");
  project.write("runs/other/run.json", other);
  const Json run = document_of(project, {"mine"})["runs"].at(0);
  EXPECT_EQ(run["baseline"]["seeds"], Json({1, 2}));
  EXPECT_EQ(run["baseline"]["curves"][0]["hypervolume"], run["progress"]["hypervolume"]);
}

TEST(Report, AWholeProjectShowsBaselinesUnderTheirSearchOnly) {
  const Project project("folded");
  for (const auto& [name, strategy, seed] :
       {std::tuple{"mine", "nsga2", 1}, std::tuple{"r1", "random", 1}, std::tuple{"r2", "random", 2}}) {
    project.write(std::string("runs/") + name + "/run.json", run_json(strategy, seed));
    project.write(std::string("runs/") + name + "/candidates.jsonl", six_candidates());
  }
  const Json document = document_of(project);
  ASSERT_EQ(document["runs"].size(), 1u);
  EXPECT_EQ(document["runs"][0]["baseline"]["seeds"], Json({1, 2}));
  ASSERT_EQ(document["comparison"].size(), 2u);
  EXPECT_EQ(document["comparison"][1]["name"], "mine: random, median of 2");
  // The same candidates, so the same hypervolume.
  EXPECT_EQ(document["comparison"][1]["hypervolume"], document["comparison"][0]["hypervolume"]);
  // Random searches alone are searches.
  EXPECT_EQ(document_of(project, {"r1"})["runs"].size(), 1u);
}

// Two devices' tables in whole numbers: what a front costs on the other device can be added up by hand.
TEST(Report, CarriesAFrontToTheOtherDevicesTable) {
  const auto space = load_space("tiny");
  ASSERT_TRUE(space);
  std::vector<std::string> genes;
  for (const Gene& gene : space->genes()) genes.push_back(gene.name);
  const Genotype ends[2] = {space->smallest(), space->largest()};
  const Project project("crossed");
  for (const int device : {1, 2}) {
    const std::string name = "d" + std::to_string(device);
    std::string session =
        latency::to_line(latency::SessionInfo{"s", name, "p", "c", "int8", "ns", "", "2026-01-01T00:00:00Z"});
    std::set<std::string> known;
    double sums[2] = {0, 0};
    for (int i = 0; i < 2; ++i)
      for (const Kernel& k : kernels(latency::with_precision(space->lower(ends[i]), {8, 8}), FusionRules{})) {
        sums[i] += 1000 * device;
        if (!known.insert(signature(k)).second) continue;
        latency::KernelRecord kernel;
        kernel.signature = signature(k);
        kernel.n = kernel.visits = 1;
        kernel.median = kernel.low = kernel.high = kernel.mean = kernel.min = kernel.p05 = kernel.p90 =
            1000 * device;
        session += latency::to_line(kernel);
      }
    project.write("sessions/" + name + ".jsonl", session);
    Json record = Json::parse(run_json("nsga2", 1, "tiny"));
    record["genes"] = genes;
    record["problem"]["constraints"] = Json::array();
    record["config"]["problem"] = {{"precision", "int8"},
                                   {"devices", {{{"session", "../sessions/" + name + ".jsonl"}}}}};
    std::string rows;
    for (int i = 0; i < 2; ++i) {
      Json row = Json::parse(line(i, 0, 0, i == 0 ? "0.5" : "0.9", std::to_string(sums[i] / 1e6)));
      row["arch"] = space->text(ends[i]);
      row["genes"] = Json::array();
      for (std::size_t g = 0; g < ends[i].size(); ++g) row["genes"].push_back(ends[i][g]);
      rows += row.dump() + "\n";
    }
    project.write("runs/" + name + "/run.json", record.dump());
    project.write("runs/" + name + "/candidates.jsonl", rows);
  }
  const Json crossed = document_of(project)["crossed"];
  ASSERT_EQ(crossed.size(), 2u) << crossed;
  EXPECT_EQ(crossed[0]["from"], 1);
  EXPECT_EQ(crossed[0]["on"], 0);
  const auto layers = [&](int i) {
    return static_cast<double>(
        kernels(latency::with_precision(space->lower(ends[i]), {8, 8}), FusionRules{}).size());
  };
  for (int i = 0; i < 2; ++i) {
    // A microsecond a kernel on the first device, two on the second.
    EXPECT_NEAR(crossed[0]["points"][i][0].get<double>(), layers(i) / 1000, 1e-9) << i;
    EXPECT_NEAR(crossed[1]["points"][i][0].get<double>(), layers(i) / 500, 1e-9) << i;
  }
}

TEST(Report, FindsAUsersOwnSpaceThroughTheSweep) {
  const Project project("own");
  project.write("mine.json", R"({"name": "mine", "classes": 9, "resolution": 16,
    "stem": {"channels": [8, 16], "stride": 2}, "stages": [{"block": "separable", "channels": [16, 24]}],
    "head": [{"kind": "pool"}]})");
  project.write("accuracy.jsonl",
                R"({"space":"mine.json","classes":4,"resolutions":[],"supernet":"x","split":"validation"})"
                "\n");
  const auto space = load_space((project.folder() / "mine.json").string());
  ASSERT_TRUE(space) << space.error().message;
  Json run = Json::parse(run_json("nsga2", 1, "mine"));
  run["genes"] = Json::array();
  for (const Gene& gene : space->genes()) run["genes"].push_back(gene.name);
  run["config"] = {{"problem", {{"accuracy", "../accuracy.jsonl"}}}};
  project.write("runs/a/run.json", run.dump());
  const Genotype g = space->largest();
  Json row = Json::parse(line(0, 0, 0, "0.5", "3"));
  row["arch"] = space->text(g);
  row["genes"] = std::vector<int>(g.data(), g.data() + g.size());
  project.write("runs/a/candidates.jsonl", row.dump() + "\n");
  const Json architectures = document_of(project)["runs"].at(0)["architectures"];
  ASSERT_TRUE(architectures.is_object());
  EXPECT_EQ(architectures["networks"]["0"].size(), kernels(space->lower(g), FusionRules{}).size());
  // With the images' four classes, not the file's nine.
  EXPECT_EQ(architectures["parts"]["out"].back(), Json({4, 1, 1}));
}

TEST(Report, NamesItsFilesByTheirHashes) {
  const Project project("hashes");
  project.write("runs/mine/run.json", run_json());
  project.write("runs/mine/candidates.jsonl", "");
  const Json files = document_of(project)["files"];
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[1]["file"], "runs/mine/candidates.jsonl");
  // Of nothing, as FIPS 180-4 has it.
  EXPECT_EQ(files[1]["sha256"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Report, KeepsGoingOverDamagedLinesAndSaysWhichItLeftOut) {
  const Project project("damaged");
  project.write("runs/mine/run.json", run_json());
  project.write("runs/mine/candidates.jsonl", line(0, 0, 0, "null", "2") + "garbage\n" +
                                                  line(2, 0, 1, "0.8", "4") + line(3, 0, 1, "0.8", "4") +
                                                  R"({"number":4,"arch")");
  const Json run = document_of(project)["runs"].at(0);
  EXPECT_EQ(run["counts"]["candidates"], 2);
  EXPECT_EQ(run["candidates"]["failure"][0], "accuracy is not a number");
  ASSERT_EQ(run["notes"].size(), 2u);
  EXPECT_THAT(run["notes"][0].get<std::string>(), HasSubstr("candidates.jsonl:2"));
  EXPECT_THAT(run["notes"][1].get<std::string>(), HasSubstr("candidates.jsonl:4: left out, listed before"));
}

TEST(Report, RunsWithNoneOneAndOnlyInfeasibleCandidatesAreShown) {
  const Project project("edges");
  project.write("runs/none/run.json", run_json());
  project.write("runs/one/run.json", run_json());
  project.write("runs/one/candidates.jsonl", line(0, 0, 0, "0.5", "3"));
  project.write("runs/over/run.json", run_json());
  project.write("runs/over/candidates.jsonl", line(0, 0, 0, "0.5", "30") + line(1, 0, 1, "0.6", "50"));
  const Json document = document_of(project);
  const Json& runs = document["runs"];
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_TRUE(runs[0]["front"].empty());
  EXPECT_EQ(runs[0]["best"], nullptr);
  EXPECT_EQ(runs[1]["front"], Json({0}));
  EXPECT_TRUE(runs[2]["front"].empty());
  EXPECT_EQ(runs[2]["counts"]["feasible"], 0);
  EXPECT_THAT(page(document, false), HasSubstr("<svg"));
}

TEST(Report, WrongNamesSayWhatWasLookedFor) {
  const Project project("names");
  const auto reporter = Reporter::open({.project = project.folder(), .names = {"nothing"}});
  ASSERT_FALSE(reporter);
  EXPECT_EQ(reporter.error().kind, ErrorKind::usage);
  EXPECT_THAT(reporter.error().message, HasSubstr("runs/nothing"));
}

// Every name and text that a user can set, as an attack.
constexpr const char* kAttack = "</script><img src=x onerror=alert(1)><!--'\\\"&{{7*7}}";

TEST(Report, NoTextFromOutsideBecomesMarkup) {
  const Project project("attack");
  const std::string attack = Json(kAttack).dump();
  std::string run = run_json();
  for (const std::string word : {"\"none\"", "\"nsga2\"", "\"9evals\"", "\"share\""})
    run.replace(run.find(word), word.size(), attack);
  for (std::size_t at; (at = run.find("\"ms\"")) != std::string::npos;) run.replace(at, 4, attack);
  const std::string folder = "runs/<img src=x onerror=alert(2)>";
  project.write(folder + "/run.json", run);
  Json row = Json::parse(line(0, 0, 0, "0.5", "3"));
  row["arch"] = kAttack;
  row["values"] = {{"accuracy", 0.5}, {kAttack, 3}};
  project.write(
      folder + "/candidates.jsonl",
      row.dump() + "\n" +
          R"({"number":1,"arch":"x","genes":[0,1],"origin":"random","generation":0,"parents":[-1,-1],"fidelity":1.0,"failure":)" +
          attack + "}\n");
  project.write("supernet/config.json", R"({"space": )" + attack + R"(, "data": )" + attack + "}");
  project.write("supernet/metrics.jsonl", R"({"step":10,"phase":)" + attack +
                                              R"(,"epoch":1,"paths":[{"genotype":)" + attack +
                                              R"(,"loss":1,"accuracy":0.5}]})" + "\n");
  project.write("exports/e/manifest.json",
                R"({"metrics":{)" + attack + R"(:{"value":1,"unit":)" + attack + "}}}");
  auto reporter = Reporter::open({.project = project.folder(), .title = kAttack, .command = kAttack});
  ASSERT_TRUE(reporter) << reporter.error().message;
  const std::string html = page(reporter->document(), false);
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("</script><")));
  std::size_t ends = 0, starts = 0;
  for (std::size_t at = 0; (at = html.find("</script", at)) != std::string::npos; ++at) ++ends;
  for (std::size_t at = 0; (at = html.find("<script", at)) != std::string::npos; ++at) ++starts;
  EXPECT_EQ(starts, ends);
  EXPECT_LE(ends, 2u);
  // The block still is the document, attack and all.
  const std::string open = "id=\"data\">";
  if (const std::size_t at = html.find(open); at != std::string::npos) {
    const std::size_t from = at + open.size();
    const Json back = Json::parse(html.substr(from, html.find("</script>", from) - from));
    EXPECT_EQ(back["title"], kAttack);
    EXPECT_EQ(back["runs"][0]["candidates"]["arch"][0], kAttack);
  }
}

TEST(Report, PolicyAllowsOnlyThePagesOwnScriptAndStyle) {
  const Project project("policy");
  const Json document = document_of(project);
  const std::string html = page(document, false);
  EXPECT_THAT(html, HasSubstr("default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(html, HasSubstr("connect-src 'none'"));
  EXPECT_THAT(content_policy(true), HasSubstr("connect-src 'self'"));
  EXPECT_THAT(content_policy(true), Not(HasSubstr("unsafe")));
  EXPECT_THAT(html, Not(HasSubstr(" src=")));
}

TEST(Report, ALiveClientGetsExactlyWhatIsNew) {
  const Project project("live");
  project.write("runs/mine/run.json", run_json("nsga2", 1));
  project.write("runs/mine/candidates.jsonl", line(0, 0, 0, "0.7", "2"));
  auto reporter = *Reporter::open({.project = project.folder()});
  const Json first = reporter.document();
  EXPECT_EQ(reporter.since(first["cursor"]), Json({{"cursor", first["cursor"]}}));
  project.append("runs/mine/candidates.jsonl", line(1, 0, 1, "0.8", "4") + R"({"number":2,)");
  ASSERT_TRUE(reporter.refresh());
  const Json more = reporter.since(first["cursor"]);
  EXPECT_FALSE(more.contains("whole"));
  EXPECT_EQ(more["runs"][0]["candidates"]["number"], Json({1}));
  EXPECT_EQ(more["runs"][0]["front"], Json({1, 0}));
  // A server that was started anew goes on from the client's cursor.
  auto second = *Reporter::open({.project = project.folder()});
  second.document();
  project.append("runs/mine/candidates.jsonl",
                 line(2, 1, 1, "0.9", "5").substr(std::string(R"({"number":2,)").size()));
  ASSERT_TRUE(second.refresh());
  const Json later = second.since(more["cursor"]);
  EXPECT_FALSE(later.contains("whole"));
  EXPECT_EQ(later["runs"][0]["candidates"]["number"], Json({2}));
  EXPECT_TRUE(second.since("nonsense").contains("whole"));
  project.write("runs/late/run.json", run_json());
  ASSERT_TRUE(second.refresh());
  EXPECT_EQ(second.since(later["cursor"])["whole"]["runs"].size(), 2u);
}

TEST(Report, ShowsLayersOfNetworksOfBuiltInSpaces) {
  const Project project("layers");
  std::ofstream(project.folder() / "search.json") << "";
  const auto space = *load_space("tiny");
  Json run = Json::parse(run_json("nsga2", 1, "tiny"));
  run["genes"] = Json::array();
  for (const Gene& gene : space.genes()) run["genes"].push_back(gene.name);
  project.write("runs/tiny/run.json", run.dump());
  Json row = Json::parse(line(0, 0, 0, "0.5", "3"));
  const Genotype g = space.largest();
  row["arch"] = space.text(g);
  row["genes"] = std::vector<int>(g.data(), g.data() + g.size());
  project.write("runs/tiny/candidates.jsonl", row.dump() + "\n");
  const Json architectures = document_of(project)["runs"][0]["architectures"];
  const Network network = space.lower(g);
  const auto expected = kernels(network, FusionRules{});
  ASSERT_EQ(architectures["networks"]["0"].size(), expected.size());
  std::int64_t sum = 0;
  for (const Json& part : architectures["networks"]["0"])
    sum += architectures["parts"]["macs"][part.get<std::size_t>()].get<std::int64_t>();
  EXPECT_EQ(sum, macs(network).count());
  EXPECT_EQ(architectures["ids"]["0"], space.short_id(g));
  double joules = 0;
  for (const Json& j : architectures["details"]["0"]["energy"]["joules"]) joules += j.get<double>();
  EXPECT_NEAR(joules, energy(network, {8, 8}, {}, *load_energy_table("horowitz-45nm")).joules(), 1e-15);
  // The arena's map holds what is alive at every step (and may leave apart what could share a place).
  const Json& details = architectures["details"]["0"];
  for (std::size_t step = 0; step < details["live"].size(); ++step) {
    std::set<std::int64_t> covered;
    for (const Json& block : details["arena"]["blocks"])
      if (block["first"] <= step && step <= block["last"])
        for (std::int64_t at = 0; at < block["size"]; ++at)
          covered.insert(block["offset"].get<std::int64_t>() + at);
    EXPECT_GE(covered.size(), details["live"][step].get<std::size_t>()) << step;
    EXPECT_LT(*covered.rbegin(), details["arena"]["size"].get<std::int64_t>()) << step;
  }
  EXPECT_EQ(architectures["details"]["0"]["arena"]["bound"],
            *std::ranges::max_element(architectures["details"]["0"]["live"]));
}

// Bytes of a run folder changed at random: a document or an error, never a crash, and never markup.
TEST(Report, AnyDamageToItsFilesIsSurvived) {
  const std::string run = run_json(), rows = six_candidates();
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string texts[2] = {run, rows};
    for (int change = 0; change < 4; ++change) {
      std::string& text = texts[random() % 4 == 0 ? 0 : 1];
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, random() % 9);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 30));
      }
    }
    const Project project("fuzz");
    project.write("runs/x/run.json", texts[0]);
    project.write("runs/x/candidates.jsonl", texts[1]);
    const Json document = document_of(project);
    EXPECT_THAT(page(document, false), Not(HasSubstr("<img")));
  }
}

}  // namespace
}  // namespace nas::report
