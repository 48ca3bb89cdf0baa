#include "apps/onnx_runtime.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "devices/process.h"
#include "space/base/embedded.h"
#include "space/base/file.h"

namespace nas::apps {

std::span<const EmbeddedFile> onnx_script_files();

namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

// The folder from which Node.js finds onnxruntime-node.
Result<fs::path> runtime_folder() {
  std::error_code ignored;
  if (const char* named = std::getenv("HWNAS_NODE_MODULES")) return fs::path(named).parent_path();
  for (fs::path at = fs::read_symlink("/proc/self/exe", ignored).parent_path(); at.has_relative_path();
       at = at.parent_path())
    if (fs::exists(at / "node_modules/onnxruntime-node", ignored)) return at;
  return Error{"no ONNX Runtime here: npm package onnxruntime-node in node_modules, or $HWNAS_NODE_MODULES"};
}

Result<std::vector<float>> read_floats(const fs::path& path) {
  NAS_TRY(bytes, read_file(path, std::uint64_t{1} << 30));
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

Result<std::vector<float>> run_model(const fs::path& model, const fs::path& images, const Record& input) {
  NAS_TRY(where, runtime_folder());
  const fs::path work = fs::temp_directory_path() / ("hwnas-onnx-" + std::to_string(::getpid()));
  NAS_CHECK(write_file(work / "run.mjs", std::string(onnx_script_files().front().text)));
  devices::Command command;
  command.arguments = {"node", (work / "run.mjs").string(), fs::absolute(model).string(),
                       fs::absolute(images).string(), (work / "logits.f32").string()};
  for (const char* side : {"channels", "height", "width"})
    command.arguments.push_back(std::to_string(input.value(side, 0)));
  command.working_folder = where.string();
  const auto ran = devices::run_checked(command);
  auto logits = ran ? read_floats(work / "logits.f32") : Result<std::vector<float>>(ran.error());
  std::error_code ignored;
  fs::remove_all(work, ignored);
  return logits;
}

Result<Record> compare(const fs::path& folder, const std::string& precision) {
  NAS_TRY(text, read_file(folder / "manifest.json", 1 << 24));
  const Record manifest = Record::parse(text, nullptr, false);
  NAS_TRY(expected, read_floats(folder / "test" / ("logits." + precision + ".f32")));
  NAS_TRY(found,
          run_model(folder / ("model." + precision + ".onnx"), folder / "test/images.f32",
                    manifest.is_object() ? manifest.value("input", Record::object()) : Record::object()));
  const Record output = manifest.is_object() ? manifest.value("output", Record::object()) : Record::object();
  const double step = output.value("scale", 0.0);
  const std::size_t classes = output.value("classes", std::size_t{0});
  if (found.size() != expected.size() || classes == 0 || expected.size() % classes != 0)
    return Error{"required " + std::to_string(expected.size()) + " logits, found " +
                 std::to_string(found.size())};
  double largest = 1e-30, farthest = 0, mean = 0;
  std::size_t same = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    largest = std::max<double>(largest, std::abs(expected[i]));
    farthest = std::max<double>(farthest, std::abs(expected[i] - found[i]));
    mean += std::abs(expected[i] - found[i]) / static_cast<double>(found.size());
  }
  const auto answer = [classes](const std::vector<float>& logits, std::size_t image) {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(image * classes);
    return std::max_element(begin, begin + static_cast<std::ptrdiff_t>(classes)) - begin;
  };
  const std::size_t images = found.size() / classes;
  for (std::size_t i = 0; i < images; ++i) same += answer(expected, i) == answer(found, i);
  const bool close = precision == "fp32" ? farthest <= 2e-5 * largest : mean <= step;
  char note[160];
  std::snprintf(
      note, sizeof note,
      "same answer on %zu of %zu images; logits differ by %.2g on average, %.2g at most (largest %.3g)", same,
      images, mean, farthest, largest);
  return Record{{"runtime", "ONNX Runtime, " + precision},
                {"state", close && same == images ? "equal" : "differs"},
                {"images", images},
                {"agreement", static_cast<double>(same) / static_cast<double>(images)},
                {"max_difference", farthest},
                {"mean_difference", mean},
                {"note", note}};
}

}  // namespace

Record verify_onnx(const fs::path& folder, const std::string& precision) {
  auto row = compare(folder, precision);
  if (row) return *row;
  return {{"runtime", "ONNX Runtime, " + precision}, {"state", "not run"}, {"note", row.error().message}};
}

}  // namespace nas::apps
