#include "apps/line/line_config.h"

#include <algorithm>

#include "apps/export_forms.h"
#include "devices/profile.h"
#include "space/base/embedded.h"
#include "space/json/document.h"

namespace nas::apps {

std::span<const EmbeddedFile> template_files();

namespace {

namespace fs = std::filesystem;

std::optional<double> limit(JsonReader& reader, const char* key) {
  if (!reader.has(key)) return {};
  return reader.number(key, 1e-9, 1e12);
}

Target read_target(JsonReader& reader, const fs::path& project) {
  Target target;
  target.name = reader.text("name");
  if (target.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") != std::string::npos)
    reader.fail("name", "\"" + target.name + "\": a name of folders: lower-case letters, digits, - _ .");
  target.device = reader.text("device");
  const auto device = devices::load_profile(target.device, project / "devices");
  if (!device) reader.fail("device", device.error().message);
  const std::vector<std::string> precisions =
      device ? device->precisions : std::vector<std::string>{"int8", "fp32"};
  target.precision = reader.word("precision", precisions, precisions.front());
  target.unit = device && device->counts_instructions() ? "minstr" : "latency_ms";
  JsonReader limits = reader.object("limits");
  target.max_latency = limit(limits, target.unit.c_str());
  target.ram_kb = limit(limits, "ram_kb");
  target.flash_kb = limit(limits, "flash_kb");
  limits.done();
  if (device && !target.ram_kb && device->ram_bytes)
    target.ram_kb = static_cast<double>(*device->ram_bytes) / 1024;
  if (device && !target.flash_kb && device->flash_bytes)
    target.flash_kb = static_cast<double>(*device->flash_bytes) / 1024;
  target.forms = reader.texts("export", std::vector<std::string>{});
  for (const std::string& form : target.forms)
    if (const auto known = check_form(form); !known) reader.fail("export", known.error().message);
  target.finetune = reader.number("finetune", 0, 1e6, 0);
  target.qat = reader.number("qat", 0, 1e6, 0);
  target.patches = reader.word("patches", {"off", "auto"}, "off");
  reader.done();
  return target;
}

}  // namespace

Result<LineConfig> read_line_document(const JsonDocument& document, const fs::path& project) {
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  reader.raw("$schema");
  LineConfig config;
  config.space = reader.text("space");
  config.data = reader.text("data");
  config.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, 1));
  JsonReader train = reader.object("train");
  config.recipe = train.text("recipe", config.recipe);
  config.length = train.number("length", 1e-6, 1e6, config.length);
  config.batch = static_cast<int>(train.integer("batch", 2, 65536, config.batch));
  train.done();
  JsonReader search = reader.object("search");
  config.strategy = search.text("strategy", config.strategy);
  config.evaluations = search.integer("evaluations", 1, 1'000'000'000, config.evaluations);
  config.sweep = search.integer("sweep", 30, 1'000'000, config.sweep);
  config.check = search.integer("check", 2, 1'000'000, config.check);
  search.done();
  JsonReader profile = reader.object("profile");
  config.max_kernels = static_cast<std::size_t>(profile.integer("max_kernels", 0, 1'000'000, 0));
  profile.done();
  for (JsonReader& one : reader.objects("targets", true)) {
    Target target = read_target(one, project);
    if (std::ranges::find(config.targets, target.name, &Target::name) != config.targets.end())
      one.fail("name", "\"" + target.name + "\" is the name of an earlier target");
    config.targets.push_back(std::move(target));
  }
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  return config;
}

Result<LineConfig> read_line_config(const fs::path& project) {
  const fs::path path = project / "hwnas.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    return usage_error("no hwnas.json here; `hwnas init DIR --template mcu` makes one", project.string());
  NAS_TRY(document, JsonDocument::load(path.string()));
  return read_line_document(document, project);
}

std::vector<std::string> template_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : template_files())
    names.push_back(fs::path(std::string(file.name)).stem().string());
  return names;
}

Result<std::string> template_text(const std::string& name) {
  for (const EmbeddedFile& file : template_files())
    if (fs::path(std::string(file.name)).stem() == name) return std::string(file.text);
  std::string all;
  for (const std::string& known : template_names()) all += (all.empty() ? "" : ", ") + known;
  const std::string hint = nearest(name, template_names());
  return usage_error("unknown template \"" + name + "\"; there are " + all +
                     (hint.empty() ? "" : "; did you mean \"" + hint + "\"?"));
}

}  // namespace nas::apps
