#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "space/base/file.h"
#include "space/cost.h"
#include "space/search_space.h"

// The networks of examples/cifar10 against the figures that their authors publish.
namespace nas {
namespace {

const std::filesystem::path kExamples = std::filesystem::path(HWNAS_SOURCE_DIR) / "examples/cifar10";

std::string text_of(const std::string& name) { return *read_file(kExamples / name); }

void replace_once(std::string& text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

Network largest(const std::string& text) {
  const auto path =
      std::filesystem::temp_directory_path() / ("hwnas-example-" + std::to_string(::getpid()) + ".json");
  EXPECT_TRUE(write_file(path, text));
  const auto space = load_space(path.string());
  std::filesystem::remove(path);
  EXPECT_TRUE(space) << space.error().message;
  return space->lower(space->largest());
}

// MLPerf Tiny's image classification: 12.5 million MACs, 78 thousand parameters.
TEST(Examples, ResNet8IsThatOfMlperfTiny) {
  const Network network = largest(text_of("resnet8.json"));
  EXPECT_EQ(macs(network).count(), 12'501'632);
  EXPECT_EQ(params(network).count(), 78'042);
}

// With ImageNet's strides, resolution and classes: 3,504,872 parameters (torchvision's mobilenet_v2), 300
// million MACs.
TEST(Examples, MobileNetV2IsThePublishedOneBeforeItsStridesChange) {
  std::string text = text_of("mobilenetv2.json");
  replace_once(text, "\"classes\": 10", "\"classes\": 1000");
  replace_once(text, "\"resolution\": 32", "\"resolution\": 224");
  replace_once(text, "\"channels\": 32, \"kernel\": 3, \"stride\": 1",
               "\"channels\": 32, \"kernel\": 3, \"stride\": 2");
  replace_once(text, "\"depth\": 2, \"kernel\": 3, \"expand\": 6, \"stride\": 1",
               "\"depth\": 2, \"kernel\": 3, \"expand\": 6, \"stride\": 2");
  const Network network = largest(text);
  EXPECT_EQ(params(network).count(), 3'504'872);
  EXPECT_EQ(macs(network).count(), 300'774'272);
}

// 2,542,856 parameters (torchvision's mobilenet_v3_small), 56 million MACs (Howard et al. 2019).
TEST(Examples, MobileNetV3SmallIsThePublishedOneBeforeItsStridesChange) {
  std::string text = text_of("mobilenetv3-small.json");
  replace_once(text, "\"classes\": 10", "\"classes\": 1000");
  replace_once(text, "\"resolution\": 32", "\"resolution\": 224");
  replace_once(text, "\"channels\": 16, \"kernel\": 3, \"stride\": 1",
               "\"channels\": 16, \"kernel\": 3, \"stride\": 2");
  replace_once(text, "\"expand\": 1, \"stride\": 1", "\"expand\": 1, \"stride\": 2");
  const Network network = largest(text);
  EXPECT_EQ(params(network).count(), 2'542'856);
  EXPECT_NEAR(static_cast<double>(macs(network).count()), 56.5e6, 0.1e6);
}

TEST(Examples, WidthsReachDownToAMicrocontroller) {
  for (const char* name : {"mobilenetv2.json", "mobilenetv3-small.json"}) {
    const auto space = load_space((kExamples / name).string());
    ASSERT_TRUE(space);
    EXPECT_LT(macs(space->lower(space->smallest())).count(), 12'000'000) << name;
  }
}

}  // namespace
}  // namespace nas
