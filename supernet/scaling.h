#pragma once
#include <vector>

#include "space/network.h"
#include "supernet/exchange.h"

namespace nas::supernet {

// One training step of a supernet, as far as its time hangs on the number of ranks. All of it is modelled.
struct ScalingQuestion {
  int ranks = 1;
  double compute_seconds = 0;  // of the step on one rank alone, all images
  // Passes (paths times shards) that follow each other on a rank's threads: gradients travel during the last.
  double waves = 1;
  double link_bytes_per_second = 125e6;  // of every rank, one direction
  double latency_seconds = 1e-4;         // of one message
  ExchangeOptions exchange;
  int optimizer_slots = 1;  // tensors a parameter that local rounds average beside the weights
};

struct StepTime {
  double compute = 0;     // seconds
  double exchange = 0;    // seconds that the link works
  double exposed = 0;     // of these, what the step waits for
  double bytes_sent = 0;  // by a rank
  double total() const { return compute + exposed; }
};

// Values and matrices of a supernet's weights, from its largest network.
struct WeightShapes {
  struct Matrix {
    double rows = 0, columns = 0;
  };
  std::vector<Matrix> matrices;  // one row: what is no matrix
  double values() const;
};
WeightShapes weight_shapes(const Network& largest);

// Bytes that a rank sends a step, on average over a round of local steps: a ring for sums (2 (w - 1) / w of
// the values) and gathers (w - 1), as c10d over Gloo does it.
double bytes_a_step(const WeightShapes& shapes, const ScalingQuestion& question);

// Compute divides by the ranks. The exchange takes bytes / link + latency a message; it hides behind the
// backward part (two thirds) of the last wave, except for the last bucket and what comes after all gradients
// (second messages of compression, averages of local rounds).
StepTime step_time(const WeightShapes& shapes, const ScalingQuestion& question);

// Bytes a second from "100mbit", "10gbit" or "1gbyte".
Result<double> parse_link(const std::string& text);

}  // namespace nas::supernet
