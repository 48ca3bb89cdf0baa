#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/export.h"
#include "apps/export_ledger.h"
#include "apps/train_job.h"
#include "devices/codegen/network.h"
#include "space/base/file.h"
#include "space/cost.h"
#include "supernet/evaluate.h"
#include "supernet/onnx/onnx_writer.h"
#include "supernet/quantize/float_executor.h"
#include "supernet/quantize/quantize.h"
#include "supernet/runtime.h"
#include "supernet/train.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;
using namespace nas::supernet;

constexpr std::size_t kVectors = 8;

using Image = std::vector<float>;

struct Labelled {
  std::vector<Image> images;
  std::vector<std::int64_t> labels;
};

// At most `limit` images of a list at a resolution, one by one.
Labelled images_of(const BatchList& list, int resolution, std::int64_t limit) {
  Labelled out;
  Batch batch;
  for (std::int64_t b = 0; b < list.batches; ++b) {
    list.build(resolution, b, batch);
    const std::size_t size = batch.size() > 0 ? batch.pixels.size() / batch.size() : 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (limit > 0 && static_cast<std::int64_t>(out.images.size()) == limit) return out;
      const auto start = batch.pixels.begin() + static_cast<std::ptrdiff_t>(i * size);
      out.images.emplace_back(start, start + static_cast<std::ptrdiff_t>(size));
      out.labels.push_back(batch.labels[i]);
    }
  }
  return out;
}

std::vector<std::int8_t> on_grid(const Image& image, const Quantization& grid) {
  std::vector<std::int8_t> q;
  for (const float v : image) q.push_back(to_grid(v, grid));
  return q;
}

template <class T>
std::int64_t argmax(const std::vector<T>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

// How the float network and its int8 form do on the same images.
struct Agreement {
  std::size_t images = 0, float_right = 0, int8_right = 0, same = 0;
  double largest_difference = 0;  // of a logit, real units
  double sum_differences = 0;
  std::size_t logits = 0;
};

Result<Agreement> compare(const FoldedNetwork& folded, const QuantizedNetwork& quantized,
                          const Labelled& test) {
  const FloatExecutor executor(folded);
  Agreement a;
  for (std::size_t i = 0; i < test.images.size(); ++i) {
    const std::vector<float> exact = executor.run(test.images[i]);
    NAS_TRY(rounded,
            devices::codegen::run_reference(quantized, on_grid(test.images[i], quantized.tensors[0])));
    ++a.images;
    a.float_right += argmax(exact) == test.labels[i] ? 1 : 0;
    a.int8_right += argmax(rounded) == test.labels[i] ? 1 : 0;
    a.same += argmax(exact) == argmax(rounded) ? 1 : 0;
    for (std::size_t k = 0; k < exact.size(); ++k) {
      const double difference = std::fabs(from_grid(rounded[k], quantized.tensors.back()) - exact[k]);
      a.largest_difference = std::max(a.largest_difference, difference);
      a.sum_differences += difference;
    }
    a.logits += exact.size();
  }
  return a;
}

std::string c_array(const std::string& name, const std::vector<std::vector<std::int8_t>>& rows,
                    const char* width) {
  std::string text = "static const int8_t " + name + "[NET_VECTORS][" + width + "] = {\n";
  for (const auto& row : rows) {
    std::string line = "  {";
    for (const std::int8_t v : row) line += std::to_string(v) + ",";
    line.back() = '}';
    text += line + ",\n";
  }
  return text + "};\n";
}

Result<std::string> test_vectors(const QuantizedNetwork& quantized, const Labelled& test) {
  std::vector<std::vector<std::int8_t>> inputs, outputs;
  for (std::size_t i = 0; i < std::min(kVectors, test.images.size()); ++i) {
    inputs.push_back(on_grid(test.images[i], quantized.tensors[0]));
    NAS_TRY(expected, devices::codegen::run_reference(quantized, inputs.back()));
    outputs.push_back(std::move(expected));
  }
  return "/* Inputs and the outputs that the integer reference of hwnas gives for them. */\n#define "
         "NET_VECTORS " +
         std::to_string(inputs.size()) + "\n" + c_array("net_vector_in", inputs, "NET_INPUT_BYTES") +
         c_array("net_vector_out", outputs, "NET_OUTPUTS");
}

constexpr const char* kTestMain =
    R"(/* Runs the stored vectors: 0 when every output is equal, byte for byte. */
#include <string.h>

#include "net.h"
#include "test_vectors.h"

#if defined(__GNUC__)
static int8_t arena[NET_ARENA_BYTES] __attribute__((aligned(16)));
#else
static int8_t arena[NET_ARENA_BYTES];
#endif

int net_test(void);
int net_test(void) {
  int i, wrong = 0;
  for (i = 0; i < NET_VECTORS; ++i) {
    memcpy(net_input(arena), net_vector_in[i], NET_INPUT_BYTES);
    net_run(arena);
    if (memcmp(net_output(arena), net_vector_out[i], NET_OUTPUTS) != 0) ++wrong;
  }
  return wrong;
}

#ifdef NET_BOARD
#include "nas_board.h"
int nas_main(void) {
  memcpy(net_input(arena), net_vector_in[0], NET_INPUT_BYTES);
#ifndef NET_NO_REGION
  nas_region_begin();
#endif
  net_run(arena);
#ifndef NET_NO_REGION
  nas_region_end();
#endif
  return net_test();
}
#else
#include <stdio.h>
int main(void) {
  const int wrong = net_test();
  printf("%d of %d vectors equal\n", NET_VECTORS - wrong, NET_VECTORS);
  return wrong == 0 ? 0 : 1;
}
#endif
)";

constexpr const char* kMakefile = R"(# make test: the stored vectors on this machine.
CC ?= cc
CFLAGS ?= -O2 -std=c99 -Wall -Wextra -pedantic

test: net_test
	./net_test

net_test: net.c test_main.c net.h test_vectors.h
	$(CC) $(CFLAGS) net.c test_main.c -o $@

clean:
	rm -f net_test
.PHONY: test clean
)";

Record metric(double value, const char* unit, const char* source) {
  return {{"value", value}, {"unit", unit}, {"source", source}};
}

// The deployed operations in order, named after the layers they come from.
Record operations_of(const Network& network, const Deployment& deployment) {
  Record list = Record::array();
  for (const DeployedOp& op : deployment.ops) {
    const Layer& layer = network.layers[static_cast<std::size_t>(op.layer)];
    const bool main = op.part == DeployedPart::none || op.part == DeployedPart::main;
    std::string name = layer_name(layer);
    if (!main) name += op.part == DeployedPart::squeeze ? ".squeeze" : ".excite";
    list.push_back({{"operation", name},
                    {"output", std::to_string(op.out.channels) + "x" + std::to_string(op.out.height) + "x" +
                                   std::to_string(op.out.width)},
                    {"macs", main && layer.kind != LayerKind::squeeze_excite ? macs(layer).count() : 0}});
  }
  return list;
}

Record manifest_of(const ExportOptions& o, const TrainJob& job, const TrainedNetwork& trained,
                   const devices::codegen::GeneratedNetwork& made, const QuantizedNetwork& quantized,
                   const Agreement& a) {
  const auto share = [&](std::size_t n) {
    return static_cast<double>(n) / static_cast<double>(std::max<std::size_t>(a.images, 1));
  };
  const Provenance& p = trained.provenance;
  return {{"schema", 1},
          {"tool", "hwnas"},
          {"architecture",
           {{"space", p.space}, {"space_fingerprint", p.space_fingerprint}, {"genotype", o.network}}},
          {"metrics",
           {{"top1_float", metric(share(a.float_right), "share", "measured on the test split")},
            {"top1_int8", metric(share(a.int8_right), "share", "measured on the test split")},
            {"top1_agreement", metric(share(a.same), "share", "measured on the test split")},
            {"largest_difference", metric(a.largest_difference, "logit", "measured on the test split")},
            {"mean_difference",
             metric(a.sum_differences / static_cast<double>(std::max<std::size_t>(a.logits, 1)), "logit",
                    "measured on the test split")},
            {"test_images", metric(static_cast<double>(a.images), "images", "counted")},
            {"macs", metric(static_cast<double>(macs(trained.network).count()), "MACs", "exact")},
            {"arena", metric(static_cast<double>(made.arena_bytes), "bytes", "exact")},
            {"constants", metric(static_cast<double>(made.weight_bytes), "bytes", "exact")}}},
          {"operations", operations_of(trained.network, quantized.deployment)},
          {"input",
           {{"height", quantized.deployment.input.height},
            {"width", quantized.deployment.input.width},
            {"channels", quantized.deployment.input.channels},
            {"layout", "HWC"},
            {"scale", quantized.tensors.front().scale},
            {"zero", quantized.tensors.front().zero}}},
          {"output",
           {{"classes", quantized.deployment.ops.back().out.elements()},
            {"scale", quantized.tensors.back().scale},
            {"zero", quantized.tensors.back().zero}}},
          {"preprocessing",
           {{"resize", "centre crop to the input's size"},
            {"mean", {0.485, 0.456, 0.406}},
            {"deviation", {0.229, 0.224, 0.225}}}},
          {"provenance",
           {{"recipe", p.recipe},
            {"steps", p.steps},
            {"data_fingerprint", job.feeds.fingerprint()},
            {"calibration", o.calibration},
            {"note", p.note}}}};
}

// Rows, columns, channels to channels, rows, columns.
std::string planes_of(const Image& image, const Shape& s) {
  std::vector<float> planes(image.size());
  const auto plane = static_cast<std::size_t>(s.height * s.width),
             channels = static_cast<std::size_t>(s.channels);
  for (std::size_t p = 0; p < plane; ++p)
    for (std::size_t c = 0; c < channels; ++c) planes[c * plane + p] = image[p * channels + c];
  return {reinterpret_cast<const char*>(planes.data()), planes.size() * sizeof(float)};
}

// ONNX in both precisions, and the test images with the logits that either must give, as raw numbers.
Result<std::map<std::string, std::string>> onnx_files(const FoldedNetwork& folded,
                                                      const QuantizedNetwork& quantized, const Labelled& test,
                                                      const OnnxMetadata& metadata) {
  std::map<std::string, std::string> files;
  NAS_TRY(plain, write_onnx(folded, metadata));
  NAS_TRY(integer, write_onnx(quantized, metadata));
  files["model.fp32.onnx"] = plain;
  files["model.int8.onnx"] = integer;
  const FloatExecutor executor(folded);
  for (std::size_t i = 0; i < std::min(kVectors, test.images.size()); ++i) {
    files["test/images.f32"] += planes_of(test.images[i], folded.deployment.input);
    std::vector<float> logits = executor.run(test.images[i]);
    files["test/logits.fp32.f32"].append(reinterpret_cast<const char*>(logits.data()), 4 * logits.size());
    NAS_TRY(rounded,
            devices::codegen::run_reference(quantized, on_grid(test.images[i], quantized.tensors[0])));
    for (std::size_t k = 0; k < logits.size(); ++k)
      logits[k] = static_cast<float>(from_grid(rounded[k], quantized.tensors.back()));
    files["test/logits.int8.f32"].append(reinterpret_cast<const char*>(logits.data()), 4 * logits.size());
  }
  return files;
}

// Writes every file beside, then renames the folder: an interrupted export leaves nothing behind its name.
Result<void> write_folder(const fs::path& out, const std::map<std::string, std::string>& files) {
  std::error_code failed;
  if (fs::exists(out, failed)) return usage_error("the folder exists already", out.string());
  const fs::path beside = out.string() + ".tmp-" + sha256(out.string()).substr(0, 8);
  fs::remove_all(beside, failed);
  std::string sums;
  for (const auto& [name, content] : files) {
    NAS_CHECK(write_file(beside / name, content));
    sums += sha256(content) + "  " + name + "\n";
  }
  NAS_CHECK(write_file(beside / "SHA256SUMS", sums));
  fs::rename(beside, out, failed);
  if (failed) return Error{"cannot rename the finished folder: " + failed.message(), out.string()};
  return {};
}

}  // namespace

Result<Record> export_network(const ExportOptions& o) {
  TrainConfig config;
  NAS_CHECK(read_train_config(o.run + "/config.json", config));
  NAS_TRY(job, open_train_job(config));
  NAS_TRY(loaded, load_supernet(o.run + "/supernet.safetensors", job.space, {config.seed, config.device}));
  NAS_TRY(network, network_named(job.space, o.network));
  Provenance provenance = loaded.provenance;
  provenance.genotype = o.network;
  provenance.note = "extracted, statistics recalibrated";
  NAS_TRY(trained, extract(loaded.supernet, network, job.feeds.recalibration(), provenance));
  NAS_TRY(folded, fold(trained));
  const int resolution = folded.deployment.input.height;
  const Labelled calibration = images_of(job.feeds.recalibration(), resolution, o.calibration_images);
  QuantizeOptions how;
  how.calibration = calibration_named(o.calibration);
  NAS_TRY(quantized, quantize(folded, calibration.images, how));
  NAS_TRY(made, devices::codegen::generate_network(quantized, {.neon = false}));
  const Labelled test = images_of(job.feeds.scoring(data::Split::test), resolution, o.test_images);
  NAS_TRY(agreement, compare(folded, quantized, test));
  NAS_TRY(vectors, test_vectors(quantized, test));
  std::string labels;
  for (const auto& name : job.feeds.store().classes()) labels += name + "\n";
  const Record manifest = manifest_of(o, job, trained, made, quantized, agreement);
  NAS_TRY(files, onnx_files(folded, quantized, test,
                            {provenance.space, {{"io.hwnas.genotype", provenance.genotype}}}));
  files.insert({{"model.safetensors", to_bytes(trained)},
                {"labels.txt", labels},
                {"manifest.json", manifest.dump(2) + "\n"},
                {"c/net.h", made.header},
                {"c/net.c", made.source},
                {"c/test_vectors.h", vectors},
                {"c/test_main.c", kTestMain},
                {"c/Makefile", kMakefile}});
  NAS_CHECK(write_folder(o.out, files));
  Record record{{"folder", o.out}, {"classes", job.feeds.store().classes().size()}};
  for (const auto& [key, m] : manifest["metrics"].items()) record[key] = m["value"];
  return record;
}

namespace {

Result<int> run_export(const Context& context, ExportOptions o) {
  prepare_runtime();
  NAS_TRY(network, resolve_architecture(context.project, o.network));
  const std::string asked = std::exchange(o.network, network);
  NAS_TRY(record, export_network(o));
  TrainConfig config;
  NAS_CHECK(read_train_config(o.run + "/config.json", config));
  SpaceOverrides as_trained;
  as_trained.classes = record["classes"].get<int>();
  as_trained.resolutions = config.resolutions;
  NAS_TRY(space, load_space(config.space, as_trained));
  NAS_TRY(genotype, genotype_named(space, network));
  keep_export(context, space, genotype, o.out, asked);
  print_record(context,
               {{"folder", "folder"},
                {"top1_float", "top-1, float"},
                {"top1_int8", "top-1, int8"},
                {"top1_agreement", "same answer"},
                {"test_images", "test images"},
                {"macs", "MACs"},
                {"arena", "arena", "bytes"},
                {"constants", "constants", "bytes"}},
               record);
  return 0;
}

}  // namespace

void add_export_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = add_command(
      app, "export", "A sub-network as int8 C and as ONNX (float and int8), with test vectors",
      {"hwnas export middle --run runs/tiny-sandwich --out exports/middle", "hwnas verify exports/middle"});
  command
      ->add_option("NETWORK", options->network,
                   "smallest, middle, largest, a genotype's text, RUN:best or RUN:front[3]")
      ->required();
  command->add_option("--run", options->run, "Folder of a training run")->required();
  command->add_option("--out", options->out, "Folder to make")->required();
  command->add_option("--calibration", options->calibration, "How ranges are chosen")
      ->check(CLI::IsMember({"auto", "min_max", "percentile", "mse", "kl"}));
  command->add_option("--calibration-images", options->calibration_images, "Of the recalibration split")
      ->check(CLI::PositiveNumber);
  command->add_option("--test-images", options->test_images, "At most this many of the test split; 0: all");
  command->callback([&context, options] {
    context.action = [&context, options] { return run_export(context, *options); };
  });
}

}  // namespace nas::apps
