#include "apps/verify/instructions.h"

#include "devices/emulator/qemu.h"

namespace nas::apps {

using devices::emulator::EmulatedRun;

Result<std::vector<std::uint64_t>> operation_instructions(std::map<std::string, std::string> files,
                                                          const devices::TransportSpec& where,
                                                          const std::vector<std::string>& flags,
                                                          std::size_t operations, const std::string& cache) {
  devices::emulator::Program program{std::move(files), flags};
  for (const char* flag : {"-DNET_BOARD", "-include", "nas_board.h", "-DNET_BEFORE(i)=nas_region_begin();",
                           "-DNET_AFTER(i)=nas_region_end();", "-DNET_NO_REGION"})
    program.flags.emplace_back(flag);
  const devices::emulator::Emulator emulator(cache);
  EmulatedRun run;
  if (where.kind == devices::TransportKind::qemu_system) {
    NAS_TRY(board, devices::emulator::find_board(where.machine));
    NAS_TRY(built, emulator.build(board, program));
    NAS_TRY(ran, emulator.run(board, built, {.count = true}));
    run = std::move(ran);
  } else {
    NAS_TRY(built, emulator.build_aarch64(program));
    NAS_TRY(ran, emulator.run_aarch64(where.machine, built, {.count = true}));
    run = std::move(ran);
  }
  if (run.regions.size() < operations)
    return Error{"the network did not run to its end", where.machine, ErrorKind::device};
  std::vector<std::uint64_t> counted;  // the first image's operations come first
  for (std::size_t i = 0; i < operations; ++i) counted.push_back(run.regions[i].total);
  return counted;
}

}  // namespace nas::apps
