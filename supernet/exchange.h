#pragma once
#include <cstdint>
#include <string>

#include "space/base/result.h"

namespace nas::supernet {

// How gradients travel between ranks. All but `none` and `fp32` leave something out and carry it over to the
// next step (error feedback, Seide et al. 2014, Karimireddy et al. 2019), so that nothing is lost, only late.
enum class Compression : std::uint8_t {
  none,   // double precision: the outcome does not show the number of ranks
  fp32,   // half the bytes of that
  fp16,   // rounded to 16 bits, summed in single precision
  bf16,   // the same with bfloat16
  top_k,  // the `share` of values that are largest in magnitude, with their places
  power,  // low-rank factors of every matrix (PowerSGD, Vogels et al. 2019)
};

struct ExchangeOptions {
  Compression compression = Compression::none;
  double share = 0.01;  // of values, for top_k
  int rank = 4;         // of the factors, for power
  // Steps that every rank makes by itself before weights and optimiser state are averaged (local SGD, Stich
  // 2019); 1: gradients are summed at every step.
  int local_steps = 1;
};

// "none", "fp32", "fp16", "bf16", "topk", "topk:0.05", "powersgd", "powersgd:2".
Result<ExchangeOptions> parse_compression(const std::string& text);
std::string to_string(const ExchangeOptions& options);

}  // namespace nas::supernet
