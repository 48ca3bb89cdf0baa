#pragma once
#include <filesystem>
#include <string>

#include "devices/emulator/qemu.h"
#include "space/base/result.h"

namespace nas::apps {

// An exported network's C code compiled for this machine with all it has.
class HostC {
 public:
  // Texts of net.h and net.c. Fails without a compiler.
  static Result<HostC> build(const std::string& header, const std::string& source, const std::string& cache);

  // int8 images one after the other -> their outputs in the same order, on all cores.
  Result<std::string> run(const std::string& inputs, std::size_t input_bytes) const;

 private:
  HostC(devices::emulator::Emulator emulator, devices::emulator::BuiltProgram built)
      : emulator_(std::move(emulator)), built_(std::move(built)) {}
  devices::emulator::Emulator emulator_;
  devices::emulator::BuiltProgram built_;
};

}  // namespace nas::apps
