#include "devices/profile.h"

#include <algorithm>
#include <array>

#include "devices/embedded.h"
#include "space/base/file.h"
#include "space/json/document.h"

namespace nas::devices {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<TransportKind, std::string_view>, 6> kTransports{{
    {TransportKind::local, "local"},
    {TransportKind::ssh, "ssh"},
    {TransportKind::adb, "adb"},
    {TransportKind::serial, "serial"},
    {TransportKind::qemu_system, "qemu-system"},
    {TransportKind::qemu_user, "qemu-user"},
}};

TransportSpec read_transport(JsonReader reader) {
  TransportSpec spec;
  std::vector<std::string> words;
  for (const auto& [kind, word] : kTransports) words.emplace_back(word);
  const std::string word = reader.word("kind", words);
  for (const auto& [kind, name] : kTransports)
    if (name == word) spec.kind = kind;
  spec.address = reader.text("address", "");
  spec.port = static_cast<int>(reader.integer("port", 0, 65535, 0));
  spec.baud = static_cast<int>(reader.integer("baud", 9600, 921600, 115200));
  spec.folder =
      reader.text("folder", spec.kind == TransportKind::adb ? "/data/local/tmp/hwnas" : "/tmp/hwnas-agent");
  spec.options = reader.texts("options", std::vector<std::string>{});
  spec.machine = reader.text("machine", "");
  spec.flash = reader.texts("flash", std::vector<std::string>{});
  spec.board = reader.text("board", "");
  const bool emulated = spec.kind == TransportKind::qemu_system || spec.kind == TransportKind::qemu_user;
  if (emulated && spec.machine.empty())
    reader.fail("machine", "an emulator needs the machine or processor to emulate, found none");
  // An address that looks like an option would be one for ssh or adb.
  if (spec.address.starts_with("-"))
    reader.fail("address", "an address must not begin with -, found " + spec.address);
  reader.done();
  return spec;
}

EnergyModel read_energy(JsonReader reader) {
  EnergyModel energy;
  if (reader.has("active_milliwatts"))
    energy.active_milliwatts = reader.number("active_milliwatts", 0.001, 1e6);
  if (reader.has("picojoules_per_instruction"))
    energy.picojoules_per_instruction = reader.number("picojoules_per_instruction", 0.001, 1e6);
  const bool stated = energy.active_milliwatts || energy.picojoules_per_instruction;
  energy.source =
      reader.text("source", stated ? std::optional<std::string>{} : std::optional<std::string>{""});
  reader.done();
  return energy;
}

FusionRules read_fusion(JsonReader reader) {
  FusionRules rules;
  rules.batch_norm = reader.flag("batch_norm", true);
  rules.activation = reader.flag("activation", true);
  rules.add = reader.flag("add", false);
  reader.done();
  return rules;
}

Toolchain read_toolchain(JsonReader reader) {
  Toolchain toolchain;
  toolchain.compiler = reader.text("program", "");
  toolchain.flags = reader.texts("flags", std::vector<std::string>{});
  toolchain.link_flags = reader.texts("link_flags", std::vector<std::string>{});
  if (toolchain.compiler.starts_with("-")) reader.fail("program", "a compiler's name must not begin with -");
  reader.done();
  return toolchain;
}

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         std::ranges::all_of(name,
                             [](char c) {
                               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                                      c == '_' || c == '.';
                             }) &&
         name.front() != '-' && name.front() != '.';
}

void read_hardware(JsonReader& reader, DeviceProfile& profile) {
  profile.core = reader.text("core", "");
  profile.cores = static_cast<int>(reader.integer("cores", 1, 1024, 1));
  profile.clock_mhz = reader.number("clock_mhz", 0, 1e5, 0.0);
  constexpr std::int64_t kMost = std::int64_t{1} << 46;
  if (reader.has("ram_bytes")) profile.ram_bytes = reader.integer("ram_bytes", 1, kMost);
  if (reader.has("flash_bytes")) profile.flash_bytes = reader.integer("flash_bytes", 1, kMost);
}

}  // namespace

std::string_view to_string(TransportKind kind) {
  for (const auto& [known, word] : kTransports)
    if (known == kind) return word;
  return "unknown";
}

Result<DeviceProfile> parse_profile(const std::string& json_text, const std::string& where) {
  NAS_TRY(document, JsonDocument::parse(json_text, where));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  DeviceProfile profile;
  profile.name = reader.text("name");
  if (errors.empty() && !is_name(profile.name))
    reader.fail("name",
                "a name has 1 to 64 of a-z 0-9 - _ . and does not begin with - or ., found " + profile.name);
  profile.description = reader.text("description", "");
  profile.kind = reader.word("kind", {"host", "phone", "board", "mcu", "gpu"});
  profile.engine = reader.word("engine", {"c", "torch", "onnxruntime", "tflite"}, "c");
  read_hardware(reader, profile);
  profile.precisions = reader.texts("precisions", std::vector<std::string>{"fp32"});
  for (const std::string& precision : profile.precisions)
    if (precision != "fp32" && precision != "int8")
      reader.fail("precisions", "a precision is fp32 or int8, found " + precision);
  if (profile.precisions.empty()) reader.fail("precisions", "at least one precision is needed, found none");
  profile.transport = read_transport(reader.object("transport", true));
  profile.toolchain = read_toolchain(reader.object("compiler"));
  profile.energy = read_energy(reader.object("energy"));
  profile.fusion = read_fusion(reader.object("fusion"));
  reader.done();
  if (profile.engine != "torch" && profile.toolchain.compiler.empty() && errors.empty())
    reader.fail("compiler",
                "engine " + profile.engine + " needs a compiler program (of the agent), found none");
  if (!errors.empty()) return join_errors(errors);
  profile.fingerprint = sha256(json_text).substr(0, 16);
  return profile;
}

std::vector<std::string> builtin_profile_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : profile_files())
    names.emplace_back(file.name.substr(0, file.name.size() - std::string_view(".json").size()));
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> profile_names(const fs::path& folder) {
  std::vector<std::string> names = builtin_profile_names();
  std::error_code ignored;
  if (!folder.empty() && fs::is_directory(folder, ignored))
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored))
      if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::ranges::sort(names);
  const auto twins = std::ranges::unique(names);
  names.erase(twins.begin(), twins.end());
  return names;
}

Result<std::string> profile_text(const std::string& name, const fs::path& folder) {
  constexpr std::uint64_t kLimit = 1 << 20;
  if (name.ends_with(".json")) return read_file(name, kLimit);
  if (!folder.empty() && is_name(name) && fs::exists(folder / (name + ".json")))
    return read_file(folder / (name + ".json"), kLimit);
  for (const EmbeddedFile& file : profile_files())
    if (file.name == name + ".json") return std::string(file.text);
  const std::string close = nearest(name, profile_names(folder));
  return usage_error("device " + name + " is not known" +
                     (close.empty() ? "" : "; did you mean " + close + "?") +
                     " (hwnas device list shows all)");
}

Result<DeviceProfile> load_profile(const std::string& name, const fs::path& folder) {
  NAS_TRY(text, profile_text(name, folder));
  return parse_profile(text, name.ends_with(".json") ? name : name + ".json");
}

}  // namespace nas::devices
