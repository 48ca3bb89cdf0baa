#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <sstream>

#include "apps/verify/forms.h"
#include "space/base/file.h"

namespace nas::apps {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

Result<ExportedFolder> read_export(const fs::path& path) {
  NAS_TRY(text, read_file(path / "manifest.json", 1 << 24));
  ExportedFolder folder;
  folder.path = path;
  folder.manifest = Record::parse(text, nullptr, false);
  const auto bad = [&] {
    return Error{"is no manifest of an export", (path / "manifest.json").string(), ErrorKind::verification};
  };
  if (!folder.manifest.is_object()) return bad();
  const Record input = folder.manifest.value("input", Record::object()),
               output = folder.manifest.value("output", Record::object());
  const auto number = [](const Record& from, const char* key) {
    return from.is_object() && from.contains(key) && from[key].is_number() ? from[key].get<double>() : 0.0;
  };
  const auto side = [&](const char* key) {
    return static_cast<std::int32_t>(std::clamp(number(input, key), 0.0, 65536.0));
  };
  folder.input = {side("channels"), side("height"), side("width")};
  folder.classes = static_cast<std::size_t>(std::clamp(number(output, "classes"), 0.0, 1e6));
  folder.input_scale = number(input, "scale");
  folder.output_scale = number(output, "scale");
  folder.input_zero = static_cast<int>(std::clamp(number(input, "zero"), -128.0, 127.0));
  folder.output_zero = static_cast<int>(std::clamp(number(output, "zero"), -128.0, 127.0));
  if (folder.input.elements() == 0 || folder.input.elements() > (std::int64_t{1} << 28) ||
      folder.classes == 0)
    return bad();
  return folder;
}

Result<FormImages> stored_images(const ExportedFolder& folder) {
  const fs::path file = folder.path / "test/images.f32";
  NAS_TRY(bytes, read_file(file, std::uint64_t{1} << 32));
  const auto size = static_cast<std::size_t>(folder.input.elements()) * sizeof(float);
  if (bytes.empty() || bytes.size() % size != 0)
    return Error{"holds no whole images of " + std::to_string(folder.input.elements()) + " numbers",
                 file.string(), ErrorKind::verification};
  FormImages images;
  images.count = bytes.size() / size;
  images.planes.resize(bytes.size() / sizeof(float));
  std::memcpy(images.planes.data(), bytes.data(), bytes.size());
  if (const auto names = read_file(folder.path / "test/images.txt", 1 << 20)) {
    std::istringstream lines(*names);
    for (std::string line; std::getline(lines, line);)
      images.labels.push_back(
          std::strtoll(line.c_str() + std::min(line.size(), line.rfind('\t') + 1), nullptr, 10));
    if (images.labels.size() != images.count) images.labels.clear();
  }
  return images;
}

std::vector<float> rows_of(const FormImages& images, const Shape& s, std::size_t image) {
  const auto plane = static_cast<std::size_t>(s.height * s.width),
             channels = static_cast<std::size_t>(s.channels);
  const float* from = images.planes.data() + image * plane * channels;
  std::vector<float> rows(plane * channels);
  for (std::size_t p = 0; p < plane; ++p)
    for (std::size_t c = 0; c < channels; ++c) rows[p * channels + c] = from[c * plane + p];
  return rows;
}

std::string int8_rows(const FormImages& images, const ExportedFolder& folder, std::size_t image) {
  std::string q;
  for (const float v : rows_of(images, folder.input, image))
    q.push_back(static_cast<char>(std::clamp(
        std::nearbyint(static_cast<double>(v) / folder.input_scale) + folder.input_zero, -128.0, 127.0)));
  return q;
}

Result<fs::path> node_package(const std::string& package) {
  std::error_code ignored;
  if (const char* named = std::getenv("HWNAS_NODE_MODULES");
      named && fs::exists(fs::path(named) / package, ignored))
    return fs::path(named) / package;
  for (fs::path at = fs::read_symlink("/proc/self/exe", ignored).parent_path(); at.has_relative_path();
       at = at.parent_path())
    if (fs::exists(at / "node_modules" / package, ignored)) return at / "node_modules" / package;
  return Error{"npm package " + package +
               " is not here: node_modules beside or above the program, or $HWNAS_NODE_MODULES"};
}

std::vector<FormRun> run_forms(const ExportedFolder& folder, const FormImages& images,
                               const TorchForms& torch, const std::string& cache, const RunWishes& wishes) {
  std::vector<FormRun> runs;
  const auto with_torch = [&](const char* name, const char* file, const auto& function) {
    if (!folder.has(file)) return;
    FormRun run{name, FormKind::real, {}, {}, {}, 0};
    if (!function) {
      run.note = "this build of hwnas has no LibTorch";
    } else if (auto logits = function(folder, images)) {
      run.logits = std::move(*logits);
    } else {
      run.note = to_string(logits.error());
    }
    runs.push_back(std::move(run));
  };
  with_torch("LibTorch", "model.safetensors", torch.libtorch);
  with_torch("TorchScript", "model.ts.pt", torch.torchscript);
  std::vector<FormJob> jobs;
  const auto add = [&](const char* file, const char* precision, const auto& form) {
    if (folder.has(file))
      jobs.push_back([&, precision] { return form(folder, precision, images, wishes.tensors); });
  };
  add("model.fp32.onnx", "fp32", run_onnx);
  add("model.fp32.tflite", "fp32", run_tflite);
  if (folder.has("c/net.c"))
    std::ranges::move(c_forms(folder, images, cache, wishes), std::back_inserter(jobs));
  add("model.int8.onnx", "int8", run_onnx);
  add("model.int8.tflite", "int8", run_tflite);
  const std::size_t first = runs.size();
  runs.resize(first + jobs.size());
  tbb::parallel_for(std::size_t{0}, jobs.size(), [&](std::size_t i) { runs[first + i] = jobs[i](); });
  return runs;
}

}  // namespace nas::apps
