#include "devices/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/agent/hw_protocol.h"
#include "devices/agent_client.h"
#include "devices/codegen/network.h"
#include "devices/failure.h"
#include "devices/network_writer.h"
#include "devices/process.h"
#include "space/base/file.h"
#include "space/kernel.h"
#include "supernet/onnx/onnx_writer.h"
#include "supernet/tflite/tflite_writer.h"

// ONNX Runtime and TensorFlow Lite behind the agent: single int8 kernels give the bits of our own reference.
namespace nas::devices {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using testing::HasSubstr;

struct Piece {
  QuantizedNetwork network;
  EngineModel onnx, tflite;
};

// A kernel with small weights: processors without VNNI saturate sums of two products at 16 bits in ONNX
// Runtime.
Piece piece_of(const std::string& signature) {
  const auto kernel = parse_signature(signature);
  EXPECT_TRUE(kernel) << to_string(kernel.error());
  const auto network = network_of(*kernel);
  EXPECT_TRUE(network) << to_string(network.error());
  Piece piece{drawn_numbers(*deploy(*network), signature), {}, {}};
  for (QuantizedWeights& weights : piece.network.weights)
    for (std::int8_t& w : weights.values) w = static_cast<std::int8_t>(w / 2);
  const auto bytes = [](const Shape& s) { return static_cast<std::uint32_t>(s.elements()); };
  const Deployment& d = piece.network.deployment;
  piece.onnx = {"", bytes(d.input), bytes(d.ops.back().out), 1};
  piece.tflite = piece.onnx;
  const auto onnx = supernet::write_onnx(piece.network, {"piece", {}, true});
  const auto tflite = supernet::tflite_model(piece.network);
  EXPECT_TRUE(onnx) << to_string(onnx.error());
  EXPECT_TRUE(tflite) << to_string(tflite.error());
  piece.onnx.bytes = *onnx;
  piece.tflite.bytes = supernet::to_bytes(supernet::as_piece(*tflite));
  return piece;
}

// The agent's input for a seed (hw_agent.c).
std::vector<std::int8_t> agent_input(std::size_t count, std::uint32_t seed) {
  std::vector<std::int8_t> values;
  std::uint32_t state = seed * 2654435761U + 12345U;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    values.push_back(static_cast<std::int8_t>(state >> 24));
  }
  return values;
}

// [C, H, W] to [H, W, C], or back.
std::vector<std::int8_t> moved(const std::vector<std::int8_t>& from, const Shape& s, bool channels_last) {
  std::vector<std::int8_t> to(from.size());
  const auto plane = static_cast<std::size_t>(s.height * s.width), c = static_cast<std::size_t>(s.channels);
  for (std::size_t p = 0; p < plane; ++p)
    for (std::size_t k = 0; k < c; ++k)
      if (channels_last)
        to[p * c + k] = from[k * plane + p];
      else
        to[k * plane + p] = from[p * c + k];
  return to;
}

std::uint32_t crc_of(const std::vector<std::int8_t>& values) {
  return hw_crc32(0, reinterpret_cast<const std::uint8_t*>(values.data()), values.size());
}

class Engine : public testing::TestWithParam<const char*> {
 protected:
  void TearDown() override { fs::remove_all(cache_); }
  Result<AgentClient> agent_with(const std::string& engine, const EngineModel& model) {
    NAS_TRY(device, load_profile("host-" + engine));
    NAS_TRY(how, engine_build(device));
    NAS_TRY(build, build_agent(how.toolchain, std::vector{write_model(model, "piece", "piece")}, cache_,
                               how.platform));
    NAS_TRY(line, ByteStream::start({build.program.string()}));
    return AgentClient::connect(std::move(line));
  }
  fs::path cache_ = fs::temp_directory_path() / ("hwnas-engine-" + std::to_string(::getpid()));
};

TEST_P(Engine, OnnxRuntimeGivesTheBitsOfSingleRounding) {
  if (!find_engine_library("onnxruntime")) GTEST_SKIP() << find_engine_library("onnxruntime").error().message;
  const Piece piece = piece_of(GetParam());
  auto agent = agent_with("onnxruntime", piece.onnx);
  ASSERT_TRUE(agent) << to_string(agent.error());
  const Shape in = piece.network.deployment.input, out = piece.network.deployment.ops.back().out;
  for (const std::uint32_t seed : {1U, 9U}) {
    const auto input = moved(agent_input(static_cast<std::size_t>(in.elements()), seed), in, true);
    const auto expected = codegen::run_reference(piece.network, input);
    ASSERT_TRUE(expected);
    const auto found = agent->check(0, seed, seconds(20));
    ASSERT_TRUE(found) << to_string(found.error());
    EXPECT_EQ(*found, crc_of(moved(*expected, out, false)));
  }
  EXPECT_THAT((*agent->probe())["engine"], HasSubstr("ONNX Runtime 1."));
}

TEST_P(Engine, TensorFlowLiteGivesTheBitsOfDoubleRounding) {
  if (!find_engine_library("tflite")) GTEST_SKIP() << find_engine_library("tflite").error().message;
  const Piece piece = piece_of(GetParam());
  auto agent = agent_with("tflite", piece.tflite);
  ASSERT_TRUE(agent) << to_string(agent.error());
  if ((*agent->probe())["engine"].find("TFLite 2.2") == std::string::npos)
    GTEST_SKIP() << "only TFLite 2.2's kernels round as ours do everywhere";
  for (const std::uint32_t seed : {1U, 9U}) {
    const auto input = agent_input(static_cast<std::size_t>(piece.network.deployment.input.elements()), seed);
    const auto expected = codegen::run_reference(piece.network, input, codegen::Rounding::twice);
    ASSERT_TRUE(expected);
    const auto found = agent->check(0, seed, seconds(20));
    ASSERT_TRUE(found) << to_string(found.error());
    EXPECT_EQ(*found, crc_of(*expected));
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Engine,
                         testing::Values("conv k3 s1 p1 g1 8x10x10->16x10x10 relu w8a8 i8",
                                         "conv k1 s1 p0 g1 16x9x9->24x9x9 w8a8 i8",
                                         "conv k5 s2 p2 g16 16x11x11->16x6x6 relu w8a8 i8",
                                         "linear 40x1x1->10x1x1 bias w8a8 i8"),
                         [](const auto& one) { return "Kernel" + std::to_string(one.index); });

class EngineFaults : public Engine {};

TEST_F(EngineFaults, AModelThatTheEngineRefusesIsACrashWithItsWords) {
  for (const auto& [engine, words] :
       {std::pair{"onnxruntime", "ONNX Runtime: model:"}, {"tflite", "TFLite: "}}) {
    if (!find_engine_library(engine)) continue;
    auto agent = agent_with(engine, {"this is no model", 16, 16, 1});
    ASSERT_TRUE(agent) << to_string(agent.error());
    const auto ran = agent->run({}, seconds(20));
    ASSERT_FALSE(ran);
    EXPECT_EQ(failure_of(ran.error()), Failure::crashed);
    EXPECT_THAT(ran.error().message, HasSubstr("exit status 70"));
    EXPECT_THAT(ran.error().message, HasSubstr(words));
  }
}

TEST_F(EngineFaults, AnAbsentLibraryIsNamedWithHowToGetIt) {
  ::setenv("HWNAS_ONNXRUNTIME", "/no/such/library.so", 1);
  const auto wrong = find_engine_library("onnxruntime");
  ::unsetenv("HWNAS_ONNXRUNTIME");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(to_string(wrong.error()), HasSubstr("/no/such/library.so"));
  EXPECT_THAT(wrong.error().message, HasSubstr("$HWNAS_ONNXRUNTIME"));
  EXPECT_FALSE(find_engine_library("c"));
}

TEST_F(EngineFaults, ALibraryThatIsNotTheEnginesIsNamed) {
  ::setenv("HWNAS_TFLITE", "/lib/x86_64-linux-gnu/libm.so.6", 1);
  if (!find_engine_library("tflite")) GTEST_SKIP() << "no libm there";
  auto agent = agent_with("tflite", {"model", 16, 16, 1});
  ::unsetenv("HWNAS_TFLITE");
  ASSERT_TRUE(agent) << to_string(agent.error());
  const auto ran = agent->run({}, seconds(20));
  ASSERT_FALSE(ran);
  EXPECT_THAT(ran.error().message, HasSubstr("not its C library"));
}

TEST_F(EngineFaults, OnlyThisMachineRunsLoadedEngines) {
  auto device = *load_profile("host-tflite");
  device.transport.kind = TransportKind::ssh;
  const auto build = engine_build(device);
  ASSERT_FALSE(build);
  EXPECT_THAT(build.error().message, HasSubstr("found ssh"));
}

}  // namespace
}  // namespace nas::devices
