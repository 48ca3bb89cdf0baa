#pragma once
#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "apps/export_forms.h"
#include "apps/quantize_stage.h"
#include "space/base/result.h"

namespace nas::apps {

inline constexpr std::int64_t kExportVectors = 8;  // images that an export carries to be checked with

struct ExportOptions {
  std::vector<std::string> networks;  // genotypes' texts, or "smallest", "middle", "largest"
  std::string run;                    // folder of a training run
  std::string space;                  // that the networks are of (use_space()); empty: the run's
  std::string out;                    // folder to make, or the parent of folders named after their numbers
  std::vector<std::string> forms;     // of export_forms(); empty: all that the network has
  std::string device;                 // profile; empty: none in particular
  std::string device_folder;          // of the user's profiles
  QuantizeStage stage;                // how it becomes int8
  StageProgress progress;             // of training, where the stage asks for some
  std::string patches = "off";        // of the C code: windows a side, or "auto": as the device's RAM needs
  std::int64_t test_images = 0;       // 0: all of the test split
  bool quiet = false;                 // no progress of a front
  // Called with every record as soon as its folder is there.
  std::function<Result<void>(const nlohmann::ordered_json&)> finished = {};
};

struct ExportOutcome {
  std::vector<nlohmann::ordered_json> records;           // one a folder
  std::vector<std::pair<std::string, Error>> too_large;  // networks of a front that the device cannot hold
};

// Files of an export: path inside the folder -> content.
using ExportFiles = std::map<std::string, std::string>;

// Extracts, quantises and writes one folder a network; a record each holds the folder and the metrics of its
// manifest. Fails (usage) naming the layer where a form that was asked for does not exist, and (infeasible)
// when the device is too small for all of them, with the excess and the layer; a folder that is there is
// whole.
Result<ExportOutcome> export_networks(const ExportOptions& options);

}  // namespace nas::apps
