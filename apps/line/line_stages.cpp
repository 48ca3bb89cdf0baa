#include "apps/line/line_stages.h"

#include <nlohmann/json.hpp>

namespace nas::apps {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSupernet = "runs/supernet";
constexpr const char* kSweep = "accuracy.jsonl";

std::string number(double value) {
  Json json = value;
  return json.dump();
}

// Two targets of one device and precision share a session.
std::string session_file(const Target& t) {
  std::string device = std::filesystem::path(t.device).stem().string();
  return "sessions/" + device + "-" + t.precision + ".jsonl";
}

std::string search_file(const Target& t) { return "searches/" + t.name + ".json"; }

std::string search_text(const LineConfig& c, const Target& t) {
  Json constraints = Json::array();
  const auto limit = [&](const std::string& metric, const std::optional<double>& most) {
    if (most) constraints.push_back({{"metric", metric}, {"max", *most}});
  };
  limit("ram_kb", t.ram_kb);
  limit("flash_kb", t.flash_kb);
  limit(t.unit, t.max_latency);
  return Json{{"name", t.name},
              {"seed", c.seed},
              {"budget", std::to_string(c.evaluations) + "evals"},
              {"objectives", {{{"metric", "top1"}, {"goal", "max"}}, {{"metric", t.unit}, {"goal", "min"}}}},
              {"constraints", constraints},
              {"strategy", {{"name", c.strategy}}},
              {"problem",
               {{"kind", "networks"},
                {"accuracy", std::string("../") + kSweep},
                {"precision", t.precision},
                {"devices",
                 {{{"session", "../" + session_file(t)}, {"profile", t.device}, {"metric", t.unit}}}}}}}
             .dump(2) +
         "\n";
}

Stage train_stage(const LineConfig& c) {
  Stage stage{"train", {}, {}, {std::string(kSupernet) + "/supernet.safetensors"}, {}};
  stage.commands = {{"train", "--space", c.space, "--data", c.data, "--recipe", c.recipe, "--length",
                     number(c.length), "--batch", std::to_string(c.batch), "--seed", std::to_string(c.seed),
                     "--out", kSupernet}};
  for (const std::string& file : {c.space, c.recipe})
    if (file.ends_with(".json")) stage.reads.push_back(file);
  // procedural: and the like are no files.
  if (c.data.find(':') == std::string::npos) stage.reads.push_back(c.data);
  return stage;
}

Stage sweep_stage(const LineConfig& c) {
  return {"sweep",
          {{"sweep", "--run", kSupernet, "--networks", std::to_string(c.sweep), "--seed",
            std::to_string(c.seed), "--out", kSweep}},
          {std::string(kSupernet) + "/supernet.safetensors"},
          {kSweep},
          {}};
}

Stage profile_stage(const LineConfig& c, const Target& t) {
  Stage stage{
      "profile " + t.name,
      {{"profile", t.device, "--space", kSweep, "--precision", t.precision, "--session", session_file(t)}},
      {kSweep},
      {session_file(t)},
      {}};
  if (c.max_kernels > 0) {
    stage.commands[0].emplace_back("--max-kernels");
    stage.commands[0].push_back(std::to_string(c.max_kernels));
  }
  if (t.device.ends_with(".json")) stage.reads.push_back(t.device);
  return stage;
}

// The search, and random ones of the same question that the report draws it against.
Stage search_stage(const Target& t) {
  Stage stage{"search " + t.name, {{"search", search_file(t)}}, {search_file(t), kSweep, session_file(t)},
              {"runs/" + t.name}, {"runs/" + t.name},           1};
  for (int seed = 1; seed <= 5; ++seed) {
    const std::string name = t.name + "-random-" + std::to_string(seed);
    stage.commands.push_back({"search", search_file(t), "--set", "strategy.name=random", "--seed",
                              std::to_string(seed), "--name", name});
    stage.clears.push_back("runs/" + name);
  }
  return stage;
}

Stage check_stage(const LineConfig& c, const Target& t) {
  return {"check " + t.name,
          {{"check", t.name, "--run", kSupernet, "--networks", std::to_string(c.check)}},
          {"runs/" + t.name + "/front.json", std::string(kSupernet) + "/supernet.safetensors"},
          {"runs/" + t.name + "/predictions.jsonl"},
          {}};
}

Stage export_stage(const Target& t) {
  std::vector<std::string> command{"export",   t.name + ":best", "--run", kSupernet,
                                   "--device", t.device,         "--out", "exports/" + t.name};
  const auto add = [&command](const char* option, const std::string& value) {
    command.insert(command.end(), {option, value});
  };
  if (!t.forms.empty()) {
    std::string forms;
    for (const std::string& form : t.forms) forms += (forms.empty() ? "" : ",") + form;
    add("--to", forms);
  }
  if (t.finetune > 0) add("--finetune", number(t.finetune));
  if (t.qat > 0) add("--qat", number(t.qat));
  if (t.patches != "off") add("--patches", t.patches);
  return {"export " + t.name,
          {std::move(command)},
          {"runs/" + t.name + "/front.json", std::string(kSupernet) + "/supernet.safetensors"},
          {"exports/" + t.name},
          {"exports/" + t.name}};
}

Stage verify_stage(const Target& t) {
  return {
      "verify " + t.name, {{"verify", "exports/" + t.name}}, {"exports/" + t.name + "/SHA256SUMS"}, {}, {}};
}

Stage report_stage(const LineConfig& c) {
  Stage stage{"report", {{"report", "-o", "report.html"}}, {kSweep}, {"report.html"}, {}};
  for (const Target& t : c.targets) {
    stage.reads.push_back("runs/" + t.name + "/predictions.jsonl");
    stage.reads.push_back("exports/" + t.name + "/SHA256SUMS");
    stage.reads.push_back(session_file(t));
  }
  return stage;
}

}  // namespace

std::map<std::string, std::string> search_files(const LineConfig& config) {
  std::map<std::string, std::string> files;
  for (const Target& t : config.targets) files[search_file(t)] = search_text(config, t);
  return files;
}

std::vector<Stage> line_stages(const LineConfig& config) {
  std::vector<Stage> stages{train_stage(config), sweep_stage(config)};
  for (const Target& t : config.targets) {
    stages.push_back(profile_stage(config, t));
    stages.push_back(search_stage(t));
    stages.push_back(check_stage(config, t));
    stages.push_back(export_stage(t));
    stages.push_back(verify_stage(t));
  }
  stages.push_back(report_stage(config));
  return stages;
}

}  // namespace nas::apps
