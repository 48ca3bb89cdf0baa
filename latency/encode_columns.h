#pragma once
#include <string>
#include <vector>

#include "latency/csv.h"
#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::latency {

// What models see of each row of a file, in three forms.
struct Encoded {
  learn::Matrix
      table;  // 0/1 entries of an additive table (and entries scaled by the input area): sums of costs
  learn::Matrix cross;    // table plus products, for a linear model with interactions; empty: same as table
  learn::Matrix numbers;  // few numbers a row, for trees, networks and Gaussian processes
  std::vector<std::string> key;   // equal keys: the same architecture
  bool positive_entries = false;  // the table's coefficients are costs and cannot be negative
  learn::Matrix ordered =
      {};  // what lies on a scale of which the table knows nothing (resolution); may be empty
};

// Reads architectures from the columns that the space's files have: nasbench201 `arch`; fbnet `op0`…`op21`;
// ofa-mbv3-* `r,d,ks,e`; mnasnet-accel `block0_e`…; hat-*: its ten averaged features. Fails with the file,
// line and what the space requires.
Result<Encoded> encode_space(const Csv& csv, const std::string& space);

// Plain feature columns: numbers, or text as categories. Where the columns describe a convolution (cin, cout,
// k, s and h, optionally w, mid) its work and memory traffic are added.
Result<Encoded> encode_features(const Csv& csv, const std::vector<std::string>& columns);

}  // namespace nas::latency
