#include "apps/export/manifest.h"

#include <cmath>
#include <cstdio>

#include "apps/command.h"
#include "space/cost.h"
#include "space/picture.h"
#include "supernet/evaluate.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

Record metric(const Record& value, const char* unit, const std::string& source,
              const Record& error = nullptr) {
  return {{"value", value}, {"unit", unit}, {"source", source}, {"error", error}};
}

// A share of the test images, with its 95 % Wilson interval.
Record share(std::size_t right, std::size_t images, const std::string& source) {
  const double n = static_cast<double>(std::max<std::size_t>(1, images));
  const auto [low, high] =
      supernet::wilson_interval(static_cast<std::int64_t>(right), static_cast<std::int64_t>(images));
  return metric(static_cast<double>(right) / n, "share", source,
                {{"low", low}, {"high", high}, {"confidence", 0.95}});
}

Record metrics_of(const ExportFacts& f) {
  const Agreement& a = f.agreement;
  const std::string measured = "measured on the test split";
  Record m;
  if (f.subject.before) m["top1_before_qat"] = share(a.before_right, a.images, measured + " (LibTorch)");
  m["top1_float"] = share(a.float_right, a.images, measured + " (LibTorch)");
  if (f.subject.quantized) {
    m["top1_int8"] = share(a.int8_right, a.images, measured + " (the exported C on the exporting machine)");
    m["top1_agreement"] = share(a.same, a.images, measured);
    m["largest_difference"] = metric(a.largest_difference, "logit", measured);
    m["mean_difference"] = metric(a.mean_difference, "logit", measured);
  }
  m["test_images"] = metric(a.images, "images", "counted");
  m["macs"] = metric(macs(f.subject.trained.network).count(), "MACs", "exact");
  m["params"] = metric(params(f.subject.trained.network).count(), "parameters", "exact");
  if (f.forms.made) {
    m["arena"] = metric(f.forms.made->arena_bytes, "bytes", "exact");
    m["constants"] = metric(f.forms.made->weight_bytes, "bytes", "exact");
  }
  if (f.instructions)
    m["instructions"] = metric(f.instructions->total, "instructions",
                               "measured under emulation (" + f.device->name + "), one image", 0);
  return m;
}

std::string operation_name(const Network& network, const DeployedOp& op) {
  std::string name = layer_name(network.layers[static_cast<std::size_t>(op.layer)]);
  if (op.part == DeployedPart::squeeze) name += ".squeeze";
  if (op.part == DeployedPart::excite) name += ".excite";
  return name;
}

std::string text(const Shape& s) {
  return std::to_string(s.channels) + "x" + std::to_string(s.height) + "x" + std::to_string(s.width);
}

// The deployed operations in order, named after the layers they come from.
Record operations_of(const ExportFacts& f) {
  Record list = Record::array();
  if (!f.subject.folded) return list;
  const Network& network = f.subject.trained.network;
  for (std::size_t i = 0; i < f.subject.folded->deployment.ops.size(); ++i) {
    const DeployedOp& op = f.subject.folded->deployment.ops[i];
    const Layer& layer = network.layers[static_cast<std::size_t>(op.layer)];
    const bool main = op.part == DeployedPart::none || op.part == DeployedPart::main;
    Record row{{"operation", operation_name(network, op)},
               {"input", text(op.in)},
               {"output", text(op.out)},
               {"macs", main && layer.kind != LayerKind::squeeze_excite ? macs(layer).count() : 0}};
    if (op.part != DeployedPart::none && f.subject.quantized) row["weight_bits"] = op.weight_bits;
    if (f.forms.made) {
      row["offset"] = f.forms.made->places[i + 1].offset;
      row["bytes"] = f.forms.made->places[i + 1].bytes;
      row["arena_bytes"] = f.forms.made->op_arena_bytes[i];
      row["constant_bytes"] = f.forms.made->op_weight_bytes[i];
    }
    if (f.instructions) row["instructions"] = f.instructions->operations[i];
    list.push_back(std::move(row));
  }
  return list;
}

Record grid_record(const Quantization& grid) { return {{"scale", grid.scale}, {"zero", grid.zero}}; }

std::string layers_csv(const Record& operations) {
  std::string csv = "operation,input,output,macs,arena_bytes,constant_bytes,instructions,share\n";
  double total = 0;
  for (const Record& row : operations) total += row.value("instructions", 0.0);
  for (const Record& row : operations) {
    const auto cell = [&](const char* key) {
      return row.contains(key) ? "," + row[key].dump() : std::string(",");
    };
    char part[32] = "";
    if (total > 0) std::snprintf(part, sizeof part, "%.6f", row.value("instructions", 0.0) / total);
    csv += row["operation"].get<std::string>() + "," + row["input"].get<std::string>() + "," +
           row["output"].get<std::string>() + cell("macs") + cell("arena_bytes") + cell("constant_bytes") +
           cell("instructions") + "," + part + "\n";
  }
  return csv;
}

std::string percent(const Record& manifest, const char* key) {
  char words[80];
  const Record& m = manifest["metrics"][key];
  std::snprintf(words, sizeof words, "%.2f %% (95 %%: %.2f to %.2f)", 100 * m["value"].get<double>(),
                100 * m["error"]["low"].get<double>(), 100 * m["error"]["high"].get<double>());
  return words;
}

std::string front_matter(const ExportFacts& f, const Record& manifest) {
  std::string card =
      "---\nlicense: other\npipeline_tag: image-classification\nlibrary_name: hwnas\ntags:\n"
      "- image-classification\n- neural-architecture-search\n- " +
      f.subject.trained.provenance.space + "\nmodel-index:\n- name: " + folder_name(f) +
      "\n  results:\n  - task: {type: image-classification}\n    dataset: {name: \"" +
      manifest["provenance"]["data"].get<std::string>() + "\", type: image-folder}\n    metrics:\n";
  const char* key = f.subject.quantized ? "top1_int8" : "top1_float";
  return card + "    - {type: accuracy, value: " + manifest["metrics"][key]["value"].dump() + "}\n---\n\n";
}

std::string model_card(const ExportFacts& f, const Record& manifest) {
  const supernet::Provenance& p = f.subject.trained.provenance;
  std::string card =
      front_matter(f, manifest) + "# " + folder_name(f) + "\n\nAn image classifier of " +
      std::to_string(f.source.job().feeds.store().classes().size()) + " classes, found by hwnas " +
      version() + " in the space " + p.space + ": `" + f.subject.genotype + "`.\n\n## Use\n\n" +
      "It says which of the classes in labels.txt a picture shows. It was trained on one data set and " +
      "knows nothing else: pictures of other things get one of these labels too. preprocess.json says " +
      "how a picture becomes its input.\n\n## Results\n\n| what | value | how |\n| --- | --- | --- |\n";
  for (const auto& [key, m] : manifest["metrics"].items()) {
    const bool is_share = m["unit"] == "share";
    card +=
        "| " + key + " | " +
        (is_share ? percent(manifest, key.c_str()) : m["value"].dump() + " " + m["unit"].get<std::string>()) +
        " | " + m["source"].get<std::string>() + " |\n";
  }
  card += "\n## Forms\n\n";
  for (const std::string& form : f.forms.names) card += "- " + form + "\n";
  for (const auto& [form, why] : f.forms.left_out) card += "- not " + form + ": " + why + "\n";
  card +=
      "\n`hwnas verify` runs the pictures of test/ through every form that has a runtime and writes "
      "parity.json.\n\n"
      "## Training\n\nRecipe " +
      p.recipe + ", " + std::to_string(p.steps) + " steps, seed " + std::to_string(f.source.config().seed) +
      ", " + manifest["provenance"]["data"].get<std::string>() +
      ". Weights are inherited from a once-for-all supernet; batch-norm statistics were taken anew on "
      "pictures of "
      "the recalibration split.\n";
  return card;
}

// How the C code runs its first operations; null: whole.
Record patches_of(const ExportFacts& f) {
  if (!f.forms.made || f.forms.made->patches.operations == 0) return nullptr;
  return {{"operations", f.forms.made->patches.operations},
          {"windows_a_side", f.forms.made->patches.grid},
          {"macs_of_the_stage", f.forms.made->patch_macs}};
}

}  // namespace

Record preprocessing_of(const ExportSource& source, const Shape& input) {
  const data::Augmentation& view = source.job().feeds.view();
  return {{"resize",
           {{"shorter_side", static_cast<int>(std::ceil(input.height / view.centre_ratio))},
            {"filter", "bilinear, antialiased"}}},
          {"crop", {{"height", input.height}, {"width", input.width}, {"place", "centre"}}},
          {"channels", "RGB"},
          {"formula", "(value / 255 - mean) / deviation"},
          {"mean", view.mean},
          {"deviation", view.deviation},
          {"source", "taken from the training split"}};
}

Record manifest_of(const ExportFacts& f) {
  const auto& p = f.subject.trained.provenance;
  const Shape in = f.subject.trained.network.layers.front().out;
  const auto& store = f.source.job().feeds.store();
  Record input{{"height", in.height}, {"width", in.width}, {"channels", in.channels}, {"layout", "HWC"}};
  Record output{{"classes", store.classes().size()}};
  if (f.subject.quantized) {
    input.update(grid_record(f.subject.quantized->tensors.front()));
    output.update(grid_record(f.subject.quantized->tensors.back()));
  }
  Record device = nullptr;
  if (f.device)
    device = {
        {"name", f.device->name},
        {"core", f.device->core},
        {"profile_fingerprint", f.device->fingerprint},
        {"compiler", {{"program", f.device->toolchain.compiler}, {"flags", f.device->toolchain.flags}}}};
  return {
      {"schema", 2},
      {"tool", std::string("hwnas ") + version()},
      {"name", folder_name(f)},
      {"architecture",
       {{"space", p.space}, {"space_fingerprint", p.space_fingerprint}, {"genotype", f.subject.genotype}}},
      {"device", device},
      {"forms", f.forms.names},
      {"left_out", f.forms.left_out},
      {"metrics", metrics_of(f)},
      {"operations", operations_of(f)},
      {"patches", patches_of(f)},
      {"input", input},
      {"output", output},
      {"preprocessing", preprocessing_of(f.source, in)},
      {"provenance",
       {{"config", to_record(f.source.config())},
        {"seed", f.source.config().seed},
        {"data", store.description()},
        {"data_fingerprint", f.source.job().feeds.fingerprint()},
        {"checkpoint_sha256", f.source.checkpoint_sum()},
        {"recipe", p.recipe},
        {"steps", p.steps},
        {"note", p.note},
        {"compression", f.subject.compression},
        {"calibration", f.subject.quantized ? Record(f.options.stage.calibration) : Record(nullptr)},
        {"calibration_images", f.options.stage.calibration_images},
        {"finetune_epochs", f.options.stage.finetune},
        {"qat_epochs", f.options.stage.qat},
        {"versions", {{"hwnas", version()}, {"compiler", __VERSION__}}}}}};
}

std::string folder_name(const ExportFacts& f) {
  char latency[48], top1[32];
  if (f.instructions)
    std::snprintf(latency, sizeof latency, "lat@%.3gMinstr",
                  static_cast<double>(f.instructions->total) / 1e6);
  else
    std::snprintf(latency, sizeof latency, "macs@%.3gM",
                  static_cast<double>(macs(f.subject.trained.network).count()) / 1e6);
  const std::size_t right = f.subject.quantized ? f.agreement.int8_right : f.agreement.float_right;
  std::snprintf(
      top1, sizeof top1, "top1@%.1f",
      100.0 * static_cast<double>(right) / static_cast<double>(std::max<std::size_t>(1, f.agreement.images)));
  std::string device = f.device ? f.device->name : "any";
  if (device.ends_with("-qemu")) device.resize(device.size() - 5);
  return device + "_" + latency + "_" + top1 + "_" + (f.subject.quantized ? "int8" : "fp32");
}

ExportFiles descriptive_files(const ExportFacts& f, const Record& manifest) {
  std::string labels;
  for (const auto& name : f.source.job().feeds.store().classes()) labels += name + "\n";
  PictureOptions picture;
  picture.title = folder_name(f);
  if (f.device) picture.fusion = f.device->fusion;
  ExportFiles files{{"manifest.json", manifest.dump(2) + "\n"},
                    {"MODEL_CARD.md", model_card(f, manifest)},
                    {"arch.svg", svg(f.subject.trained.network, picture)},
                    {"labels.txt", labels},
                    {"preprocess.json", manifest["preprocessing"].dump(2) + "\n"}};
  if (f.subject.folded) files["layers.csv"] = layers_csv(manifest["operations"]);
  return files;
}

}  // namespace nas::apps
