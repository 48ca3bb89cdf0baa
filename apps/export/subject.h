#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/export.h"
#include "apps/trained_run.h"
#include "supernet/quantize/folding.h"
#include "supernet/quantize/quantize.h"

namespace nas::apps {

using Image = std::vector<float>;  // H x W x C, normalised

struct LabelledImages {
  std::vector<Image> images;
  std::vector<std::int64_t> labels;
  std::vector<std::size_t> places;  // in the list
};

// At most `limit` images of a list, spread evenly over it (splits are often in the order of classes); 0: all.
LabelledImages images_of(const supernet::BatchList& list, int resolution, std::int64_t limit);

// One trained network, and all that its export says about it.
struct Subject {
  std::string genotype;
  supernet::TrainedNetwork trained;
  std::optional<supernet::FoldedNetwork> folded;   // absent: a layer has no form for devices
  std::optional<QuantizedNetwork> quantized;       // where a form asks for it
  std::optional<supernet::TrainedNetwork> before;  // quantisation-aware training, where there was some
  nlohmann::ordered_json compression;              // compression.json's content, null without
  std::string why_not_deployable;
  LabelledImages vectors;                 // the first images of the test split
  std::vector<std::string> vector_names;  // files they come from
};

// A finished training run: weights, images, space. Opened once for all networks of a front.
class ExportSource {
 public:
  // `space`: of the networks, as for use_space(). Fails on a folder without a finished training, weights of
  // another space, or weights never trained.
  static Result<ExportSource> open(const std::string& run, const std::string& space = {});

  // A folder of `hwnas compress` is taken as it is; else
  // extracts (statistics recalibrated), folds, and quantises when `integer`. After quantisation-aware
  // training the float network has the values of the integer weights: all forms come from one set.
  Result<Subject> subject(const std::string& network, const ExportOptions& options, bool integer) const;

  const TrainJob& job() const { return run_.job; }
  const TrainConfig& config() const { return run_.config; }
  const std::string& checkpoint_sum() const { return run_.digest; }

 private:
  explicit ExportSource(TrainedRun run) : run_(std::move(run)) {}
  Result<Subject> compressed_subject(const std::string& folder, const ExportOptions& options) const;
  void add_vectors(Subject& subject) const;
  TrainedRun run_;
};

// Real values on the grid of a tensor.
std::vector<std::int8_t> on_grid(const Image& image, const Quantization& grid);
// Rows, columns, channels to channels, rows, columns.
Image planes_of(const Image& image, const Shape& shape);

}  // namespace nas::apps
