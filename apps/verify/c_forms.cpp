#include <cstring>

#include "apps/verify/forms.h"
#include "apps/verify/host_c.h"
#include "devices/emulator/qemu.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using devices::emulator::EmulatedRun;
using devices::emulator::Emulator;
using devices::emulator::Program;
using devices::emulator::RunOptions;

// Image after image, one file each so that a board's memory holds them; with NET_TENSORS the first image's
// tensors as well. NET_AFTER hands every operation's result to net_after().
constexpr const char* kMain = R"(
#include "nas_board.h"
#include "net.h"
static int8_t arena[NET_ARENA_BYTES] __attribute__((aligned(16)));
static char name[12] = "in000000";
static void number(int n) {
  int i;
  for (i = 7; i >= 2; --i, n /= 10) name[i] = (char)('0' + n % 10);
}
#ifdef NET_TENSORS
#include "places.h"
static int first = 1;
void net_after(int operation) {
  if (!first || net_places[operation][1] == 0) return;
  name[0] = 't'; name[1] = 'e';
  number(operation);
  nas_write_file(name, arena + net_places[operation][0], (uint32_t)net_places[operation][1]);
}
#endif
int nas_main(void) {
  int i;
  for (i = 0; i < NET_IMAGES; ++i) {
    name[0] = 'i'; name[1] = 'n';
    number(i);
    if (nas_read_file(name, net_input(arena), NET_INPUT_BYTES) != NET_INPUT_BYTES) return 1;
    if (i == 0) nas_region_begin();
    net_run(arena);
    if (i == 0) nas_region_end();
    name[0] = 'o'; name[1] = 'u';
    number(i);
    if (nas_write_file(name, net_output(arena), NET_OUTPUTS) != NET_OUTPUTS) return 2;
#ifdef NET_TENSORS
    first = 0;
#endif
  }
  return 0;
}
)";

std::string file_name(const char* prefix, std::size_t n) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%06zu", prefix, n);
  return name;
}

// What the device's own compiler is given; the last ones of a kind count.
std::vector<std::string> aarch64_flags(const Record& manifest) {
  const Record compiler = manifest.value("/device/compiler"_json_pointer, Record::object());
  const auto word = [](const Record& r) { return r.is_string() ? r.get<std::string>() : std::string(); };
  std::vector<std::string> flags;
  if (!compiler.is_object() || !compiler.contains("flags")) return flags;
  if (!word(compiler.value("program", Record())).starts_with("aarch64")) return flags;
  for (const Record& flag : compiler["flags"])
    if (word(flag).starts_with("-")) flags.push_back(word(flag));
  return flags;
}

std::string places_header(const Record& operations) {
  std::string text = "static const int32_t net_places[][2] = {\n";
  for (const Record& row : operations)
    text += "  {" + std::to_string(row.value("offset", std::int64_t{0})) + ", " +
            std::to_string(row.value("bytes", std::int64_t{0})) + "},\n";
  return text + "};\n";
}

struct CProgram {
  Program program;
  RunOptions options;
  std::size_t images = 0;
  std::vector<bool> shown;  // per operation: its tensor exists as a whole
};

Result<CProgram> c_program(const ExportedFolder& folder, const FormImages& images, std::size_t count,
                           bool tensors) {
  CProgram c;
  for (const char* name : {"net.h", "net.c"}) {
    NAS_TRY(text, read_file(folder.path / "c" / name, std::uint64_t{1} << 28));
    c.program.sources[name] = std::move(text);
  }
  c.program.sources["main.c"] = kMain;
  c.program.flags = {"-std=c99", "-O2", "-DNET_IMAGES=" + std::to_string(count)};
  const Record operations = folder.manifest.value("operations", Record::array());
  if (tensors && operations.is_array() && !operations.empty() && operations[0].contains("offset")) {
    for (const Record& row : operations) c.shown.push_back(row.value("bytes", std::int64_t{0}) > 0);
    c.program.sources["places.h"] = places_header(operations);
    c.program.sources["after.h"] = "void net_after(int operation);\n";
    for (const char* flag : {"-DNET_TENSORS", "-include", "after.h", "-DNET_AFTER(i)=net_after(i);"})
      c.program.flags.emplace_back(flag);
  }
  c.images = count;
  c.options.timeout = std::chrono::minutes(20);
  for (std::size_t i = 0; i < count; ++i) {
    c.options.files[file_name("in", i)] = int8_rows(images, folder, i);
    c.options.wanted.push_back(file_name("ou", i));
  }
  for (std::size_t i = 0; i < c.shown.size(); ++i)
    if (c.shown[i]) c.options.wanted.push_back(file_name("te", i));
  return c;
}

float real_logit(const ExportedFolder& folder, char q) {
  return static_cast<float>(folder.output_scale * (static_cast<std::int8_t>(q) - folder.output_zero));
}

FormRun form_of(const ExportedFolder& folder, const std::string& name, const CProgram& c,
                const Result<EmulatedRun>& run) {
  FormRun form{name, FormKind::integer, {}, {}, {}, 0};
  if (!run || run->exit_code != 0) {
    form.note = run ? "ended with " + std::to_string(run->exit_code) : run.error().message;
    return form;
  }
  for (std::size_t i = 0; i < c.images; ++i)
    for (const char q : run->files.at(file_name("ou", i))) form.logits.push_back(real_logit(folder, q));
  for (std::size_t i = 0; i < c.shown.size(); ++i)
    form.tensors.push_back(c.shown[i] ? run->files.at(file_name("te", i)) : std::string());
  if (!run->regions.empty()) form.instructions = static_cast<double>(run->regions.front().total);
  return form;
}

// All images in few processes; shows no tensors.
FormRun stream_here(const ExportedFolder& folder, const FormImages& images, const std::string& cache) {
  FormRun form{"C, this machine", FormKind::integer, {}, {}, {}, 0};
  const auto outputs = [&]() -> Result<std::string> {
    NAS_TRY(header, read_file(folder.path / "c/net.h", std::uint64_t{1} << 28));
    NAS_TRY(source, read_file(folder.path / "c/net.c", std::uint64_t{1} << 28));
    NAS_TRY(program, HostC::build(header, source, cache));
    std::string inputs;
    for (std::size_t i = 0; i < images.count; ++i) inputs += int8_rows(images, folder, i);
    return program.run(inputs, static_cast<std::size_t>(folder.input.elements()));
  }();
  if (!outputs)
    form.note = outputs.error().message;
  else
    for (const char q : *outputs) form.logits.push_back(real_logit(folder, q));
  return form;
}

}  // namespace

std::vector<FormJob> c_forms(const ExportedFolder& folder, const FormImages& images, const std::string& cache,
                             const RunWishes& wishes) {
  std::vector<FormJob> jobs;
  if (!wishes.tensors) {
    jobs.push_back([&folder, &images, cache] { return stream_here(folder, images, cache); });
    return jobs;
  }
  const auto add = [&](const std::string& name, bool tensors, const auto& execute) {
    jobs.push_back([&folder, &images, name, tensors, execute] {
      const auto c = c_program(folder, images, images.count, tensors);
      return c ? form_of(folder, name, *c, execute(*c))
               : FormRun{name, FormKind::integer, c.error().message, {}, {}, 0};
    });
  };
  const Emulator emulator(cache);
  add("C, this machine", true, [emulator](const CProgram& c) -> Result<EmulatedRun> {
    NAS_TRY(built, emulator.build_host(c.program));
    return emulator.run_host(built, c.options);
  });
  for (const char* name : {"mps2-an386", "mps2-an500", "netduinoplus2"}) {
    const auto board = devices::emulator::find_board(name);
    if (!board) continue;
    add("C, " + board->core + " (" + name + ", emulated)", false,
        [emulator, board = *board](const CProgram& c) -> Result<EmulatedRun> {
          NAS_TRY(built, emulator.build(board, c.program));
          RunOptions options = c.options;
          options.count = true;
          return emulator.run(board, built, options);
        });
  }
  add("C, aarch64 (emulated)", false,
      [emulator, flags = aarch64_flags(folder.manifest)](const CProgram& c) -> Result<EmulatedRun> {
        Program program = c.program;
        program.flags.insert(program.flags.end(), flags.begin(), flags.end());
        NAS_TRY(built, emulator.build_aarch64(program));
        RunOptions options = c.options;
        options.count = true;
        return emulator.run_aarch64("cortex-a76", built, options);
      });
  return jobs;
}

}  // namespace nas::apps
