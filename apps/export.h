#pragma once
#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

#include "space/base/result.h"

namespace nas::apps {

struct ExportOptions {
  std::string network;               // "smallest", "middle", "largest" or a genotype's text
  std::string run;                   // folder of a training run
  std::string out;                   // folder to make
  std::string calibration = "auto";  // auto, min_max, percentile, mse or kl
  std::int64_t calibration_images = 128;
  std::int64_t test_images = 0;  // 0: all of the test split
};

// Extracts, folds, quantises and writes the folder; the record holds the metrics of its manifest.
Result<nlohmann::ordered_json> export_network(const ExportOptions& options);

}  // namespace nas::apps
