#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "devices/byte_stream.h"
#include "devices/process.h"
#include "results/measurements.h"
#include "results/store.h"

// `hwnas profile` as users run it, killed in the middle.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;

std::size_t lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::size_t count = 0;
  for (std::string line; std::getline(in, line);) ++count;
  return count;
}

TEST(ProfileCommand, KilledItGoesOnAndTheStoreHoldsEveryMeasurement) {
  if (!devices::find_program("gcc")) GTEST_SKIP() << "needs gcc";
  const fs::path project = fs::temp_directory_path() / ("hwnas-profile-" + std::to_string(::getpid()));
  fs::create_directories(project);
  ::setenv("XDG_CACHE_HOME", (project / "cache").c_str(), 1);
  const fs::path session = project / "session.jsonl";
  constexpr std::size_t kKernels = 12;
  const std::vector<std::string> command{
      HWNAS_PROGRAM,   "-q",      "-C",          project.string(), "profile",
      "host",          "--space", "tiny",        "--max-kernels",  std::to_string(kKernels),
      "--max-secs",    "0.1",     "--precision", "int8",           "--session",
      session.string()};
  {
    auto running = devices::ByteStream::start(command);
    ASSERT_TRUE(running);
    for (int i = 0; i < 6000 && lines_of(session) < 3; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ::kill(running->process(), SIGKILL);
  }
  const std::size_t before = lines_of(session);
  ASSERT_GE(before, 3U) << "nothing was measured in a minute";
  const auto again = devices::run_process({.arguments = command, .timeout = std::chrono::minutes(2)});
  ASSERT_TRUE(again && again->ok()) << again->errors;
  auto store = results::Store::open(project, {.access = results::Access::read});
  ASSERT_TRUE(store) << to_string(store.error());
  const auto sessions = results::list_sessions(*store);
  ASSERT_EQ(sessions->size(), 1U) << "the second start must continue the first one's session";
  EXPECT_EQ(sessions->front().state, "done");
  EXPECT_EQ(sessions->front().unit, "ns");
  const auto rows = results::kernel_times(*store, sessions->front().id, true);
  ASSERT_EQ(rows->size(), kKernels);
  for (const results::KernelTime& row : *rows) {
    EXPECT_GT(row.time.median, 0) << row.signature;
    EXPECT_FALSE(row.time.samples.empty()) << row.signature;
  }
  fs::remove_all(project);
}

}  // namespace
}  // namespace nas::apps
