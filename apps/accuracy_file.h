#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "space/search_space.h"

namespace nas::apps {

// Accuracies of sub-networks, measured once and used by the searches for all devices: a header line and one
// line a network, appended as each is measured.
struct AccuracyFile {
  std::string space;  // built-in name or file
  int classes = 0;
  std::vector<int> resolutions;  // empty: the space's own
  std::string supernet;          // SHA-256 of its weights
  std::string split;             // "validation"
  std::vector<std::string> networks;
  std::vector<double> top1;

  // Standard deviation that drawing the images alone gives such a share, its mean over the networks
  // (binomial; of differences between networks less, as all see the same images); nothing where the split
  // does not say how many images it were.
  std::optional<double> noise() const;
  Result<SearchSpace> load_space() const;
};

// Fails with the line's number on anything but a torn last line, which is left out.
Result<AccuracyFile> read_accuracy_file(const std::filesystem::path& path);

// Makes the file with its header; where it is there already, reads it and checks that the header is the same.
Result<AccuracyFile> open_accuracy_file(const std::filesystem::path& path, const AccuracyFile& header);

// The space that a command's --space names: built-in, a JSON file, or a sweep's file (*.jsonl) for the space
// as its supernet has it, with the images' number of classes; to the others the changes are made.
Result<SearchSpace> open_space(const std::string& name, const SpaceOverrides& change = {});

// Appends measured networks, safe on disk when it returns.
Result<void> append_accuracies(const std::filesystem::path& path, const std::vector<std::string>& networks,
                               const std::vector<double>& top1);

}  // namespace nas::apps
