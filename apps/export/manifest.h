#pragma once
#include "apps/export/forms.h"
#include "apps/export/measure.h"

namespace nas::apps {

// Everything that the descriptive files say.
struct ExportFacts {
  const ExportSource& source;
  const ExportOptions& options;
  const Subject& subject;
  const Forms& forms;
  Agreement agreement;
  std::optional<devices::DeviceProfile> device;
  std::optional<Instructions> instructions;
};

// manifest.json: metrics with value, unit, source and error, preprocessing, operations, provenance.
nlohmann::ordered_json manifest_of(const ExportFacts& facts);
// manifest.json, MODEL_CARD.md, layers.csv, arch.svg, labels.txt, preprocess.json.
ExportFiles descriptive_files(const ExportFacts& facts, const nlohmann::ordered_json& manifest);
// "cortex-m4_lat@41Minstr_top1@88.1_int8", after once-for-all's pattern.
std::string folder_name(const ExportFacts& facts);

// How pictures become the input: size, mean and deviation of the training images.
nlohmann::ordered_json preprocessing_of(const ExportSource& source, const Shape& input);

}  // namespace nas::apps
