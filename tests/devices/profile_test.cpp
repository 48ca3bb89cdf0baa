#include "devices/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "devices/device_lock.h"
#include "devices/emulator/board.h"
#include "devices/failure.h"
#include "space/base/file.h"

namespace nas::devices {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(Profiles, AllShippedOnesAreSoundAndNamedLikeTheirFiles) {
  EXPECT_GE(builtin_profile_names().size(), 20u);
  for (const std::string& name : builtin_profile_names()) {
    const auto profile = load_profile(name);
    ASSERT_TRUE(profile) << to_string(profile.error());
    EXPECT_EQ(profile->name, name);
    if (profile->transport.kind == TransportKind::qemu_system) {
      EXPECT_TRUE(emulator::find_board(profile->transport.machine)) << name;
    }
    EXPECT_EQ(profile->unit() == "instructions", name.ends_with("-qemu")) << name;
  }
}

TEST(Profiles, EmulatedBudgetsAreThoseOfTheBoard) {
  for (const std::string& name : builtin_profile_names()) {
    const auto profile = load_profile(name);
    if (profile->transport.kind != TransportKind::qemu_system) continue;
    const auto board = emulator::find_board(profile->transport.machine);
    EXPECT_EQ(profile->ram_bytes, board->ram.length) << name;
    EXPECT_EQ(profile->flash_bytes, board->flash.length) << name;
    EXPECT_EQ(profile->core, board->core) << name;
  }
}

TEST(Profiles, MistakesAreAllReportedWithTheirPlaces) {
  const auto profile = parse_profile(
      "{\n \"name\": \"x\",\n \"kind\": \"toaster\",\n \"coers\": 4,\n \"transport\": {\"kind\": \"ssh\", "
      "\"address\": \"-oProxyCommand=x\"},\n"
      " \"compiler\": {\"program\": \"gcc\"}\n}",
      "mine.json");
  ASSERT_FALSE(profile);
  const std::string all = to_string(profile.error());
  EXPECT_THAT(all, HasSubstr("mine.json:3"));
  EXPECT_THAT(all, HasSubstr("coers: unknown key"));
  EXPECT_THAT(all, HasSubstr("must not begin with -"));
}

TEST(Profiles, AnUnknownNameGetsASuggestion) {
  const auto profile = load_profile("cortex-m4-qmeu");
  ASSERT_FALSE(profile);
  EXPECT_THAT(profile.error().message, HasSubstr("cortex-m4-qemu"));
}

class Locks : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("hwnas-locks-" + std::to_string(::getpid()));
  }
  void TearDown() override { fs::remove_all(folder_); }
  LockInfo info(std::int64_t expires) const { return {"board", lock_owner(), "a test", ::getpid(), expires}; }
  fs::path folder_;
};

TEST_F(Locks, OneAtATimeAndReleasedByDestruction) {
  {
    const auto first = DeviceLock::take(folder_, info(1000), 500);
    ASSERT_TRUE(first);
    const auto second = DeviceLock::take(folder_, info(1000), 600);
    ASSERT_FALSE(second);
    EXPECT_EQ(failure_of(second.error()), Failure::lock_held);
    EXPECT_THAT(second.error().message, HasSubstr("a test"));
    EXPECT_TRUE(DeviceLock::take(folder_, {"other", lock_owner(), "", ::getpid(), 1000}, 600));
  }
  EXPECT_TRUE(DeviceLock::take(folder_, info(1000), 600));
}

TEST_F(Locks, ExpireAndEndWithTheirProcess) {
  auto old = DeviceLock::take(folder_, info(1000), 500);
  ASSERT_TRUE(old);
  EXPECT_TRUE(DeviceLock::take(folder_, info(3000), 1000));
  LockInfo dead = info(5000);
  dead.pid = 0x7ffffff0;
  auto left = DeviceLock::take(folder_, dead, 4000);
  ASSERT_TRUE(left);
  left->keep();
  EXPECT_TRUE(DeviceLock::take(folder_, info(5000), 4001));
}

// Numbers of processes come round again: the lock of a killed one must not become somebody else's.
TEST_F(Locks, EndWithTheirProcessThoughAnotherHasItsNumber) {
  auto lock = DeviceLock::take(folder_, info(5000), 4000);
  ASSERT_TRUE(lock);
  EXPECT_FALSE(DeviceLock::take(folder_, info(5000), 4001));
  lock->keep();
  std::string text = *read_file(folder_ / "board.lock");
  const auto started = text.rfind('\n', text.size() - 2) + 1;
  ASSERT_GT(std::stoll(text.substr(started)), 0);
  text.replace(started, std::string::npos, "1\n");  // this process is younger than that
  ASSERT_TRUE(write_file(folder_ / "board.lock", text));
  EXPECT_TRUE(DeviceLock::take(folder_, info(5000), 4001));
}

TEST_F(Locks, WaitForAProcessThatIsJustEnding) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::usleep(300000);
    ::_exit(0);
  }
  LockInfo ending = info(5000);
  ending.pid = child;
  auto lock = DeviceLock::take(folder_, ending, 4000);
  ASSERT_TRUE(lock);
  lock->keep();
  EXPECT_TRUE(DeviceLock::take(folder_, info(5000), 4001));
  ::waitpid(child, nullptr, 0);
}

TEST_F(Locks, TakenByHandStayUntilReleased) {
  LockInfo hand = info(5000);
  hand.pid = 0;
  auto lock = DeviceLock::take(folder_, hand, 1);
  ASSERT_TRUE(lock);
  lock->keep();
  EXPECT_FALSE(DeviceLock::take(folder_, info(5000), 2));
  EXPECT_TRUE(DeviceLock::release(folder_, "board"));
  EXPECT_FALSE(DeviceLock::release(folder_, "board"));
  EXPECT_TRUE(DeviceLock::take(folder_, info(5000), 3));
}

}  // namespace
}  // namespace nas::devices
