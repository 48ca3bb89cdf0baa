#include "apps/configuration_page.h"

#include <algorithm>
#include <map>

#include "apps/line/line_config.h"
#include "apps/search_config.h"

namespace nas::apps {
namespace {

// Documents that hold every optional part, so that the readers go everywhere.
constexpr const char* kProject = R"({"space": "tiny", "data": "images", "targets": [
  {"name": "a", "device": "cortex-m4-qemu", "limits": {"minstr": 1, "ram_kb": 1, "flash_kb": 1}},
  {"name": "b", "device": "host", "limits": {"latency_ms": 1}}]})";
constexpr const char* kSearches[] = {
    R"({"objectives": [{"metric": "a", "goal": "max"}], "constraints": [{"metric": "b", "min": 0, "max": 1}],
        "problem": {"kind": "networks", "devices": [{"session": "s"}]}})",
    R"({"objectives": [{"metric": "a", "goal": "max", "worst": 0}], "problem": {"kind": "supernet", "run": "r"}})",
    R"({"objectives": [], "problem": {"kind": "csv", "file": "f", "genes": [], "metrics": [{"name": "a"}]}})",
    R"({"objectives": [], "problem": {"kind": "closed-form", "space": "no such space"}})"};

const std::map<std::string, std::string> kProjectMeanings{
    {"space", "built-in space, or a JSON file ([spaces](spaces.md))"},
    {"data", "folder of images, CIFAR or IDX files, `procedural:…` ([data](data.md))"},
    {"seed", "of everything random"},
    {"train", "the supernet's training"},
    {"train.recipe", "built-in recipe, or a JSON file ([recipes](recipes.md))"},
    {"train.length", "multiplies the recipe's epochs"},
    {"train.batch", "images a step"},
    {"search", "one search a target"},
    {"search.strategy", "of `hwnas search` ([search](search.md))"},
    {"search.evaluations", "asked of the models, a target"},
    {"search.sweep", "sub-networks whose accuracy is measured, once for all targets"},
    {"search.check", "networks of a front that are measured on the test images, at most"},
    {"profile", "the latency tables"},
    {"profile.max_kernels", "measure a space-filling choice of so many and interpolate the rest; 0: all"},
    {"targets", "the devices that networks are wanted for"},
    {"targets[].name", "lower case; the name of folders"},
    {"targets[].device", "of `hwnas device list`, or a profile's file ([devices](devices.md))"},
    {"targets[].precision", "default: the device's first"},
    {"targets[].limits", "what a network may cost"},
    {"targets[].limits.latency_ms", "milliseconds an image, on devices with a clock"},
    {"targets[].limits.minstr", "millions of instructions an image, on emulators"},
    {"targets[].limits.ram_kb", "activations, KiB; default: the device's"},
    {"targets[].limits.flash_kb", "stored weights, KiB; default: the device's"},
    {"targets[].export", "forms to export ([export](export.md)); default: all that the network has"},
    {"targets[].finetune", "epochs that the chosen network is trained on before it is exported"},
    {"targets[].qat", "then, epochs of quantisation-aware training ([quantisation](quantisation.md))"},
    {"targets[].patches", "`auto`: C runs the first layers in windows where the device's RAM needs it"},
};

const std::map<std::string, std::string> kSearchMeanings{
    {"name", "of the run's folder; default: the file's name"},
    {"seed", "of everything random"},
    {"budget", "`500evals`, `2h`, `90s`, or several with `|`: what is reached first"},
    {"shard",
     "`2/3`: only the second of three parts of a random, grid or exhaustive search ([several "
     "machines](several-machines.md))"},
    {"objectives", "what is sought, the most important first"},
    {"objectives[].metric", "a metric of the problem"},
    {"objectives[].goal", "which way is better"},
    {"objectives[].worst", "where hypervolumes are measured from; default: found from the problem"},
    {"constraints", "limits; networks beyond them are kept, never called best"},
    {"constraints[].metric", "a metric of the problem"},
    {"constraints[].min", "at least"},
    {"constraints[].max", "at most"},
    {"strategy", "how it is searched ([search](search.md))"},
    {"strategy.name", "which one"},
    {"strategy.population", "of the evolutionary ones"},
    {"strategy.batch", "candidates asked for at once"},
    {"strategy.mutation", "chance that a gene mutates"},
    {"strategy.crossover", "chance that a child has two parents"},
    {"strategy.levels", "of the grid: choices per gene"},
    {"strategy.generations", "of ofa-evolution; 0: until the budget ends"},
    {"strategy.cost_weight", "of the limited cost in the loss of gradient"},
    {"strategy.cost_form", "how that cost enters the loss"},
    {"strategy.updates", "of the logits of gradient, per step"},
    {"stall", "stop when the hypervolume has not grown within so many evaluations; 0: never"},
    {"problem", "where the numbers come from"},
    {"problem.kind",
     "models of networks; a trained supernet; a file of measurements; a closed form to try things"},
    {"problem.accuracy", "networks: the file of `hwnas sweep`"},
    {"problem.integers",
     "networks: file of `hwnas sweep --integers` in a space with bit genes, beside accuracy"},
    {"problem.accuracy_model", "networks: the rung of the ladder to keep; best: the one of least error"},
    {"problem.proxy", "networks: seed of a made-up accuracy, for trying strategies; 0: none"},
    {"problem.energy", "coefficients of a modelled energy ([cost](cost.md))"},
    {"problem.run", "supernet: folder of a training run"},
    {"problem.accuracies", "supernet: file of `hwnas sweep` to read from and to append to"},
    {"problem.images", "supernet: of the validation split at most; 0: all"},
    {"problem.space",
     "networks: a space instead of a sweep, costs only; supernet: one with bits or rank besides the "
     "run's genes; closed-form: its space"},
    {"problem.precision", "networks, supernet: of weights and activations"},
    {"problem.devices", "networks, supernet: a latency each"},
    {"problem.devices[].session", "file of `hwnas profile`"},
    {"problem.devices[].measurements",
     "or a CSV file of whole networks, to which a sum over blocks is fitted"},
    {"problem.devices[].column", "of that file"},
    {"problem.devices[].profile", "the device; default: the session's"},
    {"problem.devices[].metric", "name of its latency; default: `latency_ms`, or `minstr` on emulators"},
    {"problem.file", "csv: the file"},
    {"problem.genes", "csv: the columns that are genes"},
    {"problem.metrics", "csv: the columns that are numbers"},
    {"problem.metrics[].name", "of the metric"},
    {"problem.metrics[].unit", "shown with it"},
    {"problem.metrics[].source", "where its numbers come from"},
    {"problem.metrics[].column", "default: the name"},
    {"problem.seed", "closed-form: of the made-up score"},
};

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\\|");
  return text;
}

Result<std::string> table(const std::vector<KeyFact>& facts,
                          const std::map<std::string, std::string>& meanings) {
  std::string text = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n";
  for (const auto& [key, meaning] : meanings)
    if (std::ranges::find(facts, key, &KeyFact::path) == facts.end())
      return Error{"a meaning without a key", key};
  for (const KeyFact& fact : facts) {
    const auto meaning = meanings.find(fact.path);
    if (meaning == meanings.end()) return Error{"a key without a meaning", fact.path};
    const bool plain =
        fact.fallback.empty() || fact.fallback == "{}" || fact.fallback == "[]" || fact.fallback == "\"\"";
    const bool told = meaning->second.find("default: ") != std::string::npos;
    text += "| `" + fact.path + "` | " + cell(fact.kind) + " | " +
            (fact.required   ? "required"
             : plain || told ? ""
                             : "`" + cell(fact.fallback) + "`") +
            " | " + cell(meaning->second) + " |\n";
  }
  return text;
}

}  // namespace

std::vector<KeyFact> project_keys() {
  return keys_asked("reference", [] {
    if (const auto document = JsonDocument::parse(kProject, "reference"))
      static_cast<void>(read_line_document(*document, "."));
  });
}

std::vector<KeyFact> search_keys() {
  return keys_asked("reference", [] {
    for (const char* text : kSearches)
      if (const auto document = JsonDocument::parse(text, "reference")) read_search_keys(*document);
  });
}

Result<std::string> configuration_page() {
  NAS_TRY(project, table(project_keys(), kProjectMeanings));
  NAS_TRY(search, table(search_keys(), kSearchMeanings));
  return "# Configuration\n\nMade by `hwnas man --configuration` from what the program's readers ask for; do "
         "not edit.\n\n"
         "Both files are JSON with `//` comments. Unknown keys are errors with their place and the key that "
         "was probably "
         "meant; all mistakes of a file are told at once.\n\n"
         "## hwnas.json\n\n[A project](project.md) from images to networks on devices; `hwnas init` writes "
         "one.\n\n" +
         project +
         "\n## A search's file\n\nFor `hwnas search` ([search](search.md)); `hwnas run` writes such files "
         "into "
         "`searches/`.\n\n" +
         search;
}

}  // namespace nas::apps
