#pragma once
#include <string>

#include "devices/kernel_code.h"
#include "space/base/result.h"
#include "space/network.h"
#include "space/quantized_network.h"

namespace nas::devices {

// Numbers for a deployment that nobody has trained: weights and grids as calibration leaves them, the same
// for the same name.
QuantizedNetwork drawn_numbers(Deployment deployment, const std::string& name);

// The C that the exporter would write for this whole network at int8, with drawn weights, as the agent and
// the emulators run it: to measure networks that nobody has trained. `name` is the code's signature;
// `function` a C name, unique in the program. An Error names a layer that has no deployed form.
Result<KernelCode> write_network(const Network& network, const std::string& name,
                                 const std::string& function);

}  // namespace nas::devices
