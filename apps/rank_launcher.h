#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/command.h"
#include "supernet/ranks.h"

namespace nas::apps {

// Runs this command line as `count` processes on this machine that find each other (RANK, WORLD_SIZE, ...),
// without its --nproc. Signals that ask to stop go on to all. Returns 0 or stopped_code() when all ended so,
// else the exit code of the first that failed; the others are then ended too.
Result<int> launch_ranks(std::vector<std::string> arguments, int count);

// The ranks that a launcher (ours, torchrun, srun, mpirun) started this process among; none where it is
// alone.
Result<std::optional<supernet::Ranks>> join_ranks();

// The option --nproc of commands that share their work among ranks.
void add_processes(CLI::App& command, int& processes);

// Threads that a process may use, so that the ranks of this machine share its cores.
std::size_t threads_of_a_rank();

}  // namespace nas::apps
