#include <unistd.h>

#include <atomic>
#include <cstring>

#include "apps/verify/forms.h"
#include "devices/process.h"
#include "space/base/embedded.h"
#include "space/base/file.h"
#include "supernet/onnx/onnx_outputs.h"
#include "supernet/onnx/onnx_writer.h"

namespace nas::apps {

std::span<const EmbeddedFile> onnx_script_files();

namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

// Removed with all that is in it. Several forms run at once.
struct WorkFolder {
  static std::string unique() {
    static std::atomic<int> count = 0;
    return "hwnas-onnx-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
  }
  fs::path path = fs::temp_directory_path() / unique();
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

Result<void> execute(const fs::path& model, const ExportedFolder& folder, const std::vector<float>& planes,
                     const WorkFolder& work) {
  NAS_TRY(package, node_package("onnxruntime-node"));
  const std::string pixels(reinterpret_cast<const char*>(planes.data()), planes.size() * sizeof(float));
  NAS_CHECK(write_file(work.path / "run.mjs", std::string(onnx_script_files().front().text)));
  NAS_CHECK(write_file(work.path / "images.f32", pixels));
  devices::Command command;
  command.timeout = std::chrono::minutes(30);
  command.arguments = {"node", (work.path / "run.mjs").string(), fs::absolute(model).string(),
                       (work.path / "images.f32").string(), (work.path / "logits").string()};
  for (const std::int32_t side : {folder.input.channels, folder.input.height, folder.input.width})
    command.arguments.push_back(std::to_string(side));
  command.working_folder = package.parent_path().parent_path().string();
  const auto ran = devices::run_checked(command);
  return ran ? Result<void>{} : ran.error();
}

// "16x8x8" channels first -> the same values channels last.
std::string channels_last(const std::string& bytes, const std::string& shape, std::size_t size) {
  int c = 0, h = 0, w = 0;
  if (std::sscanf(shape.c_str(), "%dx%dx%d", &c, &h, &w) != 3) return bytes;
  const auto channels = static_cast<std::size_t>(c),
             plane = static_cast<std::size_t>(h) * static_cast<std::size_t>(w);
  if (bytes.size() != channels * plane * size) return bytes;
  std::string out(bytes.size(), '\0');
  for (std::size_t k = 0; k < channels; ++k)
    for (std::size_t p = 0; p < plane; ++p)
      std::memcpy(out.data() + (p * channels + k) * size, bytes.data() + (k * plane + p) * size, size);
  return out;
}

Result<void> look_inside(const ExportedFolder& folder, const std::string& bytes, bool integer,
                         const FormImages& images, FormRun& form) {
  const Record operations = folder.manifest.value("operations", Record::array());
  std::vector<std::string> names;
  for (std::size_t i = 1; i <= operations.size(); ++i)
    names.push_back("t" + std::to_string(i) + (integer ? ".q" : ""));
  const WorkFolder work;
  NAS_TRY(open, supernet::onnx_with_outputs(bytes, names, folder.path.string()));
  NAS_CHECK(write_file(work.path / "open.onnx", open));
  const auto one = static_cast<std::ptrdiff_t>(folder.input.elements());
  NAS_CHECK(
      execute(work.path / "open.onnx", folder, {images.planes.begin(), images.planes.begin() + one}, work));
  for (std::size_t i = 0; i < names.size(); ++i) {
    NAS_TRY(raw, read_file(work.path / ("logits." + names[i]), std::uint64_t{1} << 30));
    form.tensors.push_back(
        channels_last(raw, operations[i].value("output", std::string()), integer ? 1 : sizeof(float)));
  }
  return {};
}

Result<void> run(const ExportedFolder& folder, const fs::path& file, bool integer, const FormImages& images,
                 bool tensors, FormRun& form) {
  NAS_TRY(bytes, read_file(file, std::uint64_t{1} << 31));
  NAS_CHECK(supernet::check_onnx(bytes, file.string()));
  {
    const WorkFolder work;
    NAS_CHECK(execute(file, folder, images.planes, work));
    NAS_TRY(raw, read_file(work.path / "logits", std::uint64_t{1} << 30));
    if (raw.size() != images.count * folder.classes * sizeof(float))
      return Error{"required " + std::to_string(images.count * folder.classes) + " logits, found " +
                   std::to_string(raw.size() / sizeof(float))};
    form.logits.resize(raw.size() / sizeof(float));
    std::memcpy(form.logits.data(), raw.data(), raw.size());
  }
  return tensors ? look_inside(folder, bytes, integer, images, form) : Result<void>{};
}

}  // namespace

FormRun run_onnx(const ExportedFolder& folder, const std::string& precision, const FormImages& images,
                 bool tensors) {
  const bool integer = precision == "int8";
  FormRun form{"ONNX Runtime, " + precision, integer ? FormKind::onnx : FormKind::real, {}, {}, {}, 0};
  const auto done =
      run(folder, folder.path / ("model." + precision + ".onnx"), integer, images, tensors, form);
  if (!done) {
    form.logits.clear();
    form.note = to_string(done.error());
  }
  return form;
}

}  // namespace nas::apps
