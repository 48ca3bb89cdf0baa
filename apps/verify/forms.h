#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/network.h"

namespace nas::apps {

// An exported folder as verification reads it.
struct ExportedFolder {
  std::filesystem::path path;
  nlohmann::ordered_json manifest;
  Shape input;
  std::size_t classes = 0;
  double input_scale = 0, output_scale = 0;  // 0: no int8 form
  int input_zero = 0, output_zero = 0;

  bool has(const char* file) const { return std::filesystem::exists(path / file); }
};
// Fails where the manifest is not one.
Result<ExportedFolder> read_export(const std::filesystem::path& folder);

// Images in both orders.
struct FormImages {
  std::vector<float> planes;         // N x C x H x W
  std::vector<std::int64_t> labels;  // may be empty
  std::size_t count = 0;
};
Result<FormImages> stored_images(const ExportedFolder& folder);
// H x W x C of one image, real and on the input's grid.
std::vector<float> rows_of(const FormImages& images, const Shape& shape, std::size_t image);
std::string int8_rows(const FormImages& images, const ExportedFolder& folder, std::size_t image);

// How two forms must agree.
enum class FormKind {
  real,     // float arithmetic: within 1e-5 of the largest logit, the same answers
  integer,  // our integers: the same bytes
  onnx,     // integers in ONNX Runtime: the same answers, a step apart on average at most
  tflite,   // TensorFlow Lite's integers: the same bytes as our reference with its rounding
};

// What a form gave for some images.
struct FormRun {
  std::string name;
  FormKind kind = FormKind::real;
  std::string note;           // why it did not run, or something to know
  std::vector<float> logits;  // empty: did not run
  std::vector<std::string>
      tensors;              // of the first image: values of every operation; empty where the form shows none
  double instructions = 0;  // counted, one image
};

// The forms that need LibTorch; empty functions in a program without it.
struct TorchForms {
  std::function<Result<std::vector<float>>(const ExportedFolder&, const FormImages&)> libtorch, torchscript;
  // Test images of the training run an export came from, at the export's resolution.
  std::function<Result<FormImages>(const std::string& run, const ExportedFolder&, std::int64_t limit)>
      test_images;
};

// What a run of the forms is for.
struct RunWishes {
  bool tensors = true;  // the first image's tensors, and emulated boards; else logits of many images, quickly
};
// Every form with a runtime here on the images, in the same order for any number of threads.
std::vector<FormRun> run_forms(const ExportedFolder& folder, const FormImages& images,
                               const TorchForms& torch, const std::string& cache, const RunWishes& wishes);

// The single runtimes. Those of the C code, to be run while folder and images live.
using FormJob = std::function<FormRun()>;
std::vector<FormJob> c_forms(const ExportedFolder& folder, const FormImages& images, const std::string& cache,
                             const RunWishes& wishes);
FormRun run_onnx(const ExportedFolder& folder, const std::string& precision, const FormImages& images,
                 bool tensors);
FormRun run_tflite(const ExportedFolder& folder, const std::string& precision, const FormImages& images,
                   bool tensors);

// node_modules/PACKAGE in $HWNAS_NODE_MODULES, or beside or above the program.
Result<std::filesystem::path> node_package(const std::string& package);

}  // namespace nas::apps
