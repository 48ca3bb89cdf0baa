#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "apps/verify/forms.h"
#include "space/base/file.h"
#include "supernet/tflite/tflite_model.h"
#include "supernet/tflite/tflite_runtime.h"

namespace nas::apps {
namespace {

using namespace nas::supernet;

using Outputs = std::vector<std::vector<std::string>>;

// Interpreters on all cores, each for a part of the images.
Result<Outputs> run_spread(const TfliteRuntime& runtime, const std::string& model,
                           std::span<const std::string> inputs) {
  const std::size_t parts = std::clamp<std::size_t>(
      inputs.size() / 8, 1, static_cast<std::size_t>(tbb::this_task_arena::max_concurrency()));
  std::vector<std::optional<Result<Outputs>>> ran(parts);
  tbb::parallel_for(std::size_t{0}, parts, [&](std::size_t i) {
    const std::size_t from = inputs.size() * i / parts, to = inputs.size() * (i + 1) / parts;
    ran[i] = runtime.run(model, inputs.subspan(from, to - from));
  });
  Outputs all;
  for (auto& part : ran) {
    if (!*part) return part->error();
    for (auto& outputs : **part) all.push_back(std::move(outputs));
  }
  return all;
}

// Runs the model as it is for the logits, and with every operation's tensor as an output for the first image.
Result<void> run(const ExportedFolder& folder, const std::string& file, bool integer,
                 const FormImages& images, bool tensors, FormRun& form) {
  NAS_TRY(package, node_package("node-tflite"));
  NAS_TRY(runtime, TfliteRuntime::open(package / "tflite/linux_x86_64/libtensorflowlite_c.so"));
  form.name = "TensorFlow Lite " + runtime.version() + (integer ? ", int8" : ", fp32");
  NAS_TRY(bytes, read_file(folder.path / file, std::uint64_t{1} << 31));
  NAS_TRY(model, tflite_from_bytes(bytes, (folder.path / file).string()));
  std::vector<std::string> inputs;
  for (std::size_t i = 0; i < images.count; ++i) {
    const auto rows = rows_of(images, folder.input, i);
    inputs.push_back(
        integer ? int8_rows(images, folder, i)
                : std::string(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(float)));
  }
  NAS_TRY(outputs, run_spread(runtime, bytes, inputs));
  for (const auto& output : outputs) {
    const std::string& raw = output.front();
    if (raw.size() != folder.classes * (integer ? 1 : sizeof(float)))
      return Error{"required " + std::to_string(folder.classes) + " logits, found " +
                   std::to_string(raw.size()) + " bytes"};
    for (std::size_t k = 0; k < folder.classes; ++k) {
      float value = 0;
      if (integer)
        value =
            static_cast<float>(folder.output_scale * (static_cast<std::int8_t>(raw[k]) - folder.output_zero));
      else
        std::memcpy(&value, raw.data() + k * sizeof(float), sizeof(float));
      form.logits.push_back(value);
    }
  }
  if (!tensors) return {};
  model.outputs.clear();
  const std::size_t operations = folder.manifest.value("operations", nlohmann::ordered_json::array()).size();
  for (std::size_t i = 1; i <= operations; ++i)
    for (std::size_t t = 0; t < model.tensors.size(); ++t)
      if (model.tensors[t].name == "t" + std::to_string(i))
        model.outputs.push_back(static_cast<std::int32_t>(t));
  if (model.outputs.size() != operations) return {};
  NAS_TRY(layers, runtime.run(to_bytes(model), std::span(inputs).first(1)));
  form.tensors = std::move(layers.front());
  return {};
}

}  // namespace

FormRun run_tflite(const ExportedFolder& folder, const std::string& precision, const FormImages& images,
                   bool tensors) {
  const bool integer = precision == "int8";
  FormRun form{"TensorFlow Lite, " + precision, integer ? FormKind::tflite : FormKind::real, {}, {}, {}, 0};
  const auto done = run(folder, "model." + precision + ".tflite", integer, images, tensors, form);
  if (!done) {
    form.logits.clear();
    form.note = to_string(done.error());
  }
  return form;
}

}  // namespace nas::apps
