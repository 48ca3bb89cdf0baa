#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "devices/kernel_code.h"
#include "space/base/result.h"

namespace nas::devices {

// How to make a program for a device: from its profile.
struct Toolchain {
  std::string compiler;            // "gcc", "aarch64-linux-gnu-gcc"
  std::vector<std::string> flags;  // for every source
  std::vector<std::string> link_flags;
};

// The part of the agent that knows the machine, and how to place it there.
struct AgentPlatform {
  std::string source = "hw_hosted.c";  // of devices/agent
  std::string linker_script = {};      // empty: the toolchain's own
  std::string engine = {};             // of devices/agent, the engine that its kernels call; empty: none
};

// The C table of kernels (hw_kernels, hw_arena) that ties generated kernels to the agent; `build_id` is what
// the agent will call itself.
std::string kernel_table_source(std::span<const KernelCode> kernels, const std::string& build_id);
// Identifies toolchain and kernels: equal ids, equal programs.
std::string build_id(const Toolchain& toolchain, std::span<const KernelCode> kernels,
                     const AgentPlatform& platform = {});

struct AgentBuild {
  std::filesystem::path program;
  std::string id;
  std::string compiler_version;
};

// Compiles the agent with these kernels, for Linux unless `platform` says otherwise. Objects and programs are
// kept in `cache` under the hash of all that went into them; safe for several processes at once.
Result<AgentBuild> build_agent(const Toolchain& toolchain, std::span<const KernelCode> kernels,
                               const std::filesystem::path& cache, const AgentPlatform& platform = {});

// The first line of `compiler --version`.
Result<std::string> compiler_version(const std::string& compiler);

}  // namespace nas::devices
