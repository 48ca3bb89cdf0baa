#include "supernet/trained_network.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "space/base/file.h"
#include "space/base/rng.h"
#include "space/search_space.h"
#include "supernet/network_json.h"
#include "supernet/parts.h"

namespace nas::supernet {
namespace {

TrainedNetwork small_network() {
  auto space = load_space("tiny", {10, {16}});
  TrainedNetwork t;
  t.network = space->lower(space->smallest());
  Rng rng(1, "weights");
  const auto add = [&](const Layer& l, const std::string& part, const std::vector<std::int64_t>& shape,
                       bool positive) {
    std::int64_t count = 1;
    for (const std::int64_t d : shape) count *= d;
    NamedTensor n{layer_name(l) + "." + part, shape, {}};
    for (std::int64_t i = 0; i < count; ++i)
      n.values.push_back(static_cast<float>(positive ? rng.uniform() : rng.normal()));
    t.tensors.push_back(std::move(n));
  };
  for (const Layer& l : t.network.layers) {
    for (const PartShape& p : parts_of(l)) add(l, std::string(to_string(p.part)), p.shape, false);
    if (l.kind == LayerKind::batch_norm) {
      add(l, "mean", {l.out.channels}, false);
      add(l, "variance", {l.out.channels}, true);
    }
  }
  t.batch_norm_epsilon = 1e-3;
  t.provenance = {"tiny", "00ff", "r=16", "sandwich", "abcd", 123, "a \"note\" with\nlines"};
  return t;
}

TEST(TrainedNetworkFile, ComesBackEqual) {
  const TrainedNetwork t = small_network();
  const auto path = std::filesystem::temp_directory_path() / "hwnas_trained_network_test.safetensors";
  ASSERT_TRUE(save(path, t));
  const auto back = load_trained(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(network_to_json(back->network), network_to_json(t.network));
  EXPECT_EQ(back->tensors, t.tensors);
  EXPECT_EQ(back->provenance, t.provenance);
  EXPECT_DOUBLE_EQ(back->batch_norm_epsilon, 1e-3);
}

TEST(TrainedNetworkFile, ChecksShapesLeftoversAndValues) {
  TrainedNetwork t = small_network();
  t.tensors[0].shape[0] += 1;
  EXPECT_NE(check(t).error().message.find("must be 8x3x3x3, found 9x3x3x3"), std::string::npos)
      << check(t).error().message;
  t = small_network();
  t.tensors.push_back({"stray", {1}, {0}});
  EXPECT_NE(check(t).error().message.find("stray"), std::string::npos);
  t = small_network();
  t.tensors[2].values[0] = NAN;
  EXPECT_FALSE(check(t));
  t = small_network();
  t.tensors.pop_back();
  EXPECT_FALSE(check(t));
}

// Every mutation of the bytes must be refused: the checksum covers all of them.
TEST(TrainedNetworkFile, DamagedBytesAreRefused) {
  const std::string good = to_bytes(small_network());
  Rng rng(4, "fuzz");
  for (int i = 0; i < 150; ++i) {
    std::string bytes = good;
    const auto kind = rng.below(3);
    if (kind == 0) bytes[rng.below(bytes.size())] ^= static_cast<char>(1 + rng.below(255));
    if (kind == 1) bytes.resize(rng.below(bytes.size()));
    if (kind == 2) bytes.insert(rng.below(bytes.size()), std::string(1 + rng.below(9), 'x'));
    EXPECT_FALSE(trained_from_bytes(bytes, "fuzz")) << i;
  }
}

// The bytes with the checksum they ought to have: what a forger would write.
std::string resummed(std::string bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const std::size_t at = bytes.find("\"sha256\":\"") + 10;
  if (at < 18 || at + 64 > bytes.size() || length > bytes.size() - 8) return bytes;
  bytes.replace(at, 64, std::string(64, '0'));
  return bytes.replace(at, 64, sha256(bytes.substr(8)));
}

// And with a header that lies under a good checksum, nothing may be read out of bounds or believed.
TEST(TensorFileReader, LyingHeadersAreRefusedOrHarmless) {
  TensorFile file;
  file.metadata = {{"a", "b"}};
  file.tensors = {{"x", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"y", {1}, {7}}};
  ASSERT_TRUE(from_bytes(to_bytes(file), "good"));
  const std::pair<const char*, const char*> lies[] = {
      {"[2,3]", "[9,3]"}, {"[0,24]", "[4,28]"}, {"[24,28]", "[20,24]"}, {"\"F32\"", "\"I32\""},
      {"[1]", "[7]"},     {"[0,24]", "[24,0]"}, {"\"y\"", "\"x\""},     {"[24,28]", "[24]   "}};
  ASSERT_TRUE(from_bytes(resummed(to_bytes(file)), "good"));
  for (const auto& [from, to] : lies) {
    std::string bytes = to_bytes(file);
    const std::size_t at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bytes.replace(at, std::string(from).size(), to);
    const auto read = from_bytes(resummed(bytes), "lie");
    ASSERT_FALSE(read) << from << " -> " << to;
    EXPECT_EQ(read.error().message.find("checksum"), std::string::npos) << read.error().message;
  }
}

TEST(TrainedNetworkFile, ForgedFilesAreRefusedOrAreNetworks) {
  const std::string good = to_bytes(small_network());
  ASSERT_TRUE(trained_from_bytes(resummed(good), "good"));
  std::uint64_t length = 0;
  std::memcpy(&length, good.data(), sizeof length);
  Rng rng(6, "forgery");
  int refused = 0;
  for (int i = 0; i < 600; ++i) {
    std::string bytes = good;
    for (std::uint64_t k = 0; k <= rng.below(3); ++k)
      bytes[8 + rng.below(length)] = "0123456789,[]{}-\"\\eE"[rng.below(20)];
    const auto read = trained_from_bytes(resummed(bytes), "forged");
    refused += !read;
    if (read) {
      EXPECT_TRUE(check(*read)) << i;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(NetworkJson, RefusesWhatIsNoNetwork) {
  const std::string good = network_to_json(small_network().network);
  ASSERT_TRUE(network_from_json(good, "x"));
  Rng rng(8, "json fuzz");
  for (int i = 0; i < 2000; ++i) {
    std::string text = good;
    for (std::uint64_t k = 0; k <= rng.below(4); ++k)
      text[rng.below(text.size())] = "0123456789,[]-"[rng.below(14)];
    const auto network = network_from_json(text, "x");  // must not crash; what it accepts must be valid
    if (network) {
      EXPECT_TRUE(validate(*network));
    }
  }
}

}  // namespace
}  // namespace nas::supernet
