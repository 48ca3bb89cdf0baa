#pragma once
#include <string>
#include <vector>

#include "apps/export/subject.h"
#include "devices/codegen/network.h"

namespace nas::apps {

// The folder c/: the network, its test vectors, a Makefile with `make test` for this machine, `make qemu` for
// emulated Cortex-M boards and `make aarch64` (compiled with the given flags), and what a board needs to
// start.
Result<ExportFiles> c_files(const Subject& subject, const devices::codegen::GeneratedNetwork& made,
                            const std::vector<std::string>& aarch64_flags);

}  // namespace nas::apps
