#include "apps/report/architecture_json.h"

#include <algorithm>
#include <fstream>

#include "devices/profile.h"
#include "latency/measure/kernel_set.h"
#include "space/arena.h"
#include "space/cost.h"
#include "space/energy.h"
#include "space/memory.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kMemoryModel = "in-place";
constexpr const char* kColumns[] = {"name", "signature", "kind", "window", "stride",       "groups",
                                    "in",   "out",       "macs", "params", "weight_bytes", "stage"};

Json shape_json(const Shape& s) { return {s.channels, s.height, s.width}; }

std::int64_t params_of(const Network& network, const Kernel& k) {
  std::int64_t sum = 0;
  for (const std::int32_t layer : k.layers)
    sum += params(network.layers[static_cast<std::size_t>(layer)]).count();
  return sum;
}

std::int64_t weights_of(const Network& network, const Kernel& k, Precision precision) {
  std::int64_t sum = 0;
  for (const std::int32_t layer : k.layers)
    sum += weight_bytes(network, static_cast<std::size_t>(layer), precision).count();
  return sum;
}

Json block_json(const ArenaBlock& block, const std::string& name) {
  return {{"name", name},
          {"offset", block.offset},
          {"size", block.size},
          {"first", block.life.first},
          {"last", block.life.last}};
}

}  // namespace

ArchitectureBook::ArchitectureBook(SearchSpace space, const std::vector<latency::Session>& sessions,
                                   const std::filesystem::path& device_folder, const std::string& precision)
    : space_(std::move(space)) {
  const std::string wanted =
      precision.empty() && !sessions.empty() ? sessions.front().info.precision : precision;
  if (!wanted.empty() && wanted != "int8") precision_ = {32, 32};
  for (const char* name : kColumns) columns_[name] = Json::array();
  for (const latency::Session& session : sessions) {
    if (times_.empty()) {
      const auto device = devices::load_profile(session.info.device, device_folder);
      if (device) fusion_ = device->fusion;
    }
    session_names_.push_back({{"device", session.info.device}, {"unit", session.info.unit}});
    auto& times = times_.emplace_back();
    for (const auto& record : session.kernels)
      if (record.failure.empty()) times[record.signature] = record.median;
  }
}

std::string ArchitectureBook::id(const std::string& text) const {
  const auto genotype = space_.parse(text);
  return genotype ? space_.short_id(*genotype) : std::string();
}

Json ArchitectureBook::network(const std::string& text) {
  const auto genotype = space_.parse(text);
  if (!genotype) return nullptr;
  const Network network = latency::with_precision(space_.lower(*genotype), precision_);
  Json numbers = Json::array();
  for (const Kernel& kernel : kernels(network, fusion_)) numbers.push_back(number_of(network, kernel));
  return numbers;
}

std::optional<double> ArchitectureBook::time_on_first(const std::string& text) const {
  const auto genotype = space_.parse(text);
  if (!genotype || times_.empty()) return std::nullopt;
  double sum = 0;
  for (const Kernel& kernel :
       kernels(latency::with_precision(space_.lower(*genotype), precision_), fusion_)) {
    const auto found = times_.front().find(signature(kernel));
    if (found == times_.front().end()) return std::nullopt;
    sum += found->second;
  }
  return sum;
}

std::int64_t ArchitectureBook::number_of(const Network& network, const Kernel& k) {
  const std::string name = layer_name(k.anchor), key = signature(k);
  const auto [found, fresh] = known_.emplace(name + " " + key, static_cast<std::int64_t>(known_.size()));
  if (!fresh) return found->second;
  const Layer& a = k.anchor;
  columns_["name"].push_back(name);
  columns_["signature"].push_back(key);
  columns_["kind"].push_back(is_depthwise(a) ? "depthwise" : std::string(to_string(a.kind)));
  columns_["window"].push_back(a.kernel);
  columns_["stride"].push_back(a.stride);
  columns_["groups"].push_back(a.groups);
  columns_["in"].push_back(shape_json(a.in));
  columns_["out"].push_back(shape_json(a.out));
  columns_["macs"].push_back(macs(a).count());
  columns_["params"].push_back(params_of(network, k));
  columns_["weight_bytes"].push_back(weights_of(network, k, precision_));
  columns_["stage"].push_back(a.site.stage);
  return found->second;
}

Json ArchitectureBook::parts(std::size_t first) const {
  const auto tail = [first](const Json& column) {
    return Json(std::vector<Json>(column.begin() + static_cast<std::ptrdiff_t>(first), column.end()));
  };
  Json json{{"first", first}};
  for (const char* name : kColumns) json[name] = tail(columns_.at(name));
  Json measured = Json::array();
  for (std::size_t s = 0; s < times_.size(); ++s) {
    Json times = Json::array();
    for (const Json& key : json["signature"]) {
      const auto found = times_[s].find(key.get_ref<const std::string&>());
      times.push_back(found == times_[s].end() ? Json(nullptr) : Json(found->second));
    }
    measured.push_back(
        {{"device", session_names_[s]["device"]}, {"unit", session_names_[s]["unit"]}, {"times", times}});
  }
  json["measured"] = measured;
  json["precision"] = precision_.weight_bits == 8 ? "int8" : "fp32";
  return json;
}

const Json& ArchitectureBook::details(const std::string& text) {
  const auto [found, fresh] = details_.emplace(text, nullptr);
  const auto genotype = space_.parse(text);
  if (!fresh || !genotype) return found->second;
  const Network network = space_.lower(*genotype);
  MemoryOptions memory = *memory_preset(kMemoryModel);
  memory.precision = precision_;
  const MemoryProgram program = memory_program(network, memory);
  const ArenaPlan plan = plan_arena(program, {.tries = 40});
  Json steps = Json::array(), blocks = Json::array();
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const std::string name = layer_name(network.layers[static_cast<std::size_t>(program.steps[i].layer)]);
    steps.push_back(name);
    if (plan.tensors[i].size > 0) blocks.push_back(block_json(plan.tensors[i], name));
    if (plan.scratch[i].size > 0) blocks.push_back(block_json(plan.scratch[i], name + " (scratch)"));
  }
  Json json{{"memory_model", kMemoryModel}, {"steps", steps}, {"live", live_bytes(program)}};
  json["arena"] = {{"size", plan.size.count()}, {"bound", plan.bound.count()}, {"blocks", blocks}};
  if (const auto table = load_energy_table("horowitz-45nm"))
    json["energy"] = {{"table", table->name},
                      {"joules", kernel_joules(network, precision_, fusion_, *table)}};
  return found->second = std::move(json);
}

namespace {

// A space as some file names it, for so many classes (0: its own).
struct NamedSpace {
  std::string name;
  int classes = 0;
};

void take_space(const Json& where, const char* classes, std::vector<NamedSpace>& out) {
  if (!where.is_object() || !where.contains("space") || !where["space"].is_string()) return;
  const bool counted = classes != nullptr && where.contains(classes) && where[classes].is_number_integer();
  out.push_back({where["space"].get<std::string>(), counted ? where[classes].get<int>() : 0});
}

// The first line of the sweep that a search of trained networks names; files of `hwnas run` lie in searches/.
void take_from_sweep(const Json& problem, const std::filesystem::path& project,
                     std::vector<NamedSpace>& out) {
  if (!problem.is_object() || !problem.contains("accuracy") || !problem["accuracy"].is_string()) return;
  for (const auto& base : {project, project / "searches"}) {
    std::ifstream file((base / problem["accuracy"].get<std::string>()).lexically_normal());
    std::string line;
    if (std::getline(file, line)) take_space(Json::parse(line, nullptr, false), "classes", out);
  }
}

}  // namespace

std::optional<SearchSpace> space_of_run(const std::string& name, const std::vector<std::string>& genes,
                                        const Json& config, const std::filesystem::path& project) {
  std::vector<NamedSpace> names{{name, 0}};
  take_space(config, nullptr, names);
  if (config.is_object() && config.contains("problem")) {
    take_space(config["problem"], nullptr, names);
    take_from_sweep(config["problem"], project, names);
  }
  for (const NamedSpace& candidate : names) {
    SpaceOverrides change;
    if (candidate.classes > 0) change.classes = candidate.classes;
    auto space = load_space(candidate.name, change);
    if (!space) space = load_space((project / candidate.name).string(), change);
    if (!space) continue;
    const auto same = [](const Gene& gene, const std::string& wanted) { return gene.name == wanted; };
    if (std::ranges::equal(space->genes(), genes, same)) return *std::move(space);
  }
  return std::nullopt;
}

}  // namespace nas::report
