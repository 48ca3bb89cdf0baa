#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/json/document.h"

namespace nas::apps {

// A device that networks are wanted for, and what it allows.
struct Target {
  std::string name;
  std::string device;                 // of `hwnas device list`, or a profile's file
  std::string precision;              // int8 or fp32
  std::string unit;                   // "latency_ms" or, on emulators, "minstr" (millions of instructions)
  std::optional<double> max_latency;  // in that unit
  std::optional<double> ram_kb, flash_kb;
  std::vector<std::string> forms;  // to export; none: all that the network has
  double finetune = 0, qat = 0;    // epochs of training for the chosen network before it is exported
  std::string patches = "off";     // `hwnas export --patches`
};

// hwnas.json: a whole project, from images to exported networks.
struct LineConfig {
  std::string space, data;
  std::uint64_t seed = 1;
  std::string recipe = "sandwich";
  double length = 1;
  int batch = 64;
  std::string strategy = "nsga2";
  std::int64_t evaluations = 2000;  // that the search asks of its models, a target
  std::int64_t sweep = 200;         // sub-networks whose accuracy is measured once, for all targets
  std::int64_t check = 24;          // networks of a front measured on the test images at most
  std::size_t max_kernels = 0;      // of a latency table; 0: all
  std::vector<Target> targets;
};

// A project's configuration from its text.
Result<LineConfig> read_line_document(const JsonDocument& document, const std::filesystem::path& project);

// Reads DIR/hwnas.json. All problems at once, with their places. Devices are looked up.
Result<LineConfig> read_line_config(const std::filesystem::path& project);

std::vector<std::string> template_names();
// The text of a starting hwnas.json; an unknown name's error suggests the nearest.
Result<std::string> template_text(const std::string& name);

}  // namespace nas::apps
