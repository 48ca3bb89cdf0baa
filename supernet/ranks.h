#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "space/base/result.h"

namespace nas::supernet {

// Where this process stands among those that train one supernet together.
struct RankPlace {
  int rank = 0;                       // 0 .. world - 1
  int world = 1;                      // processes
  std::string address = "127.0.0.1";  // of rank 0
  int port = 29500;                   // that rank 0 listens on
  double timeout_seconds = 60;        // for one exchange, the others' being late included
  bool launched = false;              // a launcher set them, though it be for one process
};

// From the variables that launchers set: torchrun's RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; else
// Slurm's SLURM_PROCID and SLURM_NTASKS; else Open MPI's OMPI_COMM_WORLD_RANK and _SIZE. World 1 where none
// is set. Fails on numbers that make no sense.
Result<RankPlace> find_rank_place();

// A group of processes over LibTorch's c10d (Gloo). Every call but the reads must be made by all ranks in the
// same order; one that is not there within the time-out, or ends, is an error on all others
// (ErrorKind::device).
class Ranks {
 public:
  // Waits for all ranks. A port that is taken, or ranks that do not come, fail with the words.
  static Result<Ranks> join(const RankPlace& place);
  Ranks(Ranks&&) noexcept;
  Ranks& operator=(Ranks&&) noexcept;
  ~Ranks();

  int rank() const { return place_.rank; }
  int world() const { return place_.world; }
  // Every rank's facts (name, value) must equal rank 0's; else every rank fails, naming the rank and what
  // differs.
  Result<void> agree(const std::vector<std::pair<std::string, std::string>>& facts);
  // Replaces `values` by their sums over the ranks, the same bits on all. This and the other begin_ calls
  // return at once: the memory must stay until finish(), which waits for all that was begun.
  void begin_sum(std::span<double> values);
  void begin_sum(std::span<float> values);
  // `all` gets every rank's `mine`, of the same size on all, in the order of the ranks.
  void begin_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all);
  // Cut into a part for every rank; `parts` gets what every rank has for this one, in the order of the ranks.
  void begin_scatter(std::span<std::uint8_t> all, std::span<std::uint8_t> parts);
  Result<void> finish();
  Result<void> sum(std::span<double> values);
  // Bytes that this rank has sent, by the algorithms that c10d uses with Gloo (a ring for sums and gathers);
  // without the headers of the network.
  std::uint64_t bytes_sent() const;

 private:
  struct Impl;
  Ranks(RankPlace place, std::unique_ptr<Impl> impl);
  RankPlace place_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nas::supernet
