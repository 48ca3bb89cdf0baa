#include "devices/process.h"
#include "tests/apps/program.h"

// Devices, tables and profiling as users type them.
namespace nas::apps {
namespace {

using testing::HasSubstr;
using testing::Not;

class DeviceCommands : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    cache_ = "XDG_CACHE_HOME=" + (project_ / "cache").string();
  }
  int run(const std::string& arguments) { return hwnas(arguments, cache_); }
  std::string cache_;
};

TEST_F(DeviceCommands, ADeviceIsAddedListedShownLockedAndUnlocked) {
  ASSERT_EQ(run("device add lab --like aarch64-a72-ssh --address me@board --port 2222"), 0) << errors_;
  ASSERT_EQ(run("device list --columns name,transport,locked_by"), 0) << errors_;
  EXPECT_THAT(output_, HasSubstr("lab "));
  EXPECT_THAT(output_, HasSubstr("cortex-m4-qemu"));
  ASSERT_EQ(run("device show lab"), 0);
  EXPECT_THAT(output_, HasSubstr("me@board"));
  EXPECT_THAT(output_, HasSubstr("2222"));
  EXPECT_EQ(run("device add lab --like aarch64-a72-ssh"), 2);
  EXPECT_THAT(errors_, HasSubstr("exists already"));
  ASSERT_EQ(run("device lock lab --reason charging --minutes 5"), 0) << errors_;
  EXPECT_EQ(run("device test lab"), 5);
  EXPECT_THAT(errors_, HasSubstr("lock held"));
  EXPECT_THAT(errors_, HasSubstr("charging"));
  ASSERT_EQ(run("device unlock lab"), 0);
  EXPECT_THAT(output_, HasSubstr("true"));
}

TEST_F(DeviceCommands, MistakesAreOneLineWithWhatToDo) {
  EXPECT_EQ(run("device show cortex-m4-quemu"), 2);
  EXPECT_THAT(errors_, HasSubstr("did you mean cortex-m4-qemu"));
  EXPECT_EQ(run("device add odd --like host --address -oProxyCommand=x"), 2);
  EXPECT_THAT(errors_, HasSubstr("must not begin with -"));
  EXPECT_EQ(run("device add new"), 2);
  EXPECT_THAT(errors_, HasSubstr("--like"));
  put("bad.json", R"({"name": "bad", "kind": "toaster", "transport": {"kind": "local"}, "colour": 1})");
  EXPECT_EQ(run("device add " + (project_ / "bad.json").string()), 2);
  EXPECT_THAT(errors_, HasSubstr("toaster"));
  EXPECT_THAT(errors_, HasSubstr("colour"));
}

TEST_F(DeviceCommands, OtherEnginesAreOtherProfilesOfTheDevice) {
  EXPECT_EQ(run("profile cortex-m4-qemu --engine torch --space tiny"), 2);
  EXPECT_THAT(errors_, HasSubstr("host-torch"));
  EXPECT_EQ(run("profile host --space tiny --num-threads 4 --max-kernels 1"), 2);
  EXPECT_THAT(errors_, HasSubstr("one thread"));
  ASSERT_EQ(hwnas("profile host --engine tflite --space tiny --max-kernels 1",
                  cache_ + " HWNAS_TFLITE=/no/library.so"),
            2);
  EXPECT_THAT(errors_, HasSubstr("/no/library.so"));
}

TEST_F(DeviceCommands, ATableIsShownExportedImportedAndCompared) {
  if (!devices::find_program("gcc")) GTEST_SKIP() << "needs gcc";
  ASSERT_EQ(
      run("-q profile host --space tiny --precision int8 --max-kernels 4 --max-secs 0.1 --session a.jsonl"),
      0)
      << errors_;
  ASSERT_EQ(run("table show a.jsonl -f csv --columns signature,median,unit,source"), 0) << errors_;
  EXPECT_THAT(output_, HasSubstr(",ns,measured"));
  ASSERT_EQ(run("table export a.jsonl --out a.csv"), 0) << errors_;
  ASSERT_EQ(run("table import a.csv copy"), 0) << errors_;
  ASSERT_EQ(run("table diff a.jsonl a.jsonl"), 0) << errors_;
  EXPECT_THAT(output_, HasSubstr("share that is identical"));
  EXPECT_EQ(run("table import a.csv copy"), 2);
  EXPECT_THAT(errors_, HasSubstr("exists already"));
  EXPECT_EQ(run("table diff a.jsonl copy"), 2) << "another engine's table must not be compared";
  EXPECT_THAT(errors_, HasSubstr("must be of one engine"));
  EXPECT_EQ(run("table import a.csv ../out"), 2);
}

TEST_F(DeviceCommands, ASessionOfAnotherDeviceIsNotContinued) {
  if (!devices::find_program("gcc")) GTEST_SKIP() << "needs gcc";
  ASSERT_EQ(
      run("-q profile host --space tiny --precision int8 --max-kernels 1 --max-secs 0.1 --session a.jsonl"),
      0)
      << errors_;
  EXPECT_EQ(run("-q profile cortex-m4-qemu --space tiny --max-kernels 1 --session a.jsonl"), 2);
  EXPECT_THAT(errors_, HasSubstr("another device"));
}

TEST_F(DeviceCommands, APlanSaysHowManyHowSureAndHowLong) {
  if (!devices::find_program("gcc")) GTEST_SKIP() << "needs gcc";
  ASSERT_EQ(
      run("profile host --space tiny --precision int8 --design cover --budget 40 --dry-run --max-secs 0.1"),
      0)
      << errors_;
  EXPECT_THAT(output_, HasSubstr("to measure"));
  EXPECT_THAT(output_, HasSubstr("just now"));
  ASSERT_EQ(run("profile host --space tiny --precision int8 --design cover --budget 12 --max-secs 0.05"), 0)
      << errors_;
  EXPECT_THAT(errors_, HasSubstr("12 of "));
  EXPECT_THAT(errors_, HasSubstr("predicted within +-10 %"));
  EXPECT_THAT(output_, HasSubstr("kernels measured          12"));
}

TEST_F(DeviceCommands, EnergyIsMeasuredOrItsAbsenceIsNamed) {
  if (!devices::find_program("gcc")) GTEST_SKIP() << "needs gcc";
  const int code =
      run("-q profile host --space tiny --precision int8 --max-kernels 1 --max-secs 0.1 --energy");
  if (code != 0) {
    EXPECT_EQ(code, 5);
    EXPECT_THAT(errors_, HasSubstr("energy"));
  }
  EXPECT_EQ(run("-q profile cortex-m4-qemu --space tiny --max-kernels 1 --energy"), 2);
  EXPECT_THAT(errors_, HasSubstr("this machine only"));
}

TEST_F(DeviceCommands, TheDoctorNamesEverythingAndHowToGetWhatIsMissing) {
  ASSERT_EQ(hwnas("doctor -f jsonl", "HWNAS_NODE_MODULES=/nowhere"), 0) << errors_;
  for (const char* what : {"arm-none-eabi-gcc", "qemu-system-arm", "adb", "ssh", "governor", "BLAS", "RAPL",
                           "serial ports", "engine onnxruntime", "engine tflite", "engine torch"})
    EXPECT_THAT(output_, HasSubstr(what));
}

}  // namespace
}  // namespace nas::apps
