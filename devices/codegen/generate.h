#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "devices/codegen/kernel_spec.h"
#include "space/base/result.h"

namespace nas::devices::codegen {

// For which machine a piece of the C text is meant. The text holds every wanted one and the preprocessor
// chooses: dsp where the compiler targets a Cortex-M with the DSP extension (M4, M7, M33, M55), neon on
// AArch64, else portable.
enum class Target : std::uint8_t { portable, dsp, neon };

struct CodegenOptions {
  bool portable = true;
  bool dsp = true;
  bool neon = true;
  // Bytes that a kernel should ask for at most as scratch; exceeded only where a single column or a window's
  // rows need more. NEON kernels may take eight times as much, fp32
  // convolutions four times.
  std::size_t scratch_limit = 4096;
};

// What every file of generated kernels begins with: includes, the choice of the target, helper functions.
// Macros that the C compiler may be given: NAS_DOUBLE_ROUNDING=1 (default 0, single rounding),
// NAS_TARGET_PORTABLE=1 (never use DSP or NEON code).
std::string generate_prelude();

// C99 text of one kernel: its arrays of weights and one function of external linkage,
//   void NAME(const T *input, T *output, void *scratch)                     or, for add and scale_channels,
//   void NAME(const T *input, const T *second, T *output, void *scratch)
// with T int8_t or float. Tensors are NHWC and aligned to 16 bytes, like `scratch`, of which scratch_bytes()
// are used. No other memory but the stack (under 200 bytes; depthwise with packed weights on AArch64: 600).
// In place, `output` equals `input`; otherwise it must not overlap it. `name` is a C identifier, unique in
// the file. The same arguments give the same bytes.
Result<std::string> generate_kernel(const std::string& name, const KernelSpec& spec, const Int8Params& params,
                                    const CodegenOptions& options = {});
Result<std::string> generate_kernel(const std::string& name, const KernelSpec& spec,
                                    const FloatParams& params, const CodegenOptions& options = {});

// One kernel of a file.
struct NamedKernel {
  std::string name;
  KernelSpec spec;
  std::variant<Int8Params, FloatParams> params;
};

// A whole file: the prelude and every kernel. Micro-kernels of equal shape are compiled once. Fails like
// generate_kernel, naming the kernel, and on two kernels of one name.
Result<std::string> generate_source(const std::vector<NamedKernel>& kernels,
                                    const CodegenOptions& options = {});

// The declaration of that function, with a semicolon.
std::string kernel_declaration(const std::string& name, const KernelSpec& spec);

// Bytes of scratch that the kernel needs on a target, an upper bound over all weights.
Result<std::size_t> scratch_bytes(const KernelSpec& spec, Target target, const CodegenOptions& options = {});

}  // namespace nas::devices::codegen
