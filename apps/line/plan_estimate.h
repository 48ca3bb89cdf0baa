#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/line/line_config.h"
#include "apps/line/stage.h"
#include "supernet/exchange.h"

namespace nas::apps {

// What a stage of a project will need about, and where that is known from.
struct StagePlan {
  std::string stage;
  bool kept = false;  // nothing to do: the numbers are what it took
  double amount = 0;
  std::string unit;                         // of the amount: "steps", "networks", "kernels", "evaluations"
  double seconds = 0, low = 0, high = 0;    // low and high: what is likely, from the scatter seen so far
  double disk_bytes = 0, memory_bytes = 0;  // written; peak resident
  std::string source;            // "this project's record", "measured now", "modelled" or "not known"
  bool timed = true;             // false: nothing is known of its time
  std::optional<double> joules;  // modelled: seconds times watts
  std::string watts;             // where those come from
};

// Several machines that training and the sweep are asked to run on.
struct Machines {
  int ranks = 1;
  double link_bytes_per_second = 125e6;
  supernet::ExchangeOptions exchange;
};

// Plans all stages of the project. Runs short probes on this machine (under a second beside the listing of
// images and kernels) and writes nothing. Fails as the line would: images, space, recipe or device missing.
Result<std::vector<StagePlan>> plan_stages(const std::filesystem::path& project, const LineConfig& config,
                                           const Machines& machines = {});

// A search's configuration: candidates are scored for a fifth of a second.
Result<std::vector<StagePlan>> plan_search_file(const std::filesystem::path& project,
                                                const std::string& path);

// A file of jobs: one plan a run that it would make. What its tasks take is known from finished tasks of the
// same command in the project's store, where there are some.
Result<std::vector<StagePlan>> plan_jobs_file(const std::filesystem::path& project, const std::string& path);

// Seconds with the range in which they are likely, and the energy of this machine for them.
void set_seconds(StagePlan& plan, double seconds, double below, double above);
void set_host_energy(StagePlan& plan);

}  // namespace nas::apps
