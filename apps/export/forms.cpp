#include "apps/export/forms.h"

#include <algorithm>

#include "apps/export/c_folder.h"
#include "apps/export/layer_in_message.h"
#include "devices/emulator/qemu.h"
#include "supernet/evaluate.h"
#include "supernet/network_json.h"
#include "supernet/onnx/onnx_writer.h"
#include "supernet/quantize/float_executor.h"
#include "supernet/tflite/tflite_writer.h"

namespace nas::apps {
namespace {

using namespace nas::supernet;
using devices::codegen::Rounding;

constexpr const char* kForAll = "torchscript, safetensors";

bool needs_integers(const std::string& form) {
  return form == "onnx-int8" || form == "tflite-int8" || form == "c";
}

// The layers' names in place of the deployment's numbers.
Error explained(const Subject& s, const std::string& form, const Error& error) {
  Error e = with_layer_name(error, s.trained.network);
  e.message = "form " + form + ": " + e.message;
  return e;
}

TfliteModel with_metadata(TfliteModel model, const FormFacts& facts) {
  model.metadata = facts.metadata;
  model.description = facts.metadata.at("model_description");
  return model;
}

OnnxMetadata onnx_metadata(const Subject& s, const FormFacts& facts) {
  return {s.trained.provenance.space, facts.metadata};
}

// Where nothing fits the device: what needs least, which the check of the device's sizes then refuses.
Result<devices::codegen::PatchStage> patches_of(const Subject& s, const FormFacts& facts,
                                                const devices::codegen::CodegenOptions& options) {
  using devices::codegen::choose_patches;
  if (facts.patches == "off") return devices::codegen::PatchStage{};
  const auto ram = facts.device ? facts.device->ram_bytes : std::nullopt;
  const std::int32_t grid = facts.patches == "auto" ? 0 : std::stoi(facts.patches);
  if (grid == 0 && !ram)
    return usage_error("--patches auto needs a --device whose profile says how much RAM it has");
  const auto fits = choose_patches(*s.quantized, options, grid, ram);
  const bool nothing = !fits && fits.error().kind == ErrorKind::infeasible;
  return nothing ? choose_patches(*s.quantized, options, grid) : fits;
}

// Of the device where it is one of that architecture.
std::vector<std::string> aarch64_flags(const std::optional<devices::DeviceProfile>& device) {
  return device && device->toolchain.compiler.starts_with("aarch64") ? device->toolchain.flags
                                                                     : devices::emulator::Program().flags;
}

Result<void> write_c(const Subject& s, const FormFacts& facts, Forms& forms) {
  const bool large = facts.device && facts.device->kind != "mcu";
  const devices::codegen::CodegenOptions options{.dsp = !large, .neon = large};
  NAS_TRY(patches, patches_of(s, facts, options));
  NAS_TRY(made, devices::codegen::generate_network(*s.quantized, options, patches));
  NAS_TRY(files, c_files(s, made, aarch64_flags(facts.device)));
  forms.files.merge(files);
  forms.made = std::move(made);
  return {};
}

Result<void> write_form(const Subject& s, const std::string& form, const FormFacts& facts, Forms& forms) {
  const auto put = [&](const char* name, Result<std::string> bytes) -> Result<void> {
    if (!bytes) return bytes.error();
    forms.files[name] = std::move(*bytes);
    return {};
  };
  if (form == "torchscript") return put("model.ts.pt", write_torchscript(s.trained, facts.facts));
  if (form == "safetensors") {
    forms.files["model.safetensors"] = to_bytes(s.trained);
    forms.files["arch.json"] =
        nlohmann::ordered_json{{"space", s.trained.provenance.space},
                               {"genotype", s.genotype},
                               {"network", nlohmann::ordered_json::parse(network_to_json(s.trained.network))}}
            .dump(1) +
        "\n";
    return {};
  }
  if (!s.folded)
    return usage_error(s.why_not_deployable.substr(0, s.why_not_deployable.find(';')) +
                       "; the forms for this network are " + kForAll);
  if (form == "onnx") return put("model.fp32.onnx", write_onnx(*s.folded, onnx_metadata(s, facts)));
  if (form == "onnx-int8") return put("model.int8.onnx", write_onnx(*s.quantized, onnx_metadata(s, facts)));
  if (form == "c") return write_c(s, facts, forms);
  const bool integer = form == "tflite-int8";
  NAS_TRY(model, integer ? tflite_model(fold_gates(*s.quantized)) : tflite_model(*s.folded));
  forms.files[integer ? "model.int8.tflite" : "model.fp32.tflite"] =
      to_bytes(with_metadata(std::move(model), facts));
  return {};
}

template <class T>
void append_raw(std::string& to, const std::vector<T>& values) {
  to.append(reinterpret_cast<const char*>(values.data()), sizeof(T) * values.size());
}

std::vector<float> real_logits(const std::vector<std::int8_t>& q, const Quantization& grid) {
  std::vector<float> logits;
  for (const std::int8_t v : q) logits.push_back(static_cast<float>(from_grid(v, grid)));
  return logits;
}

}  // namespace

Result<Forms> write_forms(const Subject& s, const std::vector<std::string>& wanted, const FormFacts& facts) {
  Forms forms;
  for (const std::string& form : wanted.empty() ? export_forms() : wanted) {
    if (needs_integers(form) && s.folded && !s.quantized)
      return Error{"form " + form + " without quantisation"};
    const auto written = write_form(s, form, facts, forms);
    if (written) {
      forms.names.push_back(form);
      continue;
    }
    const Error e = explained(s, form, written.error());
    if (!wanted.empty()) return e;
    forms.left_out[form] = e.message;
  }
  return forms;
}

Result<ExportFiles> vector_files(const Subject& s) {
  ExportFiles files;
  const Shape in = s.trained.network.layers.front().out;
  Image all;
  for (const Image& image : s.vectors.images) {
    append_raw(files["test/images.f32"], planes_of(image, in));
    all.insert(all.end(), image.begin(), image.end());
  }
  NAS_TRY(exact, logits(s.trained, all));
  append_raw(files["test/logits.fp32.f32"], exact);
  for (std::size_t i = 0; i < s.vectors.images.size(); ++i)
    files["test/images.txt"] += s.vector_names[i] + "\t" + std::to_string(s.vectors.labels[i]) + "\n";
  if (!s.quantized) return files;
  const QuantizedNetwork gated = fold_gates(*s.quantized);
  for (const Image& image : s.vectors.images) {
    const auto q = on_grid(image, s.quantized->tensors[0]);
    NAS_TRY(once, devices::codegen::run_reference(*s.quantized, q));
    NAS_TRY(twice, devices::codegen::run_reference(gated, q, Rounding::twice));
    append_raw(files["test/logits.int8.f32"], real_logits(once, s.quantized->tensors.back()));
    append_raw(files["test/logits.tflite-int8.f32"], real_logits(twice, s.quantized->tensors.back()));
  }
  return files;
}

}  // namespace nas::apps
