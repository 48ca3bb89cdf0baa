// Definitions of spaces, good and bad.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "space/base/file.h"
#include "space/search_space.h"
#include "tests/space/small_space.h"

namespace nas {
namespace {

TEST(SpaceReader, ReportsEveryMistakeWithItsPlace) {
  const std::string text = R"({
  "name": "bad", "classes": 4, "resolution": [8, 16],
  "stem": {"channels": 0, "stride": 2},
  "stages": [
    {"channels": 16, "depht": [1, 2], "kernel": [4, 3], "expand": []},
    {"channels": [8, 8], "activation": "reluu"}
  ],
  "head": []
})";
  const auto space = parse_space(text, "bad.json");
  ASSERT_FALSE(space);
  const std::string all = to_string(space.error());
  EXPECT_THAT(all, testing::HasSubstr(
                       "bad.json:3:12: error: stem.channels: needs a number from 1 to 16384, found 0"));
  EXPECT_THAT(
      all, testing::HasSubstr("bad.json:5:22: error: stages[0].depht: unknown key; did you mean \"depth\"?"));
  EXPECT_THAT(all, testing::HasSubstr("stages[0].kernel: needs odd sizes"));
  EXPECT_THAT(all, testing::HasSubstr("stages[0].expand: needs at least one value"));
  EXPECT_THAT(all, testing::HasSubstr("stages[1].channels: holds a value twice"));
  EXPECT_THAT(all, testing::HasSubstr("did you mean \"relu\"?"));
  EXPECT_THAT(all, testing::HasSubstr("head: needs one"));
  EXPECT_EQ(space.error().kind, ErrorKind::usage);
}

TEST(SpaceReader, ReadsTheExampleOfTheDocumentation) {
  const auto page = read_file(std::string(HWNAS_SOURCE_DIR) + "/docs/spaces.md");
  ASSERT_TRUE(page);
  const std::size_t start = page->find("```json") + 7;
  const auto space = parse_space(page->substr(start, page->find("```", start) - start), "docs/spaces.md");
  ASSERT_TRUE(space) << to_string(space.error());
  EXPECT_EQ(space->genes().size(), 17u);
}

TEST(SpaceReader, RefusesAResolutionThatTheStridesCannotTake) {
  const auto space = load_space("ofa-mbv3-w1.0", {.classes = 0, .resolutions = {16}});
  ASSERT_FALSE(space);
  EXPECT_THAT(space.error().message, testing::HasSubstr("16 is too small: the strides multiply to 32"));
}

TEST(SpaceReader, RefusesAbsurdSizesAtOnce) {
  const auto deep = parse_space(R"({"name":"x","classes":2,"resolution":32,"stem":{"channels":8},
    "stages":[{"channels":8,"depth":1000000}],"head":[{"kind":"pool"}]})",
                                "x.json");
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error().message, testing::HasSubstr("stages[0].depth"));
  std::string stages;
  for (int i = 0; i < 60; ++i)
    stages += std::string(i > 0 ? "," : "") + R"({"channels":[8,16,24],"depth":[1,64],"kernel":[3,5],
    "expand":[1,2,3],"squeeze_excite":[false,true],"activation":["relu","swish"],"weight_bits":[4,8],"bits":"layer","activation_bits":[4,8]})";
  const auto wide =
      parse_space(R"({"name":"x","classes":2,"resolution":32,"stem":{"channels":8},"stages":[)" + stages +
                      R"(],"head":[{"kind":"pool"}]})",
                  "x.json");
  ASSERT_FALSE(wide);
  EXPECT_THAT(wide.error().message, testing::HasSubstr("at most 20000"));
}

TEST(SpaceReader, SuggestsTheNearestBuiltInName) {
  EXPECT_THAT(load_space("ofa-mbv3-w1.1").error().message, testing::HasSubstr("did you mean \"ofa-mbv3-w1"));
  EXPECT_THAT(load_space("/nowhere/space.json").error().message, testing::HasSubstr("cannot open"));
}

TEST(SpaceReader, SurvivesThousandsOfMutatedDefinitions) {
  const std::string original = kSmallSpace;
  int accepted = 0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    Rng rng(9, "fuzz", 0, i);
    std::string text = original;
    const std::uint64_t edits = 1 + rng.below(4);
    for (std::uint64_t e = 0; e < edits; ++e) {
      const std::size_t at = rng.below(text.size());
      switch (rng.below(4)) {
        case 0:
          text[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          text.erase(at, 1 + rng.below(8));
          break;
        case 2:
          text.insert(at, text.substr(rng.below(text.size()), 1 + rng.below(12)));
          break;
        default:
          text.insert(at, std::to_string(rng.next()));
          break;
      }
      if (text.empty()) text = "{";
    }
    const auto space = parse_space(text, "fuzz.json");
    if (!space) {
      EXPECT_FALSE(space.error().message.empty());
      continue;
    }
    ++accepted;
    Rng draw(9, "fuzz draw", 0, i);
    EXPECT_TRUE(validate(space->lower(space->sample(draw))));
  }
  EXPECT_GT(accepted, 20);
}

// A value that is often valid, sometimes absurd.
std::string fuzzed_number(Rng& rng) {
  static const char* const kOdd[] = {"0",
                                     "-1",
                                     "1e9",
                                     "1e308",
                                     "99999999999999999999",
                                     "0.5",
                                     "null",
                                     "\"8\"",
                                     "[]",
                                     "{}",
                                     "true",
                                     "[8, 8]",
                                     "[[8]]",
                                     "{\"from\": 1, \"to\": 9, \"step\": 0}"};
  if (rng.chance(0.04)) return kOdd[rng.below(std::size(kOdd))];
  const auto one = [&] { return std::to_string(1 + rng.below(rng.chance(0.97) ? 24 : 20000)); };
  if (rng.chance(0.7)) return one();
  return "[" + one() + ", " + one() + "]";
}

// Definitions of every family with any members: what is accepted lowers to valid networks, everywhere.
TEST(SpaceReader, SurvivesThousandsOfDefinitionsMadeFromItsOwnWords) {
  const char* const kNumbers[] = {"depth",       "depth",  "expand", "stride", "kernel",
                                  "weight_bits", "layers", "width",  "rank"};
  const char* const kWords[] = {
      "\"block\": \"basic\"",
      "\"block\": \"bottleneck\"",
      "\"block\": \"separable\"",
      "\"block\": \"conv\"",
      "\"genes\": \"stage\"",
      "\"bits\": \"layer\"",
      "\"squeeze_excite\": [false, true]",
      "\"activation\": [\"relu\", \"swish\"]",
      "\"skip_first\": true",
      "\"kernel\": [3, 5, 7]",
      "\"expand\": [0.5, 3]",
      "\"weight_bits\": [2, 8]",
      "\"rank\": [0.3, 1]",
      "\"operations\": [{\"name\": \"a\", \"expand\": 3, \"groups\": 2}, {\"name\": \"b\", \"skip\": true}]"};
  const char* const kFamilies[] = {"staged", "staged", "staged", "staged", "staged", "resnet50d", "hat"};
  int accepted = 0;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    Rng rng(11, "structured fuzz", 0, i);
    const auto members = [&](std::size_t most) {
      std::string out;
      for (std::size_t k = rng.below(most + 1); k > 0; --k) {
        out += ", ";
        if (rng.chance(0.6))
          out += kWords[rng.below(std::size(kWords))];
        else
          out += "\"" + std::string(kNumbers[rng.below(std::size(kNumbers))]) + "\": " + fuzzed_number(rng);
      }
      return out;
    };
    std::string stages;
    for (std::size_t k = 1 + rng.below(3); k > 0; --k)
      stages +=
          std::string(stages.empty() ? "" : ", ") + "{\"channels\": " + fuzzed_number(rng) + members(3) + "}";
    const std::string text = "{\"name\": \"f\", \"family\": \"" +
                             std::string(kFamilies[rng.below(std::size(kFamilies))]) +
                             "\", \"classes\": 3, \"resolution\": " + std::to_string(8 + rng.below(40)) +
                             (rng.chance(0.2) ? members(1) : "") + ", \"stem\": {\"channels\": 8" +
                             (rng.chance(0.2) ? members(1) : "") + "}, \"stages\": [" + stages +
                             "], \"head\": [{\"kind\": \"pool\"}]}";
    const auto space = parse_space(text, "fuzz.json");
    if (!space) {
      ASSERT_FALSE(space.error().message.empty()) << text;
      continue;
    }
    ++accepted;
    for (std::uint64_t k = 0; k < 4; ++k) {
      Rng draw(11, "structured fuzz draw", i, k);
      const Genotype g = space->sample(draw);
      const auto valid = validate(space->lower(g));
      ASSERT_TRUE(valid) << valid.error().message << "\n" << space->text(g) << "\n" << text;
      ASSERT_EQ(*space->parse(space->text(g)), g) << text;
    }
  }
  EXPECT_GT(accepted, 500);
}

}  // namespace
}  // namespace nas
