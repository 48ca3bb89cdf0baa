#pragma once
#include <cstdint>
#include <string>

namespace nas::devices {

// One kernel as C source that the agent (devices/agent/hw_agent.h) can run: `source` is a translation unit of
// its own that defines `void function(uint8_t* arena)`, which reads its input and writes its output in the
// arena.
struct KernelCode {
  std::string signature;
  std::string function;  // a C name, unique in the program
  std::string source;
  std::uint32_t arena_bytes = 0;
  std::uint32_t input_offset = 0;
  std::uint32_t input_bytes = 0;
  std::uint32_t output_offset = 0;
  std::uint32_t output_bytes = 0;
  int element_bytes = 1;  // 1: int8, 4: float
};

}  // namespace nas::devices
