#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/apps/program.h"

// hwnas export and hwnas verify as users meet them: one small supernet, trained for a moment, and all that
// can be done with it.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::AnyOf;
using testing::HasSubstr;
using testing::MatchesRegex;

class Export : public ProgramTest {
 protected:
  void train() {
    ASSERT_EQ(
        hwnas("-q train --space tiny --data procedural:classes=4,count=400,side=24,difficulty=0.05 --recipe "
              "sandwich --length 0.03 --batch 64 --out net"),
        0)
        << errors_;
  }
  // Folders and files of exports/, those half written included.
  std::size_t exported() const {
    std::error_code ignored;
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(project_ / "exports", ignored), fs::directory_iterator()));
  }
};

TEST_F(Export, WritesEveryFormAndVerifyFindsThemEqualUntilAFileIsChanged) {
  train();
  const std::string middle =
      "-f json export middle --run net --test-images 40 --device cortex-m4-qemu --out exports/";
  ASSERT_EQ(hwnas(middle), 0) << errors_;
  const Json record = Json::parse(output_);
  const fs::path folder = project_ / record["folder"].get<std::string>();
  EXPECT_THAT(folder.filename().string(), MatchesRegex("cortex-m4_lat@[0-9.]+Minstr_top1@[0-9.]+_int8"));
  EXPECT_EQ(record["forms"].size(), 7U);
  for (const char* file :
       {"model.ts.pt", "model.fp32.onnx", "model.int8.onnx", "model.fp32.tflite", "model.int8.tflite",
        "model.safetensors", "arch.json", "arch.svg", "MODEL_CARD.md", "layers.csv", "labels.txt",
        "preprocess.json", "c/net.c", "c/Makefile", "c/board/mps2-an386.ld"})
    EXPECT_TRUE(fs::exists(folder / file)) << file;
  const Json manifest = Json::parse(*read_file(folder / "manifest.json"));
  for (const auto& [name, m] : manifest["metrics"].items())
    for (const char* part : {"value", "unit", "source", "error"})
      EXPECT_TRUE(m.contains(part)) << name << " " << part;
  EXPECT_EQ(manifest["provenance"]["checkpoint_sha256"], *sha256_file(project_ / "net/supernet.safetensors"));
  EXPECT_NE(manifest["preprocessing"]["mean"][0], 0.485);  // of these images, not ImageNet's
  std::int64_t counted = 0;
  for (const Json& operation : manifest["operations"])
    counted += operation["instructions"].get<std::int64_t>();
  EXPECT_EQ(counted, manifest["metrics"]["instructions"]["value"]);

  ASSERT_EQ(hwnas("-f json verify " + folder.string()), 0) << errors_ << output_;
  for (const Json& row : Json::parse(output_))
    EXPECT_THAT(row["state"].get<std::string>(), AnyOf("equal", "not run")) << row.dump();
  EXPECT_GT(Json::parse(*read_file(folder / "parity.json"))["pairs"].size(), 10U);

  // The same network again: the same bytes.
  ASSERT_EQ(hwnas("-f json export middle --run net --test-images 40 --device cortex-m4-qemu --out again"), 0)
      << errors_;
  EXPECT_EQ(bytes("again/SHA256SUMS"), *read_file(folder / "SHA256SUMS"));
  EXPECT_EQ(hwnas("export middle --run net --out again"), 2);
  EXPECT_THAT(errors_, HasSubstr("is an exported folder already"));

  std::string damaged = *read_file(folder / "model.int8.tflite");
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  ASSERT_TRUE(write_file(folder / "model.int8.tflite", damaged));
  EXPECT_EQ(hwnas("verify " + folder.string()), 4);
  EXPECT_THAT(errors_, HasSubstr("model.int8.tflite: error: was changed after the export"));
  fs::remove(folder / "model.ts.pt");
  EXPECT_EQ(hwnas("-f json verify again " + folder.string()),
            4);  // all changed files, and the whole folder's rows
  EXPECT_THAT(errors_, HasSubstr("was changed after the export; model.ts.pt is missing"));
  EXPECT_EQ(Json::parse(output_)[0]["folder"], "again");
  EXPECT_EQ(hwnas("verify net"), 2);
  EXPECT_THAT(errors_, HasSubstr("net: error: is no exported folder"));
}

// What a search under the phone's limit promised: its kernels were profiled with these flags.
TEST_F(Export, TheCodeOfAPhoneIsCountedBuiltAndVerifiedWithThePhonesFlags) {
  train();
  const auto counted = [&](const std::string& device) {
    const std::string out = "for-" + device;
    EXPECT_EQ(hwnas("export middle --run net --test-images 40 --to c --device " + device + " --out " + out),
              0)
        << errors_;
    return Json::parse(bytes(out + "/manifest.json"))["metrics"]["instructions"]["value"].get<double>();
  };
  const double with_dot_products = counted("aarch64-a76-qemu"), without = counted("aarch64-a53-qemu");
  EXPECT_LT(with_dot_products, 0.8 * without);
  EXPECT_THAT(bytes("for-aarch64-a76-qemu/c/Makefile"),
              HasSubstr("AARCH64_FLAGS ?= -std=gnu99 -O3 -march=armv8.2-a+dotprod"));
  ASSERT_EQ(hwnas("-f json verify for-aarch64-a76-qemu"), 0) << errors_;
  double verified = 0;
  for (const Json& row : Json::parse(output_))
    if (row["runtime"] == "C, aarch64 (emulated)") {
      EXPECT_EQ(row["state"], "equal");
      verified = row["instructions"].get<double>();
    }
  EXPECT_NEAR(verified, with_dot_products, 0.001 * with_dot_products);
}

TEST_F(Export, CanBeRepeatedAndCleansUpAfterOneThatWasKilled) {
  train();
  const std::string command =
      "export smallest --run net --to c --calibration min_max --test-images 20 --out ";
  const std::string beside = "exports/killed.tmp-" + sha256("exports/killed").substr(0, 8);
  (void)signalled(command + "exports/killed", SIGKILL, beside);
  EXPECT_TRUE(!fs::exists(project_ / "exports/killed") || fs::exists(project_ / "exports/killed/SHA256SUMS"));
  // What a killed export leaves, and a folder of the user's.
  put("exports/other.tmp-0123abcd/c/net.c", "half");
  put("exports/mine.tmp-file/note", "kept");
  ASSERT_EQ(hwnas(command + "exports/whole"), 0) << errors_;
  EXPECT_FALSE(fs::exists(project_ / beside));
  EXPECT_FALSE(fs::exists(project_ / "exports/other.tmp-0123abcd"));
  EXPECT_TRUE(fs::exists(project_ / "exports/mine.tmp-file/note"));
  // Below a parent the same bytes may be there already.
  ASSERT_EQ(hwnas(command + "named/"), 0) << errors_;
  EXPECT_EQ(hwnas(command + "named/"), 0) << errors_;
  EXPECT_EQ(std::distance(fs::directory_iterator(project_ / "named"), fs::directory_iterator()), 1);
}

TEST_F(Export, FormsAfterQuantisationAwareTrainingComeFromOneSetOfWeights) {
  train();
  ASSERT_EQ(
      hwnas(
          "-f json export smallest --run net --test-images 40 --calibration min_max --finetune 0.2 --qat 0.2 "
          "--out trained"),
      0)
      << errors_;
  EXPECT_EQ(Json::parse(output_)["forms"].size(), 7U);
  const Json manifest = Json::parse(bytes("trained/manifest.json"));
  EXPECT_EQ(manifest["provenance"]["qat_epochs"], 0.2);
  EXPECT_THAT(manifest["provenance"]["note"].get<std::string>(), HasSubstr("trained quantisation-aware"));
  EXPECT_TRUE(manifest["metrics"].contains("top1_before_qat"));
  ASSERT_EQ(hwnas("-f json verify trained"), 0) << errors_ << output_;
  for (const Json& row : Json::parse(output_))
    EXPECT_THAT(row["state"].get<std::string>(), AnyOf("equal", "not run")) << row.dump();
}

TEST_F(Export, ARunOfOneNetworkExportsItAndNoOther) {
  ASSERT_EQ(hwnas("-q train --space tiny --data procedural:classes=4,count=400,side=24,difficulty=0.05 "
                  "--recipe plain "
                  "--length 0.02 --batch 64 --network smallest --out alone"),
            0)
      << errors_;
  ASSERT_EQ(hwnas("export smallest --run alone --test-images 40 --to safetensors --out one"), 0) << errors_;
  EXPECT_THAT(bytes("one/manifest.json"), HasSubstr("\"safetensors\""));
  EXPECT_EQ(hwnas("export largest --run alone --to safetensors --out other"), 2);
  EXPECT_THAT(errors_, HasSubstr("trained one network only"));
}

TEST_F(Export, SaysWhatIsWrongAndLeavesNoHalfFolder) {
  train();
  EXPECT_EQ(hwnas("export middle --run net --to onnx,coreml --out exports/"), 2);
  EXPECT_THAT(errors_, HasSubstr("a form must be one of torchscript, onnx, onnx-int8"));
  put("devices/small.json", R"({"name": "small", "description": "too small", "kind": "mcu", "engine": "c",
    "core": "cortex-m4", "ram_bytes": 4096, "flash_bytes": 1048576, "precisions": ["int8"],
    "transport": {"kind": "qemu-system", "machine": "netduinoplus2"},
    "compiler": {"program": "arm-none-eabi-gcc", "flags": ["-std=c99", "-O2"]}})");
  EXPECT_EQ(hwnas("export largest --run net --to c --device small --out exports/"), 3) << errors_;
  EXPECT_THAT(errors_, HasSubstr("too many; most at "));
  EXPECT_EQ(exported(), 0U);

  put("unfinished/config.json", bytes("net/config.json"));
  EXPECT_EQ(hwnas("export middle --run unfinished"), 2);
  EXPECT_THAT(errors_, HasSubstr("this training run has not finished"));
  std::string other = bytes("net/config.json");
  other.replace(other.find("\"tiny\""), 6, "\"cifar-mbv3\"");
  put("wrong/config.json", other);
  fs::copy_file(project_ / "net/supernet.safetensors", project_ / "wrong/supernet.safetensors");
  EXPECT_NE(hwnas("export middle --run wrong"), 0);
  EXPECT_THAT(errors_, HasSubstr("space"));
}

}  // namespace
}  // namespace nas::apps
