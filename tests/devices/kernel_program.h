#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "devices/codegen/generate.h"
#include "devices/codegen/reference.h"
#include "devices/emulator/qemu.h"

namespace nas::devices::codegen {

// One kernel with numbers and data to try it on.
struct KernelCase {
  std::string name;
  KernelSpec spec;
  Int8Params params;
  std::vector<std::int8_t> input;
  std::vector<std::int8_t> second;
};

struct FloatCase {
  std::string name;
  KernelSpec spec;
  FloatParams params;
  std::vector<float> input;
  std::vector<float> second;
};

// Uniform random activations and weights, zero points -5 and 7, multipliers that differ per channel and
// spread the outputs over the int8 range. Depends on the spec and the seed alone.
KernelCase random_case(const std::string& name, const KernelSpec& spec, std::uint64_t seed = 1);
FloatCase random_float_case(const std::string& name, const KernelSpec& spec, std::uint64_t seed = 1);

// A program that runs every case once, each as a region of the counter, and writes all outputs behind one
// another to "out.bin". Its exit status is 0, or 1 + the index of the case that wrote beyond its output or
// its scratch.
emulator::Program kernel_program(const std::vector<KernelCase>& cases, Target target,
                                 const CodegenOptions& options = {});
emulator::Program kernel_program(const std::vector<FloatCase>& cases, Target target,
                                 const CodegenOptions& options = {});

}  // namespace nas::devices::codegen
