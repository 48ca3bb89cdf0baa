#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace nas::devices::codegen {

// Writes a C function whose body is Thumb-2 assembly: a naked function of basic asm statements, which GCC and
// clang keep in order. Register names are given by number; 13 and 15 have their usual meaning.
class ThumbWriter {
 public:
  ThumbWriter& line(const std::string& instruction);
  ThumbWriter& label(int number);
  // Code for the two ways of rounding, chosen by the preprocessor when the C text is compiled.
  ThumbWriter& if_double_rounding();
  ThumbWriter& otherwise();
  ThumbWriter& end_if();

  // "static ... void NAME(PARAMETERS) { asm }", inside "#ifndef NAME_" so that kernels of equal shape share
  // it.
  std::string function(const std::string& name, std::initializer_list<const char*> parameters) const;

 private:
  void close_statement();
  std::string body_;
  std::size_t open_bytes_ = 0;  // characters of the asm string being written; 0: none is open
};

std::string reg(int number);

// The requantisation of some accumulators of one channel, in place: registers hold accumulators, then int8
// values.
struct RequantPlan {
  int multiplier = 0;      // register with the mantissa
  int rounding = 0;        // register with the rounding constant (and the output's zero point)
  int shift = 0;           // register with the shift
  int extra = 0;           // the accumulators are 2^extra times too large (see gemm_dsp.cpp)
  bool late_zero = false;  // the zero point does not fit the rounding constant and is added afterwards
  std::int32_t zero = 0;
  std::int32_t clamp_low = -128;
  std::int32_t clamp_high = 127;
};
void write_requant(ThumbWriter& out, const std::vector<int>& accumulators, const RequantPlan& plan);

}  // namespace nas::devices::codegen
