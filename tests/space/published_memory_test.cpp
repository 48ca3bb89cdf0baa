// Memory models against the figures that STMicroelectronics publishes with its models (Cube.AI), for the
// graphs that this project can lower. The file also holds peaks that were computed from the .tflite graphs.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "space/cost.h"
#include "space/memory.h"
#include "space/network_builder.h"
#include "space/search_space.h"

namespace nas {
namespace {

using Row = std::map<std::string, std::string>;

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      out.emplace_back();
    else if (c != '\r')
      out.back() += c;
  }
  return out;
}

std::vector<Row> published() {
  const char* data = std::getenv("HWNAS_DATA");
  const std::string folder = data != nullptr ? data : std::string(HWNAS_SOURCE_DIR) + "/../shared/data";
  std::ifstream file(folder + "/latency/stm32_modelzoo_memory_with_graph.csv");
  std::vector<Row> rows;
  std::string line;
  if (!std::getline(file, line)) return rows;
  const std::vector<std::string> names = cells(line);
  while (std::getline(file, line)) {
    const std::vector<std::string> values = cells(line);
    Row row;
    for (std::size_t i = 0; i < names.size() && i < values.size(); ++i) row[names[i]] = values[i];
    rows.push_back(std::move(row));
  }
  return rows;
}

std::int64_t number(const Row& row, const char* key) { return std::stoll(row.at(key)); }

// MobileNet v1 (Howard et al. 2017): no residuals, so it is no space of ours and is built layer by layer.
Network mobilenet_v1(double alpha, Shape image, std::int32_t classes) {
  struct Block {
    std::int32_t channels, stride;
  };
  const Block kBlocks[] = {{64, 1},  {128, 2}, {128, 1}, {256, 2}, {256, 1},  {512, 2}, {512, 1},
                           {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1}};
  const auto wide = [&](std::int32_t c) { return static_cast<std::int32_t>(c * alpha); };
  Network network;
  NetworkBuilder b(network);
  std::int32_t at = b.conv_bn_act(b.input(image), {0, 0, Role::stem}, wide(32), 3, 2, 1, Activation::relu6);
  std::int16_t n = 0;
  for (const Block& block : kBlocks) {
    ++n;
    at = b.conv_bn_act(at, {n, 1, Role::depthwise}, b.shape(at).channels, 3, block.stride,
                       b.shape(at).channels, Activation::relu6);
    at = b.conv_bn_act(at, {n, 1, Role::project}, wide(block.channels), 1, 1, 1, Activation::relu6);
  }
  b.linear(b.global_pool(at, {0, 0, Role::pool}), {0, 0, Role::classifier}, classes, true);
  return network;
}

// MobileNet v2 with alpha 0.35 as a space of one architecture; widths by make_divisible.
Network mobilenet_v2(int side, int classes) {
  const std::string text = R"({"name": "mobilenet-v2-0.35", "classes": )" + std::to_string(classes) +
                           R"(, "resolution": )" + std::to_string(side) + R"(,
    "stem": {"channels": 16, "stride": 2, "activation": "relu6"},
    "stages": [
      {"channels": 8, "expand": 1, "activation": "relu6"},
      {"channels": 8, "expand": 6, "depth": 2, "stride": 2, "activation": "relu6"},
      {"channels": 16, "expand": 6, "depth": 3, "stride": 2, "activation": "relu6"},
      {"channels": 24, "expand": 6, "depth": 4, "stride": 2, "activation": "relu6"},
      {"channels": 32, "expand": 6, "depth": 3, "activation": "relu6"},
      {"channels": 56, "expand": 6, "depth": 3, "stride": 2, "activation": "relu6"},
      {"channels": 112, "expand": 6, "activation": "relu6"}],
    "head": [{"kind": "conv", "channels": 1280, "activation": "relu6"}, {"kind": "pool"}]})";
  const auto space = parse_space(text, "mobilenet-v2.json");
  EXPECT_TRUE(space) << to_string(space.error());
  return space->lower(space->largest());
}

// ResNet v1 for CIFAR (He et al. 2016), one basic block a stage: 8 layers.
Network resnet_8() {
  const auto space = parse_space(R"({"name": "resnet-8", "classes": 10, "resolution": 32,
    "stem": {"channels": 16, "stride": 1},
    "stages": [{"block": "basic", "channels": 16}, {"block": "basic", "channels": 32, "stride": 2},
               {"block": "basic", "channels": 64, "stride": 2}],
    "head": [{"kind": "pool"}]})",
                                 "resnet-8.json");
  EXPECT_TRUE(space) << to_string(space.error());
  return space->lower(space->largest());
}

// The network of a row; the classifier's size follows from the published weights.
std::optional<Network> rebuilt(const Row& row) {
  std::istringstream shape(row.at("tfl_in_shape"));
  std::vector<std::int32_t> side;
  for (std::string part; std::getline(shape, part, 'x');) side.push_back(std::stoi(part));
  if (side.size() != 4) return std::nullopt;
  const Shape image{side[3], side[1], side[2]};
  const std::string& name = row.at("model");
  const auto with = [&](auto make) -> std::optional<Network> {
    for (const int classes : {2, 5, 10, 20, 101, 1000}) {
      Network network = make(classes);
      if (macs(network).count() == number(row, "tfl_macs")) return network;
    }
    return std::nullopt;
  };
  if (name.starts_with("MobileNet v1 0.25")) return with([&](int c) { return mobilenet_v1(0.25, image, c); });
  if (name.starts_with("MobileNet v1 0.5")) return with([&](int c) { return mobilenet_v1(0.5, image, c); });
  if (name.starts_with("MobileNet v2 0.35"))
    return with([&](int c) { return mobilenet_v2(image.height, c); });
  if (name.starts_with("ResNet v1 8")) return resnet_8();
  return std::nullopt;
}

TEST(PublishedMemory, OfRebuiltGraphsEqualsTheGraphsOwnAndTheRuntimeLiesInTheBracket) {
  const std::vector<Row> rows = published();
  if (rows.empty()) GTEST_SKIP() << "no stm32_modelzoo_memory_with_graph.csv in ../shared/data/latency";
  int compared = 0, mobilenets = 0;
  for (const Row& row : rows) {
    const std::string what = row.at("model") + " " + row.at("tfl_in_shape") + " Cube.AI " + row.at("cubeai");
    const std::optional<Network> network = rebuilt(row);
    if (!network) continue;
    ++compared;
    const std::int64_t high = peak_memory(*network, *memory_preset("in-place")).bytes.count();
    const std::int64_t low = peak_memory(*network, *memory_preset("overlap")).bytes.count();
    EXPECT_EQ(macs(*network).count(), number(row, "tfl_macs")) << what;
    EXPECT_EQ(high, number(row, "tfl_peak_inplace")) << what;
    EXPECT_EQ(low, number(row, "tfl_peak_overlap")) << what;
    const double ram = std::stod(row.at("activation_ram_kib")) * 1024;
    const double flash = std::stod(row.at("weights_flash_kib")) * 1024;
    std::printf("%-60s published %8.0f B, modelled %7ld to %7ld B\n", what.c_str(), ram,
                static_cast<long>(low), static_cast<long>(high));
    // Cube.AI keeps one 32-bit bias a channel; ours are 8 bytes, with the scale.
    std::int64_t channels = 0;
    for (const Layer& l : network->layers)
      if (l.kind == LayerKind::conv || l.kind == LayerKind::linear) channels += l.out.channels;
    EXPECT_NEAR(static_cast<double>(weight_bytes(*network, {8, 8}).count() - 4 * channels), flash,
                0.03 * flash)
        << what;
    if (!row.at("model").starts_with("MobileNet")) continue;
    ++mobilenets;
    EXPECT_GT(ram, static_cast<double>(low)) << what;
    EXPECT_LT(ram, 1.01 * static_cast<double>(high)) << what;
  }
  EXPECT_GE(compared, 15);
  EXPECT_GE(mobilenets, 12);
}

}  // namespace
}  // namespace nas
