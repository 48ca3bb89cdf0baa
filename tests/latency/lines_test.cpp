// Profiling over every line to a device: a second machine over ssh, a phone over adb, a board over a serial
// port. The machines are stand-ins that run here: an ssh server of our own, a script named adb, QEMU's UART.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "devices/byte_stream.h"
#include "devices/failure.h"
#include "devices/process.h"
#include "latency/measure/profiler.h"
#include "space/base/file.h"

namespace nas::latency {
namespace {

namespace fs = std::filesystem;
using devices::Failure;
using devices::failure_of;

constexpr const char* kHostCompiler =
    R"("compiler": {"program": "gcc", "flags": ["-std=gnu99", "-O2"], "link_flags": ["-static", "-lm"]})";

class Lines : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("hwnas-lines-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    fs::permissions(folder_, fs::perms::owner_all);
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  static std::vector<Kernel> kernels() {
    std::vector<Kernel> all;
    for (const char* text :
         {"conv k3 s1 p1 g1 8x8x8->16x8x8 w8a8 i8", "conv k1 s1 p0 g1 16x8x8->32x8x8 w8a8 i8",
          "conv k3 s1 p1 g16 16x8x8->16x8x8 w8a8 i8"})
      all.push_back(*parse_signature(text));
    return all;
  }
  static devices::DeviceProfile device(const std::string& transport, const std::string& more) {
    const auto profile = devices::parse_profile(
        R"({"name": "stand-in", "kind": "board", "precisions": ["int8"], "transport": )" + transport + ", " +
            more + "}",
        "test");
    EXPECT_TRUE(profile) << to_string(profile.error());
    return *profile;
  }
  // Records by signature; the profiling's own error in `error`.
  std::map<std::string, KernelRecord> profile(const devices::DeviceProfile& device,
                                              const std::vector<Kernel>& wanted,
                                              const std::function<void()>& after_each = {}) {
    ProfileOptions options;
    options.cache = folder_ / "cache";
    options.measure.max_secs = 0.3;
    options.measure.baseline_secs = 0.1;
    if (after_each) options.measure.block = 1;  // one kernel after the other
    auto info = describe_session(device, options);
    EXPECT_TRUE(info) << to_string(info.error());
    std::map<std::string, KernelRecord> records;
    ProfileHooks hooks;
    hooks.done = [&](const KernelRecord& r) -> Result<void> {
      records[r.signature] = r;
      if (after_each) after_each();
      return {};
    };
    states.clear();
    hooks.state = [&](const DeviceState& state) { states.push_back(state); };
    error.reset();
    if (const auto done = profile_kernels(device, wanted, options, *info, hooks); !done) error = done.error();
    context = info->context;
    return records;
  }
  void expect_all_timed(const std::map<std::string, KernelRecord>& records) const {
    EXPECT_FALSE(error) << to_string(*error);
    EXPECT_EQ(records.size(), kernels().size());
    for (const auto& [signature, record] : records) {
      EXPECT_EQ(record.failure, "") << signature;
      EXPECT_GT(record.median, 0) << signature;
    }
    // The session's states: in order, each with the reference kernel's speed.
    ASSERT_GE(states.size(), 2u);
    EXPECT_LE(states.front().time, states.back().time);
    for (const DeviceState& state : states) {
      ASSERT_EQ(state.references.size(), 1u);
      EXPECT_EQ(state.references.begin()->first, context.at("reference"));
      EXPECT_GT(state.references.begin()->second, 0);
    }
  }

  fs::path folder_;
  std::optional<Error> error;
  std::map<std::string, std::string> context;
  std::vector<DeviceState> states;
};

// ---- ssh ----

class Ssh : public Lines {
 protected:
  void SetUp() override {
    Lines::SetUp();
    server_ = devices::find_program("sshd") ? *devices::find_program("sshd") : "/usr/sbin/sshd";
    if (!fs::exists(server_) || !devices::find_program("ssh") || !devices::find_program("ssh-keygen"))
      GTEST_SKIP() << "needs sshd, ssh and ssh-keygen (packages openssh-server, openssh-client)";
    std::error_code ignored;
    if (::getuid() == 0) fs::create_directories("/run/sshd", ignored);  // sshd refuses root without it
    for (const char* key : {"host", "user"})
      ASSERT_TRUE(devices::run_checked(
          {.arguments = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", (folder_ / key).string()}}));
    fs::copy_file(folder_ / "user.pub", folder_ / "authorized");
    port_ = 20000 + static_cast<int>(::getpid() % 40000);
    ASSERT_TRUE(write_file(folder_ / "config", "Port " + std::to_string(port_) +
                                                   "\nListenAddress 127.0.0.1\nHostKey " +
                                                   (folder_ / "host").string() + "\nAuthorizedKeysFile " +
                                                   (folder_ / "authorized").string() +
                                                   "\nPidFile none\nStrictModes no\nUsePAM no\n"
                                                   "PasswordAuthentication no\n"));
    auto server = devices::ByteStream::start({server_, "-D", "-e", "-f", (folder_ / "config").string()});
    ASSERT_TRUE(server);
    running_.emplace(*std::move(server));
    for (int i = 0; i < 100 && !devices::ByteStream::open_tcp("127.0.0.1", port_, std::chrono::seconds(1));
         ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  devices::DeviceProfile machine(int port) const {
    return device(R"({"kind": "ssh", "address": "127.0.0.1", "port": )" + std::to_string(port) +
                      R"(, "folder": ")" + (folder_ / "far away").string() + R"(", "options": ["-i", ")" +
                      (folder_ / "user").string() +
                      R"(", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                          "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes"]})",
                  kHostCompiler);
  }
  std::string server_;
  int port_ = 0;
  std::optional<devices::ByteStream> running_;
};

TEST_F(Ssh, ASecondMachineIsProfiled) {
  const auto records = profile(machine(port_), kernels());
  expect_all_timed(records);
  EXPECT_EQ(context["transport"], "ssh");
  EXPECT_TRUE(states.back().load);
  EXPECT_TRUE(fs::is_empty(folder_ / "far away")) << "the agent must be removed afterwards";
}

TEST_F(Ssh, AMachineThatIsOffIsNotResponding) {
  running_.reset();
  profile(machine(port_), kernels());
  ASSERT_TRUE(error);
  EXPECT_EQ(failure_of(*error), Failure::not_responding) << error->message;
}

// ---- adb ----

class Adb : public Lines {
 protected:
  void SetUp() override {
    Lines::SetUp();
    fs::create_directories(folder_ / "bin");
    // The words of adb that hwnas uses, done by this machine's shell.
    ASSERT_TRUE(write_file(folder_ / "bin/adb",
                           "#!/bin/sh\n[ \"$1\" = -s ] && shift 2\ncase $1 in\nshell) shift; [ \"$1\" = -T ] "
                           "&& shift; exec sh -c \"$*\";;\npush) exec cp \"$2\" \"$3\";;\nesac\nexit 1\n"));
    fs::permissions(folder_ / "bin/adb", fs::perms::owner_all);
    path_ = ::getenv("PATH");
    ::setenv("PATH", ((folder_ / "bin").string() + ":" + path_).c_str(), 1);
  }
  void TearDown() override {
    ::setenv("PATH", path_.c_str(), 1);
    Lines::TearDown();
  }
  devices::DeviceProfile phone() const {
    return device(
        R"({"kind": "adb", "address": "0123456789", "folder": ")" + (folder_ / "phone").string() + "\"}",
        kHostCompiler);
  }
  std::string path_;
};

TEST_F(Adb, APhoneIsProfiled) {
  expect_all_timed(profile(phone(), kernels()));
  EXPECT_EQ(context["transport"], "adb");
  EXPECT_TRUE(states.back().load);
}

TEST_F(Adb, UnpluggedInTheMiddleKeepsWhatWasMeasured) {
  const auto records = profile(phone(), kernels(), [&] {
    // The cable: adb no longer answers, and what it ran is gone.
    std::ofstream(folder_ / "bin/adb") << "#!/bin/sh\necho 'error: no devices/emulators found' >&2\nexit 1\n";
    for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
      std::error_code ignored;
      const fs::path program = fs::read_symlink(entry.path() / "exe", ignored);
      if (!ignored && program.parent_path() == folder_ / "phone")
        ::kill(std::stoi(entry.path().filename().string()), SIGKILL);
    }
  });
  ASSERT_TRUE(error);
  EXPECT_TRUE(failure_of(*error)) << error->message;
  ASSERT_GE(records.size(), 1U);
  for (const auto& [signature, record] : records)
    EXPECT_TRUE(record.failure.empty() ? record.median > 0 : record.median == 0) << signature;
}

// ---- serial ----

class Board : public Lines {
 protected:
  void SetUp() override {
    Lines::SetUp();
    if (!devices::find_program("qemu-system-arm") || !devices::find_program("arm-none-eabi-gcc"))
      GTEST_SKIP() << "needs qemu-system-arm and arm-none-eabi-gcc";
  }
  void TearDown() override {
    unplug();
    Lines::TearDown();
  }
  void unplug() const {
    if (const auto pid = read_file(folder_ / "pid")) ::kill(std::stoi(*pid), SIGKILL);
  }
  devices::DeviceProfile board(std::int64_t ram = 192 << 10) const {
    return device(
        R"({"kind": "serial", "board": "stm32f4", "address": ")" + (folder_ / "uart").string() +
            R"(", "flash": [")" HWNAS_QEMU_BOARD R"(", "{elf}", ")" + (folder_ / "uart").string() + "\", \"" +
            (folder_ / "pid").string() + "\"]}",
        R"("clock_mhz": 168, "flash_bytes": 1048576, "ram_bytes": )" + std::to_string(ram) +
            R"(, "compiler": {"program": "arm-none-eabi-gcc", "flags": ["-std=c99", "-O2", "-mthumb",
                       "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]})");
  }
};

TEST_F(Board, TimesOverTheSerialLineAreTheInstructionsOfTheCounter) {
  const auto timed = profile(board(), kernels());
  expect_all_timed(timed);
  EXPECT_EQ(context["platform"], "stm32f4");
  EXPECT_EQ(states.back().clock_mhz, 168);
  EXPECT_FALSE(states.back().celsius);
  const auto counted = profile(*devices::load_profile("netduinoplus2-qemu"), kernels());
  for (const auto& [signature, record] : timed)
    EXPECT_NEAR(record.median / 32, counted.at(signature).median, 0.005 * counted.at(signature).median)
        << signature;
}

TEST_F(Board, KernelsTooLargeForItAreNamedWithTheFigures) {
  auto wanted = kernels();
  wanted.push_back(*parse_signature("conv k1 s1 p0 g1 64x64x64->64x64x64 w8a8 i8"));
  const auto records = profile(board(), wanted);
  EXPECT_FALSE(error) << to_string(*error);
  ASSERT_EQ(records.size(), wanted.size());
  const std::string failure = records.at(signature(wanted.back())).failure;
  EXPECT_NE(failure.find("bytes of RAM, stand-in has 196608"), std::string::npos) << failure;
  // Too little for the agent itself and the largest of them.
  const auto small = profile(board(20 << 10), kernels());
  for (const auto& [name, record] : small)
    EXPECT_NE(record.failure.find("does not fit"), std::string::npos) << name;
}

TEST_F(Board, UnpluggedInTheMiddleItKeepsWhatWasMeasured) {
  auto profile_of_board = board();
  const auto records = profile(profile_of_board, kernels(), [&] {
    unplug();
    fs::remove(folder_ / "uart");
    // The programmer finds nothing either.
    std::error_code ignored;
    fs::remove_all(folder_ / "cache", ignored);
  });
  ASSERT_TRUE(error);
  EXPECT_TRUE(failure_of(*error)) << error->message;
  EXPECT_GE(records.size(), 1U);
}

TEST_F(Board, WithoutAWayToWriteItsFlashItSaysSo) {
  auto bare = board();
  bare.transport.flash.clear();
  profile(bare, kernels());
  ASSERT_TRUE(error);
  EXPECT_NE(error->message.find("transport.flash"), std::string::npos) << error->message;
  bare.transport.board = "z80";
  profile(bare, kernels());
  ASSERT_TRUE(error);
  EXPECT_NE(error->message.find("stm32f4, stm32f7, stm32h7, found 'z80'"), std::string::npos)
      << error->message;
}

}  // namespace
}  // namespace nas::latency
