#include "devices/agent_build.h"

#include <tbb/parallel_for.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "devices/embedded.h"
#include "devices/process.h"
#include "space/base/file.h"

namespace nas::devices {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// A source text with the headers it sees; compiled to an object named by the hash of everything.
struct Unit {
  std::string name;
  std::string source;
};

std::string add_sized(std::string all, const std::string& text) {
  return std::move(all) + std::to_string(text.size()) + ":" + text;
}

std::string toolchain_key(const Toolchain& toolchain, const std::string& version) {
  std::string all = add_sized(version, toolchain.compiler);
  for (const std::string& flag : toolchain.flags) all = add_sized(std::move(all), flag);
  for (const std::string& flag : toolchain.link_flags) all = add_sized(std::move(all), flag);
  for (const EmbeddedFile& file : agent_files())
    if (file.name.ends_with(".h")) all = add_sized(std::move(all), std::string(file.text));
  return all;
}

std::string unique_suffix() {
  static std::atomic<unsigned> next{0};
  return "." + std::to_string(::getpid()) + "." + std::to_string(next.fetch_add(1));
}

Result<void> publish(const fs::path& from, const fs::path& to) {
  std::error_code code;
  fs::rename(from, to, code);
  if (code) return Error{"cannot move a build to its place: " + code.message(), to.string()};
  return {};
}

Result<fs::path> compile_unit(const Toolchain& toolchain, const std::string& key, const Unit& unit,
                              const fs::path& cache, const fs::path& headers) {
  const fs::path object = cache / (sha256(add_sized(key, unit.source)).substr(0, 32) + ".o");
  if (fs::exists(object)) return object;
  const fs::path source = object.string() + unique_suffix() + ".c";
  const fs::path output = object.string() + unique_suffix();
  NAS_CHECK(write_file(source, unit.source));
  std::vector<std::string> command{toolchain.compiler};
  command.insert(command.end(), toolchain.flags.begin(), toolchain.flags.end());
  command.insert(command.end(), {"-I", headers.string(), "-c", source.string(), "-o", output.string()});
  const auto compiled = run_checked({.arguments = command, .timeout = 180s});
  std::error_code ignored;
  fs::remove(source, ignored);
  if (!compiled) return Error{compiled.error().message, unit.name, ErrorKind::device};
  NAS_CHECK(publish(output, object));
  return object;
}

Result<fs::path> write_headers(const std::string& key, const fs::path& cache) {
  const fs::path folder = cache / ("include-" + sha256(key).substr(0, 16));
  for (const EmbeddedFile& file : agent_files())
    if (file.name.ends_with(".h") && !fs::exists(folder / file.name))
      NAS_CHECK(write_file(folder / file.name, file.text));
  return folder;
}

std::vector<Unit> units_of(std::span<const KernelCode> kernels, const std::string& id,
                           const AgentPlatform& platform) {
  std::vector<Unit> units;
  for (const EmbeddedFile& file : agent_files())
    if (file.name == platform.source || file.name == platform.engine || file.name == "hw_agent.c" ||
        file.name == "hw_protocol.c")
      units.push_back({std::string(file.name), std::string(file.text)});
  units.push_back({"kernel table", kernel_table_source(kernels, id)});
  for (const KernelCode& kernel : kernels) units.push_back({kernel.signature, kernel.source});
  return units;
}

Result<void> link(const Toolchain& toolchain, const std::vector<fs::path>& objects, const std::string& script,
                  const fs::path& program) {
  std::string list;
  for (const fs::path& object : objects) list += object.string() + "\n";
  const fs::path output = program.string() + unique_suffix();
  const fs::path response = output.string() + ".list";
  NAS_CHECK(write_file(response, list));
  std::vector<std::string> command{toolchain.compiler};
  command.insert(command.end(), toolchain.flags.begin(), toolchain.flags.end());
  command.insert(command.end(), {"@" + response.string(), "-o", output.string()});
  command.insert(command.end(), toolchain.link_flags.begin(), toolchain.link_flags.end());
  const fs::path placed = output.string() + ".ld";
  if (!script.empty()) {
    NAS_CHECK(write_file(placed, script));
    command.insert(command.end(), {"-T", placed.string()});
  }
  const auto linked = run_checked({.arguments = command, .timeout = 180s});
  std::error_code ignored;
  fs::remove(response, ignored);
  fs::remove(placed, ignored);
  if (!linked) return linked.error();
  return publish(output, program);
}

}  // namespace

Result<std::string> compiler_version(const std::string& compiler) {
  NAS_TRY(answer, run_checked({.arguments = {compiler, "--version"}, .timeout = 20s}));
  return answer.output.substr(0, answer.output.find('\n'));
}

std::string build_id(const Toolchain& toolchain, std::span<const KernelCode> kernels,
                     const AgentPlatform& platform) {
  std::string all = toolchain_key(toolchain, "") + platform.source + platform.linker_script + platform.engine;
  for (const EmbeddedFile& file : agent_files()) all = add_sized(std::move(all), std::string(file.text));
  for (const KernelCode& kernel : kernels) {
    all = add_sized(std::move(all), kernel.signature);
    all = add_sized(std::move(all), kernel.source);
  }
  return sha256(all).substr(0, 32);
}

std::string kernel_table_source(std::span<const KernelCode> kernels, const std::string& build_id) {
  std::string text = "#include \"hw_agent.h\"\n";
  std::uint32_t arena = 16;
  for (const KernelCode& kernel : kernels) {
    text += "void " + kernel.function + "(uint8_t*);\n";
    arena = std::max(arena, kernel.arena_bytes);
  }
  text += "static const hw_kernel table[] = {\n";
  for (const KernelCode& k : kernels) {
    text += "  {\"" + k.signature + "\", " + k.function;
    for (const std::uint32_t number :
         {k.arena_bytes, k.input_offset, k.input_bytes, k.output_offset, k.output_bytes})
      text += ", " + std::to_string(number) + "u";
    text += ", " + std::to_string(k.element_bytes) + "},\n";
  }
  if (kernels.empty()) text += "  {\"\", 0, 0, 0, 0, 0, 0, 1},\n";
  text += "};\nconst hw_kernel* hw_kernels = table;\nuint16_t hw_kernel_count = " +
          std::to_string(kernels.size()) + ";\n";
  text += "const char* hw_build_id = \"" + build_id + "\";\n";
  text += "__attribute__((aligned(64), section(\".bss.arena\"))) uint8_t hw_arena[" + std::to_string(arena) +
          "];\n";
  text += "const uint32_t hw_arena_bytes = sizeof hw_arena;\n";
  return text;
}

Result<AgentBuild> build_agent(const Toolchain& toolchain, std::span<const KernelCode> kernels,
                               const fs::path& cache_folder, const AgentPlatform& platform) {
  if (kernels.size() > 65535)
    return usage_error("a program may hold 65535 kernels, found " + std::to_string(kernels.size()));
  NAS_TRY(version, compiler_version(toolchain.compiler));
  const fs::path cache = fs::absolute(cache_folder);
  const std::string key = toolchain_key(toolchain, version);
  AgentBuild build{{}, build_id(toolchain, kernels, platform), version};
  build.program = cache / ("agent-" + sha256(key + build.id).substr(0, 32));
  if (fs::exists(build.program)) return build;
  NAS_TRY(headers, write_headers(key, cache));
  const std::vector<Unit> units = units_of(kernels, build.id, platform);
  std::vector<Result<fs::path>> results(units.size(), Result<fs::path>(Error{"not compiled"}));
  tbb::parallel_for(std::size_t{0}, units.size(), [&](std::size_t i) {
    results[i] = compile_unit(toolchain, key, units[i], cache, headers);
  });
  std::vector<fs::path> objects;
  for (Result<fs::path>& result : results) {
    if (!result) return result.error();
    objects.push_back(*std::move(result));
  }
  NAS_CHECK(link(toolchain, objects, platform.linker_script, build.program));
  return build;
}

}  // namespace nas::devices
