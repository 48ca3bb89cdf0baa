#include <algorithm>
#include <filesystem>
#include <memory>

#include "apps/accuracy_file.h"
#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/export.h"
#include "apps/export/manifest.h"
#include "apps/export_ledger.h"
#include "apps/progress.h"
#include "apps/quantize_commands.h"
#include "space/base/file.h"
#include "space/base/folder.h"
#include "space/cost.h"
#include "supernet/runtime.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

bool wants_integers(const std::vector<std::string>& forms) {
  return forms.empty() || std::any_of(forms.begin(), forms.end(), [](const std::string& form) {
           return form == "c" || form == "onnx-int8" || form == "tflite-int8";
         });
}

// The same bytes that are there already are kept.
Result<void> write_export(const fs::path& out, const ExportFiles& files) {
  std::string sums;
  for (const auto& [name, content] : files) sums += sha256(content) + "  " + name + "\n";
  std::error_code ignored;
  if (fs::exists(out / "SHA256SUMS", ignored)) {
    const auto there = read_file(out / "SHA256SUMS");
    if (there && *there == sums) return {};
  }
  return write_folder(out, [&](const fs::path& beside) -> Result<void> {
    for (const auto& [name, content] : files) NAS_CHECK(write_file(beside / name, content));
    return write_file(beside / "SHA256SUMS", sums);
  });
}

// The operation with the most of something, by name.
std::string largest_layer(const Subject& s, const std::vector<std::int64_t>& bytes) {
  const auto most = static_cast<std::size_t>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
  const auto layer = static_cast<std::size_t>(s.folded->deployment.ops[most].layer);
  return layer_name(s.trained.network.layers[layer]) + " (" + std::to_string(bytes[most]) + " bytes)";
}

// What patches would do about an arena that is too large.
std::string patch_hint(const Subject& s, const devices::codegen::GeneratedNetwork& made, std::int64_t ram) {
  if (made.patches.operations > 0 || made.arena_bytes <= ram) return {};
  return devices::codegen::choose_patches(*s.quantized, {.neon = false}, 0, ram)
             ? "; with --patches auto it fits"
             : "; no patches make it fit";
}

Result<void> check_fits(const Subject& s, const devices::codegen::GeneratedNetwork& made,
                        const devices::DeviceProfile& device) {
  const std::string hint = device.ram_bytes ? patch_hint(s, made, *device.ram_bytes) : std::string();
  const auto check = [&](const char* what, std::int64_t need, std::optional<std::int64_t> has,
                         const std::vector<std::int64_t>& per_op) -> Result<void> {
    if (!has || need <= *has) return {};
    return Error{std::string(what) + " " + std::to_string(need) + " bytes, the device has " +
                     std::to_string(*has) + ": " + std::to_string(need - *has) + " too many; most at " +
                     largest_layer(s, per_op) + hint,
                 device.name, ErrorKind::infeasible};
  };
  NAS_CHECK(check("the arena needs", made.arena_bytes, device.ram_bytes, made.op_arena_bytes));
  return check("the network's constants need", made.weight_bytes, device.flash_bytes, made.op_weight_bytes);
}

std::map<std::string, std::string> metadata_of(const ExportSource& source, const Subject& s) {
  const auto& p = s.trained.provenance;
  const Shape in = s.trained.network.layers.front().out;
  std::string labels;
  for (const auto& name : source.job().feeds.store().classes()) labels += (labels.empty() ? "" : "\n") + name;
  return {{"model_description", "image classifier of the space " + p.space + ", found by hwnas"},
          {"model_author", std::string("hwnas ") + version()},
          {"model_license", "the user's"},
          {"io.hwnas.space", p.space},
          {"io.hwnas.genotype", s.genotype},
          {"io.hwnas.checkpoint", source.checkpoint_sum()},
          {"io.hwnas.data", source.job().feeds.fingerprint()},
          {"io.hwnas.labels", labels},
          {"io.hwnas.preprocessing", preprocessing_of(source, in).dump()}};
}

// A folder of the parent; two networks of a front may have the same numbers: the second one's name gets its
// hash.
fs::path free_name(const fs::path& parent, const std::string& name, const std::string& genotype) {
  const auto text = read_file(parent / name / "manifest.json", 1 << 24);
  const Record there = text ? Record::parse(*text, nullptr, false) : Record();
  if (!there.is_object() || there["architecture"]["genotype"] == genotype) return parent / name;
  return parent / (name + "_" + sha256(genotype).substr(0, 6));
}

Result<Record> export_one(const ExportSource& source, const std::string& network, const ExportOptions& o,
                          bool inside) {
  NAS_TRY(subject, source.subject(network, o, wants_integers(o.forms) || o.stage.qat > 0));
  std::optional<devices::DeviceProfile> device;
  if (!o.device.empty()) {
    NAS_TRY(profile, devices::load_profile(o.device, o.device_folder));
    device = std::move(profile);
  }
  const data::Augmentation& view = source.job().feeds.view();
  NAS_TRY(forms, write_forms(subject, o.forms,
                             {{source.job().feeds.store().classes(), view.mean, view.deviation},
                              metadata_of(source, subject),
                              device,
                              o.patches}));
  const auto* made = forms.made ? &*forms.made : nullptr;
  if (made != nullptr && device) NAS_CHECK(check_fits(subject, *made, *device));
  std::optional<Instructions> instructions;
  if (made != nullptr && device) {
    NAS_TRY(counted, count_instructions(forms.files, *device, subject.folded->deployment.ops.size()));
    instructions = std::move(counted);
  }
  const auto test = images_of(source.job().feeds.scoring(data::Split::test),
                              subject.trained.network.layers.front().out.height, o.test_images);
  NAS_TRY(agreement, compare(subject, made, test));
  const ExportFacts facts{source, o, subject, forms, agreement, device, instructions};
  const Record manifest = manifest_of(facts);
  NAS_TRY(vectors, vector_files(subject));
  ExportFiles files = forms.files;
  files.merge(vectors);
  files.merge(descriptive_files(facts, manifest));
  const fs::path out = inside ? free_name(o.out, folder_name(facts), subject.genotype) : fs::path(o.out);
  NAS_CHECK(write_export(out, files));
  Record record{{"folder", out.string()},
                {"genotype", subject.genotype},
                {"classes", source.job().feeds.store().classes().size()},
                {"forms", forms.names},
                {"left_out", forms.left_out},
                {"patches", manifest["patches"]}};
  for (const auto& [key, m] : manifest["metrics"].items()) record[key] = m["value"];
  const double chance = 1 / static_cast<double>(source.job().feeds.store().classes().size());
  record["guesses"] = manifest["metrics"]["top1_float"]["error"]["low"].get<double>() <= chance;
  return record;
}

}  // namespace

Result<ExportOutcome> export_networks(const ExportOptions& o) {
  for (const std::string& form : o.forms) NAS_CHECK(check_form(form));
  std::error_code ignored;
  if (fs::exists(fs::path(o.out) / "SHA256SUMS", ignored))
    return usage_error("is an exported folder already", o.out);
  const bool front = o.networks.size() > 1;
  const bool inside = front || o.out.ends_with('/') || fs::is_directory(o.out, ignored);
  NAS_TRY(source, ExportSource::open(o.run, o.space));
  ExportOutcome outcome;
  Progress progress("networks exported", o.networks.size(), o.quiet || !front);
  for (const std::string& network : o.networks) {
    const auto record = export_one(source, network, o, inside);
    if (record) {
      if (o.finished) NAS_CHECK(o.finished(*record));
      outcome.records.push_back(*record);
    } else if (front && record.error().kind == ErrorKind::infeasible) {
      outcome.too_large.emplace_back(network, record.error());
    } else {
      return record.error();
    }
    progress.update(outcome.records.size() + outcome.too_large.size());
  }
  if (outcome.records.empty()) return outcome.too_large.front().second;
  return outcome;
}

namespace {

// An export in the project's store.
Result<void> keep(const Context& context, const ExportOptions& o, const std::string& asked,
                  const Record& record) {
  TrainConfig config;
  NAS_CHECK(read_train_config(o.run + "/config.json", config));
  SpaceOverrides as_trained;
  as_trained.classes = record["classes"].get<int>();
  as_trained.resolutions = config.resolutions;
  NAS_TRY(space, open_space(o.space.empty() ? config.space : o.space, as_trained));
  NAS_TRY(genotype, space.parse(record["genotype"].get<std::string>()));
  keep_export(context, space, genotype, record["folder"].get<std::string>(), asked);
  return {};
}

Result<int> run_export(const Context& context, ExportOptions o, const std::string& asked) {
  supernet::prepare_runtime();
  o.progress = shown_progress(context.quiet);
  NAS_TRY(networks, resolve_architectures(context.project, asked));
  o.networks = networks;
  o.device_folder = (fs::path(context.project) / "devices").string();
  if (o.out.empty()) o.out = (fs::path(context.project) / "exports/").string();
  o.quiet = context.quiet;
  o.finished = [&](const Record& record) { return keep(context, o, asked, record); };
  NAS_TRY(outcome, export_networks(o));
  const std::vector<Record>& records = outcome.records;
  std::vector<Column> columns{{"folder", "folder"},
                              {"top1_float", "top-1, float"},
                              {"top1_int8", "top-1, int8"},
                              {"top1_agreement", "same answer"},
                              {"test_images", "test images"},
                              {"macs", "MACs"},
                              {"arena", "arena", "bytes"},
                              {"constants", "constants", "bytes"},
                              {"instructions", "instructions an image"}};
  if (o.stage.qat > 0)
    columns.insert(columns.begin() + 1, Column{"top1_before_qat", "top-1, float, before --qat"});
  // Without C there is no arena, without an emulated --device no count.
  std::erase_if(columns, [&records](const Column& column) {
    return std::ranges::none_of(records, [&](const Record& r) { return r.contains(column.key); });
  });
  if (records.size() > 1)
    print_records(context, columns, records);
  else
    print_record(context, columns, records.front());
  for (const Record& record : records)
    if (record["guesses"].get<bool>())
      std::fprintf(stderr, "warning: %s is right as often as guessing would be; was it trained?\n",
                   record["genotype"].get<std::string>().c_str());
  for (const auto& [network, error] : outcome.too_large)
    std::fprintf(stderr, "not exported: %s: %s\n", network.c_str(), to_string(error).c_str());
  if (!context.quiet)
    for (const auto& [form, why] : records.front()["left_out"].items())
      std::fprintf(stderr, "left out: %s\n", why.get<std::string>().c_str());
  return 0;
}

}  // namespace

void add_export_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<ExportOptions>();
  auto network = std::make_shared<std::string>();
  CLI::App* command = add_command(
      app, "export",
      "Sub-networks as TorchScript, ONNX, TFLite, C and safetensors, with what proves them equal",
      {"hwnas export mcu:best --run runs/supernet --device cortex-m4-qemu --out exports/",
       "hwnas export mcu:front --run runs/supernet --to c,onnx-int8 --device netduinoplus2-qemu"});
  command
      ->add_option("NETWORK", *network,
                   "smallest, middle, largest, a genotype's text, RUN:best, RUN:front[3], RUN:front for all "
                   "of it, or a "
                   "folder of `hwnas compress`")
      ->required();
  command->add_option("--run", options->run, "Folder of a training run")->required();
  command->add_option("--space", options->space, kSpaceHelp);
  command->add_option(
      "--out", options->out,
      "Folder to make; with a slash at the end, an existing one or a whole front: the parent of folders "
      "named like cortex-m4_lat@41Minstr_top1@88.1_int8 (default: the project's exports/)");
  command
      ->add_option(
          "--to", options->forms,
          "Forms, separated by commas: torchscript, onnx, onnx-int8, tflite, tflite-int8, c, safetensors "
          "(default: all that the network has)")
      ->delimiter(',');
  command->add_option("--device", options->device,
                      "A device's profile: it must be large enough; emulated ones count");
  command->add_option("--calibration", options->stage.calibration, "How ranges are chosen")
      ->check(CLI::IsMember({"auto", "min_max", "percentile", "mse", "kl"}));
  command
      ->add_option("--patches", options->patches,
                   "C: run the first layers in so many windows a side, which needs less RAM and more "
                   "instructions; auto: only if the device's RAM needs it")
      ->check(CLI::IsMember({"off", "auto"}) | CLI::Range(2, 64));
  add_quantize_options(*command, options->stage);
  command->add_option("--test-images", options->test_images, "At most this many of the test split; 0: all");
  command->callback([&context, options, network] {
    context.action = [&context, options, network] { return run_export(context, *options, *network); };
  });
}

}  // namespace nas::apps
