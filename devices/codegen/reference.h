#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "devices/codegen/kernel_spec.h"

namespace nas::devices::codegen {

// Direct loops over the definitions, as slow as they are plain: what generated code is held against.
// `second` is the other input of add and scale_channels, else empty. The spec must have passed check().
std::vector<std::int8_t> run_reference(const KernelSpec& spec, const Int8Params& params,
                                       std::span<const std::int8_t> input,
                                       std::span<const std::int8_t> second, Rounding rounding);

// In double precision throughout, rounded once at the end.
std::vector<float> run_reference(const KernelSpec& spec, const FloatParams& params,
                                 std::span<const float> input, std::span<const float> second);

}  // namespace nas::devices::codegen
