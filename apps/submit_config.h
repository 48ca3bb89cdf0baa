#pragma once
#include <string>
#include <utility>
#include <vector>

#include "results/queue.h"
#include "space/base/result.h"

namespace nas::apps {

struct Submission {
  results::Run run;
  std::vector<results::Task> tasks;
  std::vector<std::string> devices;  // of each task, "" for none; looked up in the store
};

// Reads a file of jobs (docs/store.md): one run for every cell of its matrix, or one run with a task for
// every cell.
Result<std::vector<Submission>> read_submission(const std::string& path);

}  // namespace nas::apps
