#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <thread>

#include "devices/agent/hw_protocol.h"
#include "devices/agent_build.h"
#include "devices/agent_client.h"
#include "devices/failure.h"
#include "devices/transport.h"
#include "space/base/file.h"
#include "space/base/rng.h"

namespace nas::devices {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const fs::path& cache() {
  static const fs::path folder =
      fs::temp_directory_path() / ("hwnas-agent-test-" + std::to_string(::getpid()));
  static const struct Remover {
    ~Remover() { fs::remove_all(folder); }
  } remover;
  return folder;
}

KernelCode kernel(const std::string& name, const std::string& body) {
  KernelCode code{name, name,
                  "#include <stdint.h>\n#include <stdlib.h>\nvoid " + name + "(uint8_t* a) {" + body + "}\n"};
  code.arena_bytes = 64;
  code.input_bytes = 32;
  code.output_offset = 32;
  code.output_bytes = 32;
  return code;
}

// The agent with a kernel that doubles bytes, one that dies, one that never ends.
const AgentBuild& agent() {
  static const auto build = build_agent(
      {"gcc", {"-std=gnu99", "-O1"}, {}},
      std::vector{kernel("twice", "for (int i = 0; i < 32; ++i) a[32 + i] = (uint8_t)(2 * a[i]);"),
                  kernel("dies", "(void)a; abort();"),
                  kernel("hangs", "for (volatile int i = 1; i; ) (void)a;")},
      cache());
  if (!build) ADD_FAILURE() << to_string(build.error());
  return *build;
}

Result<AgentClient> connected() {
  auto line = ByteStream::start({agent().program.string()});
  if (!line) return line.error();
  return AgentClient::connect(*std::move(line));
}

TEST(Agent, TellsItsKernelsAndReturnsRawSamples) {
  auto client = connected();
  ASSERT_TRUE(client) << to_string(client.error());
  EXPECT_EQ(client->info().kernels, 3);
  EXPECT_EQ(client->info().build, agent().id);
  EXPECT_GT(client->info().timer_step, 0u);
  EXPECT_EQ(client->kernel(0)->signature, "twice");
  const auto samples = client->run({0, 1000, 20, 2}, 5s);
  ASSERT_TRUE(samples) << to_string(samples.error());
  EXPECT_EQ(samples->size(), 20u);
  EXPECT_GT(samples->front(), 0u);
  client->finish();
}

TEST(Agent, ChecksumOfTheOutputIsTheOneComputedHere) {
  auto client = connected();
  ASSERT_TRUE(client);
  std::array<std::uint8_t, 32> expected;
  std::uint32_t state = 7 * 2654435761u + 12345u;
  for (std::uint8_t& byte : expected) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<std::uint8_t>(2 * (state >> 24));
  }
  EXPECT_EQ(*client->check(0, 7, 1s), hw_crc32(0, expected.data(), expected.size()));
}

TEST(Agent, RefusesWhatItCannotDo) {
  auto client = connected();
  ASSERT_TRUE(client);
  for (const auto& samples :
       {client->run({9, 1, 1, 0}, 1s), client->run({0, 0, 1, 0}, 1s), client->run({0, 1, 5000, 0}, 1s)}) {
    ASSERT_FALSE(samples);
    EXPECT_EQ(failure_of(samples.error()), Failure::rejected) << samples.error().message;
  }
  EXPECT_TRUE(client->run({0, 1, 1, 0}, 1s));
}

TEST(Agent, ACrashingKernelIsACrashWithItsSignal) {
  auto client = connected();
  ASSERT_TRUE(client);
  const auto samples = client->run({1, 1, 1, 0}, 5s);
  ASSERT_FALSE(samples);
  EXPECT_EQ(failure_of(samples.error()), Failure::crashed);
  EXPECT_NE(samples.error().message.find("signal 6"), std::string::npos) << samples.error().message;
}

TEST(Agent, AHangingKernelTimesOut) {
  auto client = connected();
  ASSERT_TRUE(client);
  const auto samples = client->run({2, 1, 1, 0}, 200ms);
  ASSERT_FALSE(samples);
  EXPECT_EQ(failure_of(samples.error()), Failure::timed_out);
}

TEST(Agent, BeingKilledBetweenRequestsIsACrash) {
  auto client = connected();
  ASSERT_TRUE(client);
  ::kill(client->stream().process(), SIGKILL);
  const auto samples = client->run({0, 1, 1, 0}, 2s);
  ASSERT_FALSE(samples);
  EXPECT_EQ(failure_of(samples.error()), Failure::crashed);
  EXPECT_NE(samples.error().message.find("signal 9"), std::string::npos) << samples.error().message;
}

TEST(Agent, SomethingThatIsNoAgentIsNotResponding) {
  auto line = ByteStream::start({"sleep", "10"});
  ASSERT_TRUE(line);
  const auto client = AgentClient::connect(*std::move(line), 300ms);
  ASSERT_FALSE(client);
  EXPECT_EQ(failure_of(client.error()), Failure::not_responding);
}

TEST(Agent, ADeviceThatIsUnpluggedIsNotResponding) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  ByteStream line = ByteStream::from_descriptors(ends[0], ends[0], "tty");
  ::close(ends[1]);
  const auto client = AgentClient::connect(std::move(line), 300ms);
  ASSERT_FALSE(client);
  EXPECT_EQ(failure_of(client.error()), Failure::not_responding) << client.error().message;
}

// What a device of another age or with a broken line might answer to the greeting.
Result<AgentClient> answered_with(const std::vector<std::uint8_t>& bytes) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  EXPECT_EQ(::write(ends[1], bytes.data(), bytes.size()), std::ssize(bytes));
  auto client = AgentClient::connect(ByteStream::from_descriptors(ends[0], ends[0], "line"), 60ms);
  ::close(ends[1]);
  return client;
}

TEST(Agent, AnotherProtocolVersionIsRejectedByName) {
  std::vector<std::uint8_t> frame(64);
  frame.resize(hw_encode(frame.data(), 64, HW_HELLO | HW_REPLY, 1, nullptr, 0));
  frame[2] = 9;
  hw_put16(&frame[10], static_cast<std::uint16_t>(hw_crc32(0, frame.data(), 10)));
  const auto client = answered_with(frame);
  ASSERT_FALSE(client);
  EXPECT_EQ(failure_of(client.error()), Failure::rejected);
  EXPECT_NE(client.error().message.find("version 9"), std::string::npos);
}

TEST(Agent, ClientSurvivesAnyAnswer) {
  std::vector<std::uint8_t> payload(40, 'x'), frame(100);
  frame.resize(hw_encode(frame.data(), 100, HW_HELLO | HW_REPLY, 1, payload.data(), 40));
  for (std::uint64_t round = 0; round < 60; ++round) {
    Rng rng(3, "client fuzz", round);
    std::vector<std::uint8_t> bytes = frame;
    for (int m = 0; m < 4; ++m) bytes[rng.below(bytes.size())] = static_cast<std::uint8_t>(rng.next());
    if (round % 3 == 0) bytes.resize(rng.below(bytes.size()));
    const auto client = answered_with(bytes);
    if (client) continue;
    EXPECT_TRUE(failure_of(client.error())) << client.error().message;
  }
}

TEST(Agent, SurvivesGarbageAndGoesOn) {
  auto line = ByteStream::start({agent().program.string()});
  ASSERT_TRUE(line);
  Rng rng(4, "agent fuzz");
  std::vector<std::uint8_t> garbage(20000);
  for (std::uint8_t& byte : garbage)
    byte = rng.chance(0.1) ? 'H' : rng.chance(0.1) ? 'W' : static_cast<std::uint8_t>(rng.next());
  ASSERT_TRUE(line->write(garbage, 2s));
  auto client = AgentClient::connect(*std::move(line), 3s);
  ASSERT_TRUE(client) << to_string(client.error());
  EXPECT_TRUE(client->run({0, 1, 1, 0}, 1s));
}

TEST(Agent, IsBuiltOnceForTheSameKernels) {
  const AgentBuild first = agent();
  const auto time = fs::last_write_time(first.program);
  const auto again =
      build_agent({"gcc", {"-std=gnu99", "-O1"}, {}}, std::vector{kernel("one", "(void)a;")}, cache());
  ASSERT_TRUE(again);
  EXPECT_NE(again->program, first.program);
  EXPECT_EQ(fs::last_write_time(first.program), time);
}

TEST(Agent, AKernelThatTheCompilerRefusesIsNamed) {
  const auto build =
      build_agent({"gcc", {"-std=gnu99"}, {}}, std::vector{kernel("broken", "this is not C")}, cache());
  ASSERT_FALSE(build);
  EXPECT_EQ(build.error().where, "broken");
}

// adb as the transport calls it, on this machine's shell.
class FakeAdb : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(cache() / "bin");
    ASSERT_TRUE(write_file(cache() / "bin/adb",
                           "#!/bin/sh\n[ \"$1\" = -s ] && { [ \"$2\" = good ] || { echo \"error: device '$2' "
                           "not found\" >&2; exit 1; }; shift 2; }\n"
                           "case $1 in\nshell) shift; [ \"$1\" = -T ] && shift; exec sh -c \"$*\";;\npush) "
                           "exec cp \"$2\" \"$3\";;\nesac\nexit 1\n"));
    fs::permissions(cache() / "bin/adb", fs::perms::owner_all);
    before_ = getenv("PATH");
    setenv("PATH", ((cache() / "bin").string() + ":" + before_).c_str(), 1);
  }
  void TearDown() override { setenv("PATH", before_.c_str(), 1); }
  static TransportSpec spec(const std::string& serial) {
    TransportSpec spec;
    spec.kind = TransportKind::adb;
    spec.address = serial;
    spec.folder = (cache() / "phone dir").string();
    return spec;
  }
  std::string before_;
};

TEST_F(FakeAdb, PushesRunsPullsAndTalks) {
  const auto phone = Transport::make(spec("good"));
  ASSERT_TRUE(phone);
  ASSERT_TRUE(phone->connect());
  const auto pushed = phone->push(agent().program, "agent");
  ASSERT_TRUE(pushed) << to_string(pushed.error());
  auto line = phone->start("agent", {});
  ASSERT_TRUE(line);
  auto client = AgentClient::connect(*std::move(line));
  ASSERT_TRUE(client) << to_string(client.error());
  EXPECT_TRUE(client->run({0, 1, 3, 0}, 2s));
  client->finish();
  ASSERT_TRUE(write_file(cache() / "phone dir/words", "two\nlines\n"));
  EXPECT_EQ(*phone->pull("words"), "two\nlines\n");
  const auto refused = phone->run("agent", {"--nonsense"}, 5s);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->exit_code, 2);
  EXPECT_TRUE(phone->probe()->contains("machine"));
}

TEST_F(FakeAdb, AnAbsentPhoneIsNotResponding) {
  const auto connected = Transport::make(spec("lost"))->connect();
  ASSERT_FALSE(connected);
  EXPECT_EQ(failure_of(connected.error()), Failure::not_responding);
  EXPECT_NE(connected.error().message.find("'lost' not found"), std::string::npos)
      << connected.error().message;
}

}  // namespace
}  // namespace nas::devices
