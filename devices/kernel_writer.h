#pragma once
#include <string>

#include "devices/kernel_code.h"
#include "space/base/result.h"
#include "space/kernel.h"

namespace nas::devices {

// The C that the exporter would write for this kernel (devices/codegen), with drawn weights, as the agent
// runs it. A squeeze-excite becomes its five steps, a linear layer over positions a 1x1 convolution.
// `precision` is "int8" or "fp32". An Error names what the engine has no code for. `function` is a C name,
// unique in the program.
Result<KernelCode> write_kernel(const Kernel& kernel, const std::string& precision,
                                const std::string& function);

}  // namespace nas::devices
