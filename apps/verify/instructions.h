#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "devices/profile.h"

namespace nas::apps {

// Instructions of every operation of one inference of exported C code on an emulated board or processor, in
// order. `files`: net.h, net.c, test_vectors.h and test_main.c by name; `flags`: the compiler's. Fails where
// the linker finds the board too small, and on code that runs fewer than `operations`.
Result<std::vector<std::uint64_t>> operation_instructions(std::map<std::string, std::string> files,
                                                          const devices::TransportSpec& where,
                                                          const std::vector<std::string>& flags,
                                                          std::size_t operations, const std::string& cache);

}  // namespace nas::apps
