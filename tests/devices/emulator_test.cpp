#include "devices/emulator/qemu.h"

#include <gtest/gtest.h>

namespace nas::devices::emulator {
namespace {

using namespace std::chrono_literals;

class EmulatorTest : public ::testing::Test {
 protected:
  static Emulator emulator() {
    return Emulator(std::filesystem::temp_directory_path() / "hwnas-emulator-test");
  }
  static bool absent(std::initializer_list<const char*> programs) {
    for (const char* program : programs)
      if (!find_program(program)) return true;
    return false;
  }
};

constexpr const char* kNopProgram = R"(
#include "nas_board.h"
int nas_main(void) {
  nas_print_number("hello", 4294967295u);
  nas_region_begin();
  __asm__ volatile(".rept 1000\nnop\n.endr");
  nas_region_end();
  nas_region_begin();
  nas_region_end();
  return 7;
}
)";

constexpr const char* kEchoProgram = R"(
#include "nas_board.h"
static unsigned char data[70000];
int nas_main(void) {
  const int32_t got = nas_read_file("in.bin", data, sizeof data);
  if (got < 0) return 2;
  for (int32_t i = 0; i < got; ++i) data[i] ^= 0x5A;
  return nas_write_file("out.bin", data, (uint32_t)got) == got ? 0 : 3;
}
)";

TEST_F(EmulatorTest, CountsAThousandNopsOnEveryBoard) {
  if (absent({"arm-none-eabi-gcc", "qemu-system-arm"}))
    GTEST_SKIP() << "no Cortex-M compiler or emulator here";
  for (const Board& board : boards()) {
    const auto built = emulator().build(board, {.sources = {{"main.c", kNopProgram}}});
    ASSERT_TRUE(built) << to_string(built.error());
    const auto run = emulator().run(board, *built, {.count = true});
    ASSERT_TRUE(run) << to_string(run.error());
    EXPECT_EQ(run->exit_code, 7) << board.name;
    EXPECT_EQ(run->output, "hello 4294967295\n") << board.name;
    ASSERT_EQ(run->regions.size(), 2u) << board.name;
    EXPECT_EQ(run->regions[0].total - run->regions[1].total, 1000u) << board.name;
    EXPECT_LT(run->regions[1].total, 10u) << board.name;
    std::uint64_t sum = 0;
    for (const std::uint64_t count : run->regions[0].by_class) sum += count;
    EXPECT_EQ(sum, run->regions[0].total) << board.name;
  }
}

TEST_F(EmulatorTest, KnowsWhichBoardsHaveTheDspExtension) {
  if (absent({"arm-none-eabi-gcc", "qemu-system-arm"}))
    GTEST_SKIP() << "no Cortex-M compiler or emulator here";
  constexpr const char* kProgram = R"(
#ifdef __ARM_FEATURE_DSP
int nas_main(void) { return 1; }
#else
int nas_main(void) { return 0; }
#endif
)";
  for (const Board& board : boards()) {
    const auto built = emulator().build(board, {.sources = {{"main.c", kProgram}}});
    ASSERT_TRUE(built) << to_string(built.error());
    const auto run = emulator().run(board, *built);
    ASSERT_TRUE(run) << to_string(run.error());
    EXPECT_EQ(run->exit_code == 1, board.dsp) << board.name;
  }
}

TEST_F(EmulatorTest, CountsUnderUserEmulation) {
  if (absent({"aarch64-linux-gnu-gcc", "qemu-aarch64"}))
    GTEST_SKIP() << "no AArch64 compiler or emulator here";
  const auto built = emulator().build_aarch64({.sources = {{"main.c", kNopProgram}}});
  ASSERT_TRUE(built) << to_string(built.error());
  const auto run = emulator().run_aarch64("cortex-a76", *built, {.count = true});
  ASSERT_TRUE(run) << to_string(run.error());
  EXPECT_EQ(run->exit_code, 7);
  ASSERT_EQ(run->regions.size(), 2u);
  EXPECT_EQ(run->regions[0].total - run->regions[1].total, 1000u);
}

TEST_F(EmulatorTest, MovesFilesInAndOut) {
  if (absent({"arm-none-eabi-gcc", "qemu-system-arm"}))
    GTEST_SKIP() << "no Cortex-M compiler or emulator here";
  std::string data;
  for (int i = 0; i < 65536; ++i) data.push_back(static_cast<char>(i * 7 + i / 256));
  std::string expected = data;
  for (char& c : expected) c = static_cast<char>(c ^ 0x5A);
  const auto board = find_board("mps2-an386");
  ASSERT_TRUE(board);
  const auto built = emulator().build(*board, {.sources = {{"main.c", kEchoProgram}}});
  ASSERT_TRUE(built) << to_string(built.error());
  const auto run = emulator().run(*board, *built, {.files = {{"in.bin", data}}, .wanted = {"out.bin"}});
  ASSERT_TRUE(run) << to_string(run.error());
  EXPECT_EQ(run->exit_code, 0);
  EXPECT_EQ(run->files.at("out.bin"), expected);
}

TEST_F(EmulatorTest, ReportsAFaultAsExit99AndAnEndlessLoopAsATimeout) {
  if (absent({"arm-none-eabi-gcc", "qemu-system-arm"}))
    GTEST_SKIP() << "no Cortex-M compiler or emulator here";
  const auto board = find_board("mps2-an386");
  const auto faulty = emulator().build(*board, {.sources = {{"main.c", R"(
#include "nas_board.h"
int nas_main(void) { __asm__ volatile("udf #0"); return 0; })"}}});
  ASSERT_TRUE(faulty) << to_string(faulty.error());
  const auto fault = emulator().run(*board, *faulty);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->exit_code, 99);
  const auto endless = emulator().build(*board, {.sources = {{"main.c", R"(
#include "nas_board.h"
int nas_main(void) { for (volatile int i = 0;; ++i) ; return 0; })"}}});
  ASSERT_TRUE(endless) << to_string(endless.error());
  const auto run = emulator().run(*board, *endless, {.timeout = 300ms});
  ASSERT_FALSE(run);
  EXPECT_NE(run.error().message.find("timed out"), std::string::npos);
  EXPECT_EQ(run.error().kind, ErrorKind::device);
}

TEST_F(EmulatorTest, RefusesAProgramThatDoesNotFitARealPart) {
  if (absent({"arm-none-eabi-gcc"})) GTEST_SKIP() << "no Cortex-M compiler here";
  const auto board = find_board("netduinoplus2");
  const auto built = emulator().build(*board, {.sources = {{"main.c", R"(
#include "nas_board.h"
volatile char big[300 * 1024];
int nas_main(void) { return big[nas_read_file("x", 0, 0)]; })"}}});
  ASSERT_FALSE(built);
  EXPECT_NE(built.error().message.find("RAM"), std::string::npos) << built.error().message;
}

TEST_F(EmulatorTest, QuotesTheCompilerAndNamesUnknownBoards) {
  const auto built = emulator().build_host({.sources = {{"main.c", "int nas_main(void) { return x; }"}}});
  ASSERT_FALSE(built);
  EXPECT_NE(built.error().message.find("undeclared"), std::string::npos) << built.error().message;
  EXPECT_FALSE(find_board("mps2-an999"));
}

TEST_F(EmulatorTest, BuildsOnceAndThenReadsTheCache) {
  const Program program{.sources = {{"main.c", "int nas_main(void) { return 5; }"}}};
  const auto first = emulator().build_host(program);
  ASSERT_TRUE(first) << to_string(first.error());
  const auto time = std::filesystem::last_write_time(first->elf);
  const auto second = emulator().build_host(program);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->elf, first->elf);
  EXPECT_EQ(std::filesystem::last_write_time(second->elf), time);
  const auto run = emulator().run_host(*second);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->exit_code, 5);
}

}  // namespace
}  // namespace nas::devices::emulator
