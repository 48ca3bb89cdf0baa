#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "space/base/rng.h"
#include "tests/apps/program.h"

// What users ask about searches, right and wrong: fronts per device, typos, missing files, runs killed
// half-way; nowhere a terminal.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class SearchQuestions : public ProgramTest {
 protected:
  std::string search(const std::string& name, const json& more = {}) {
    json c = {
        {"name", name},
        {"budget", "200evals"},
        {"problem", {{"kind", "closed-form"}, {"space", "tiny"}}},
        {"objectives", {{{"metric", "proxy"}, {"goal", "max"}}, {{"metric", "macs_m"}, {"goal", "min"}}}}};
    if (!more.is_null()) c.merge_patch(more);
    put(name + ".json", c.dump(1));
    return "search " + name + ".json";
  }
  // Refused with this code, in one line that says it; nothing of a progress bar's or a colour's.
  void refused(const std::string& arguments, int code, const std::string& says) {
    EXPECT_EQ(hwnas(arguments), code) << arguments << "\n" << errors_;
    EXPECT_THAT(errors_, HasSubstr(says)) << arguments;
    EXPECT_LE(std::ranges::count(errors_, '\n'), 2) << errors_;
    EXPECT_EQ(errors_.find_first_of("\r\x1b"), std::string::npos) << errors_;
    EXPECT_EQ(output_, "") << arguments;
  }
  json printed(const std::string& arguments) {
    EXPECT_EQ(hwnas(arguments + " -f json"), 0) << arguments << "\n" << errors_;
    return json::parse(output_, nullptr, false);
  }
  std::vector<json> lines(const std::string& file) const {
    std::vector<json> all;
    std::istringstream in(bytes(file));
    for (std::string line; std::getline(in, line);) all.push_back(json::parse(line));
    return all;
  }
};

// The numbers of one part of an architecture's text, added up: "r=16:d=1,2:k=3,-" and 'k' gives 3.
double sum_of(const std::string& arch, const std::string& key) {
  double sum = 0;
  std::istringstream parts(arch);
  for (std::string part; std::getline(parts, part, ':');) {
    if (!part.starts_with(key + "=")) continue;
    std::istringstream values(part.substr(2));
    for (std::string value; std::getline(values, value, ',');) sum += value == "-" ? 0 : std::stod(value);
  }
  return sum;
}

// One supernet's sweep, a phone that is slowed down by kernels and a board that is by expansions: one search,
// a front for each, equal to what sorting the candidates by hand gives.
TEST_F(SearchQuestions, OneSearchForTwoDevicesGivesAFrontForEach) {
  std::string sweep = json{{"space", "tiny"},
                           {"classes", 10},
                           {"resolutions", json::array()},
                           {"supernet", "none"},
                           {"split", "validation"}}
                          .dump() +
                      "\n";
  std::string measured = "arch,phone,board\n";
  for (const json& one : printed("space sample tiny --count 160 --seed 3")) {
    const std::string arch = one["arch"];
    const double r = sum_of(arch, "r"), k = sum_of(arch, "k"), e = sum_of(arch, "e");
    sweep += json{{"arch", arch}, {"top1", 0.4 + 0.005 * r + 0.004 * k + 0.006 * e}}.dump() + "\n";
    measured += "\"" + arch + "\"," + std::to_string(1 + 0.5 * k + 0.01 * e) + "," +
                std::to_string(2 + 0.02 * k + 0.7 * e) + "\n";
  }
  put("accuracy.jsonl", sweep);
  put("measured.csv", measured);
  const auto device = [](const std::string& name) {
    return json{{"measurements", "measured.csv"}, {"column", name}, {"metric", "latency_" + name}};
  };
  const auto minimise = [](const std::string& metric) { return json{{"metric", metric}, {"goal", "min"}}; };
  const json top1 = {{"metric", "top1"}, {"goal", "max"}};
  // Drawn at random with one seed, so that both searches below meet the same networks.
  const json fleet = {
      {"problem",
       {{"kind", "networks"},
        {"space", nullptr},
        {"accuracy", "accuracy.jsonl"},
        {"accuracy_model", "ridge"},
        {"devices", json::array({device("phone"), device("board")})}}},
      {"strategy", {{"name", "random"}}},
      {"objectives", json::array({top1, minimise("latency_phone"), minimise("latency_board")})}};
  ASSERT_EQ(hwnas(search("fleet", fleet)), 0) << errors_;
  const auto candidates = lines("runs/fleet/candidates.jsonl");
  ASSERT_EQ(candidates.size(), 200u);
  using Point = std::pair<double, double>;  // accuracy, latency
  std::map<std::string, std::set<Point>> fronts;
  for (const std::string name : {"phone", "board"}) {
    const std::string metric = "latency_" + name;
    std::vector<Point> all;
    for (const json& c : candidates)
      all.emplace_back(c["values"]["top1"].get<double>(), c["values"][metric].get<double>());
    std::set<Point> expected, found;
    for (const Point& a : all) {
      const auto beats = [&](const Point& b) {
        return b.first >= a.first && b.second <= a.second && (b.first > a.first || b.second < a.second);
      };
      if (std::ranges::none_of(all, beats)) expected.insert(a);
    }
    for (const json& point : printed("front fleet --objective max:top1 --objective min:" + metric))
      found.emplace(point["top1"].get<double>(), point[metric].get<double>());
    EXPECT_EQ(found, expected) << name;
    fronts[name] = found;
  }
  EXPECT_NE(fronts["phone"], fronts["board"]);
  // A search for one of them later reads the same sweep: what is predicted of a network is the same, and
  // nothing was added to the file.
  json alone = fleet;
  alone["problem"]["devices"] = json::array({device("board")});
  alone["objectives"] = json::array({top1, minimise("latency_board")});
  ASSERT_EQ(hwnas(search("alone", alone)), 0) << errors_;
  EXPECT_EQ(bytes("accuracy.jsonl"), sweep);
  std::map<std::string, json> known;
  for (const json& c : candidates) known[c["arch"].get<std::string>()] = c["values"];
  std::size_t shared = 0;
  for (const json& c : lines("runs/alone/candidates.jsonl")) {
    const auto it = known.find(c["arch"].get<std::string>());
    if (it == known.end()) continue;
    EXPECT_EQ(c["values"]["top1"], it->second["top1"]);
    EXPECT_EQ(c["values"]["latency_board"], it->second["latency_board"]);
    ++shared;
  }
  EXPECT_EQ(shared, candidates.size());
}

TEST_F(SearchQuestions, MemoryThatNoNetworkCanDoWithIsRefusedAtOnce) {
  const json networks = {{"problem", {{"kind", "networks"}, {"proxy", 1}}},
                         {"constraints", {{{"metric", "ram_kb"}, {"max", 1}}}}};
  refused(search("small", networks), 3,
          "ram_kb: the tightest reachable is 12; the limit asks 1; violated by 11");
  // Energy is bounded where weights may lie in several memories.
  json energy = networks;
  energy["problem"]["energy"] = "horowitz-45nm";
  energy["constraints"] = {{{"metric", "energy_uj"}, {"max", 0.001}}};
  EXPECT_EQ(hwnas(search("warm", energy)), 3);
  EXPECT_THAT(errors_, HasSubstr("energy_uj: the tightest reachable"));
  EXPECT_FALSE(fs::exists(project_ / "runs"));
  // What can be kept is kept by every network on the front, and by no other reading of the limit.
  json met = networks;
  met["constraints"] = {{{"metric", "ram_kb"}, {"max", 16}}};
  met["objectives"] = {{{"metric", "proxy"}, {"goal", "max"}}, {{"metric", "macs_m"}, {"goal", "min"}}};
  const json front = printed(search("met", met));
  ASSERT_FALSE(front.empty());
  for (const json& point : front) EXPECT_LE(point["ram_kb"].get<double>(), 16);
}

TEST_F(SearchQuestions, TyposAndMissingThingsAreOneClearLine) {
  ASSERT_EQ(hwnas(search("first")), 0) << errors_;
  EXPECT_EQ(errors_.find_first_of("\r\x1b"), std::string::npos) << "no terminal, no bar";
  for (const std::string command :
       {"front firts", "try firts largest", "compare first firts", "try first firts:best"})
    refused(command, 2, "did you mean \"first\"?");
  refused("front first --max mac_m=1", 2, "did you mean \"macs_m\"?");
  refused("front first --max macs_m=small", 2, "required like latency_ms=8");
  refused("front first --min macs_m=", 2, "required like latency_ms=8");
  refused("front first --objective up:proxy", 2, "required like max:top1");
  refused("front first --objective max:prox", 2, "did you mean \"proxy\"?");
  refused("front", 2, "run is required");
  refused("compare first", 2, "At least 2 required");
  refused("try first bogus", 2, "found \"bogus\"");
  refused("try first first:front[9999]", 2, "front[9999]");
  refused("search nowhere.json", 2, "nowhere.json: error: cannot open");
  refused(search("up") + " --name ../up", 2, "required a plain name");
  refused(search("none", {{"objectives", json::array()}}), 2, "no objective");
  refused("-q " + search("first", {{"seed", 9}}), 2, "give this one another --name");
  refused(search("zero") + " --budget 0s", 2, "nothing would be evaluated");
  refused(search("place", {{"problem", {{"space", "tinny"}}}}), 2, "did you mean \"tiny\"?");
  put("void.json",
      R"({"name": "void", "resolution": [], "stem": {"channels": 8}, "stages": [], "head": []})");
  EXPECT_EQ(hwnas(search("void-space", {{"problem", {{"space", "void.json"}}}})), 2);
  EXPECT_THAT(errors_, HasSubstr("needs at least one value"));
  // A limit below all candidates is an answer: an empty front, and by how much it is missed.
  EXPECT_EQ(hwnas("front first --max macs_m=0.01"), 3);
  EXPECT_THAT(errors_, HasSubstr("nothing satisfies the constraints; nearest: macs_m is "));
}

TEST_F(SearchQuestions, ACandidateWithoutANumberFailsWithItsReasonAndTheRestIsSearched) {
  put("table.csv", "id,g1,g2,top1,ms\n0,3,1,70,5\n1,5,1,nan,6\n2,3,2,69,7\n3,5,2,75,9\n");
  const json table = {
      {"problem",
       {{"kind", "csv"},
        {"space", nullptr},
        {"file", "table.csv"},
        {"genes", {"g*"}},
        {"metrics", {{{"name", "top1"}}, {{"name", "ms"}}}}}},
      {"strategy", {{"name", "exhaustive"}}},
      {"objectives", {{{"metric", "top1"}, {"goal", "max"}}, {{"metric", "ms"}, {"goal", "min"}}}}};
  EXPECT_EQ(hwnas(search("table", table) + " -f json"), 6);
  EXPECT_THAT(errors_, HasSubstr("1 candidate failed, the first: top1 is nan, required a finite number"));
  EXPECT_EQ(json::parse(output_).size(), 2u);
  put("table.csv", "id,g1,g2,top1,ms\n");
  refused(search("empty", table), 2, "table.csv: error: the table has no rows");
}

// Killed at random moments, a run can be read at once, and the questions about it have answers.
TEST_F(SearchQuestions, ARunKilledHalfWayAnswersAllTheSame) {
  ASSERT_EQ(hwnas(search("whole")), 0) << errors_;
  const std::string command =
      search("half", {{"budget", "20000evals"}, {"strategy", {{"name", "predictor"}}}});
  bool was_killed = false;
  for (int attempt = 0; attempt < 8; ++attempt) {
    Rng rng(5, "half-way", static_cast<std::uint64_t>(attempt));
    was_killed = killed(command, std::chrono::milliseconds(150 + rng.below(700))) || was_killed;
    if (!fs::exists(project_ / "runs/half/candidates.jsonl")) continue;
    const int code = hwnas("front half -f json");
    ASSERT_TRUE(code == 0 || code == 6) << errors_;
    if (code == 6) {
      EXPECT_THAT(errors_, HasSubstr("no candidate has a score"));
    }
  }
  ASSERT_TRUE(was_killed);
  const json front = printed("front half");
  ASSERT_FALSE(front.empty());
  EXPECT_THAT(printed("try half half:best")["standing"].get<std::string>(), HasSubstr("on the front"));
  EXPECT_EQ(printed("compare whole half").size(), 2u);
  // A line torn by the kill is left out; one that is broken in the middle is not.
  const std::string good = bytes("runs/half/candidates.jsonl");
  put("runs/half/candidates.jsonl", good.substr(0, good.size() - 9));
  EXPECT_EQ(hwnas("front half"), 0) << errors_;
  put("runs/half/candidates.jsonl",
      good.substr(0, good.size() / 2) + "\n}{\n" + good.substr(good.size() / 2));
  EXPECT_NE(hwnas("front half"), 0);
  EXPECT_THAT(errors_, HasSubstr("runs/half/candidates.jsonl"));
  put("runs/half/run.json", "{\"space\": ");
  EXPECT_NE(hwnas("front half"), 0);
  EXPECT_THAT(errors_, HasSubstr("runs/half/run.json"));
}

}  // namespace
}  // namespace nas::apps
