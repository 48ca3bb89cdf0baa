#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "latency/csv.h"
#include "latency/ladder.h"
#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::latency {

// A few rows of whole networks: amounts of work (MACs by kind, elements, operations: none negative) and
// words (a library's version, a kind of network) of which each value has a factor of its own.
struct WorkRows {
  learn::Matrix work;
  std::vector<std::vector<std::size_t>> words;  // per word column: index of each row's value
  std::vector<std::string> group;               // rows of one group are left out together
};

// Columns of a file: numbers are work, text is words. `group_column` names the groups: its text, or the first
// of `groups` that the text contains. `kinds` are a further word, found in the same column in the same way.
Result<WorkRows> read_work(const Csv& csv, const std::vector<std::string>& columns,
                           const std::string& group_column, const std::vector<std::string>& groups,
                           const std::vector<std::string>& kinds);

// Every group predicted from all the others, by the ladder for few rows: costs per unit of work
// (non-negative, relative errors), the same with a factor a word, a power law, and Gaussian processes on top
// of either. The mixture is chosen inside the other groups by leaving each of them out in turn, and so is the
// interval. Fails on fewer than 3 groups.
Result<LadderResult> leave_groups_out(const WorkRows& rows, std::span<const double> target);

}  // namespace nas::latency
