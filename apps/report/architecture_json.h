#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "latency/measure/session.h"
#include "space/cost.h"
#include "space/kernel.h"
#include "space/search_space.h"

namespace nas::report {

// The networks behind candidates, as kernels in execution order. Candidates share most of their kernels, so a
// kernel with its place in the network is written once ("parts") and a network is a list of numbers.
class ArchitectureBook {
 public:
  // `sessions` (may be empty) give measured times by signature; fusion is the first one's, else plain;
  // precision ("int8", "fp32") where it is empty too, else int8.
  ArchitectureBook(SearchSpace space, const std::vector<latency::Session>& sessions,
                   const std::filesystem::path& device_folder, const std::string& precision = {});

  const SearchSpace& space() const { return space_; }
  // Numbers of the genotype's parts; null where the genotype is none of this space.
  nlohmann::ordered_json network(const std::string& text);
  // What only some networks carry for their size: bytes alive and joules of every kernel, the arena's map.
  const nlohmann::ordered_json& details(const std::string& text);
  std::size_t size() const { return known_.size(); }
  // Parts from number `first` on, as columns: name, signature, kind, window, stride, groups, in, out, macs,
  // params, weight_bytes, stage, and measured times, one list a session.
  nlohmann::ordered_json parts(std::size_t first = 0) const;
  // The sum of the first session's times over the network's kernels, in the session's unit; empty where a
  // kernel is not in its table.
  std::optional<double> time_on_first(const std::string& text) const;
  std::string id(const std::string& text) const;  // the architecture's short name; empty where it is none

 private:
  std::int64_t number_of(const Network& network, const Kernel& kernel);
  SearchSpace space_;
  FusionRules fusion_;
  Precision precision_{8, 8};
  std::vector<std::map<std::string, double>> times_;
  nlohmann::ordered_json session_names_ = nlohmann::ordered_json::array();
  std::map<std::string, std::int64_t> known_;  // name and signature
  std::map<std::string, nlohmann::ordered_json> columns_;
  std::map<std::string, nlohmann::ordered_json> details_;  // by text
};

// The space that a run names: built in, the file that its configuration points to, or the one that its sweep
// of accuracies was made from (with as many classes). Its genes must be the run's. Relative paths are of
// `project`.
std::optional<SearchSpace> space_of_run(const std::string& name, const std::vector<std::string>& genes,
                                        const nlohmann::ordered_json& config,
                                        const std::filesystem::path& project);

}  // namespace nas::report
