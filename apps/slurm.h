#pragma once
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/submit_config.h"

namespace nas::apps {

struct SlurmOptions {
  bool wanted = false;
  std::vector<std::string> sbatch;  // further options of sbatch: "--time=2:00:00"
  int notice_s = 120;               // before the time limit, for a checkpoint
  bool dry_run = false;             // write the script only
};

// Writes runs as one job array, slurm/NAME/job.sh: a run with stages is an element, which does them one after
// the other; tasks without are an element each. Slurm's SIGUSR1 before the time limit goes on to the running
// command; one that ends with exit code 75 puts its element back into the queue, where it goes on. On SIGTERM
// the command checkpoints too, and Slurm decides. Then calls sbatch. Tasks that need a device or tags are
// refused: workers know who has them.
Result<int> submit_to_slurm(const Context& context, const std::vector<Submission>& runs,
                            const SlurmOptions& options);

}  // namespace nas::apps
