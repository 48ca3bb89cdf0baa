#include "supernet/recipe.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "space/base/embedded.h"
#include "space/base/file.h"
#include "space/json/document.h"

namespace nas::supernet {

std::span<const EmbeddedFile> recipe_files();  // generated

namespace {

template <class Enum>
Enum pick(JsonReader& reader, const char* key, const std::vector<std::string>& words, Enum fallback) {
  const std::string word = reader.word(key, words, words[static_cast<std::size_t>(fallback)]);
  const auto it = std::find(words.begin(), words.end(), word);
  return it == words.end() ? fallback : static_cast<Enum>(it - words.begin());
}

Distillation read_distillation(JsonReader reader) {
  Distillation d;
  d.teacher = pick(reader, "teacher", {"none", "in_place", "frozen"}, d.teacher);
  d.divergence = pick(reader, "divergence", {"soft_cross_entropy", "mean_squared", "alpha"}, d.divergence);
  d.weight = reader.number("weight", 0, 100, d.weight);
  // In-place students learn from the teacher alone (AttentiveNAS); a frozen teacher helps the labels (OFA).
  d.hard_weight = reader.number("hard_weight", 0, 100, d.teacher == Teacher::in_place ? 0.0 : 1.0);
  d.alpha_min = reader.number("alpha_min", -10, 10, d.alpha_min);
  d.alpha_max = reader.number("alpha_max", -10, 10, d.alpha_max);
  d.alpha_clip = reader.number("alpha_clip", 1, 1e6, d.alpha_clip);
  if (d.alpha_min > d.alpha_max) reader.fail("alpha_min", "must not be above alpha_max");
  reader.done();
  return d;
}

OptimizerOptions read_optimizer(JsonReader reader) {
  OptimizerOptions o;
  o.kind = pick(reader, "kind", {"sgd", "adamw"}, o.kind);
  const bool adam = o.kind == OptimizerKind::adamw;
  o.learning_rate = reader.number("learning_rate", 0, 1000, adam ? 1e-3 : o.learning_rate);
  o.warmup_epochs = reader.number("warmup_epochs", 0, 1e6, o.warmup_epochs);
  o.warmup_start = reader.number("warmup_start", 0, 1000, o.warmup_start);
  o.schedule = pick(reader, "schedule", {"cosine", "constant"}, o.schedule);
  o.momentum = reader.number("momentum", 0, 0.9999, o.momentum);
  o.nesterov = reader.flag("nesterov", o.nesterov);
  o.weight_decay = reader.number("weight_decay", 0, 10, adam ? 0.05 : o.weight_decay);
  o.beta1 = reader.number("beta1", 0, 0.99999, o.beta1);
  o.beta2 = reader.number("beta2", 0, 0.9999999, o.beta2);
  o.epsilon = reader.number("epsilon", 1e-16, 1, o.epsilon);
  o.clip_norm = reader.number("clip_norm", 0, 1e6, o.clip_norm);
  o.clip_value = reader.number("clip_value", 0, 1e6, o.clip_value);
  reader.done();
  return o;
}

void check_combination(const Phase& p, JsonReader& reader) {
  const bool sandwich = p.sampling != Sampling::largest && p.sampling != Sampling::uniform;
  if (sandwich && p.paths < 2)
    reader.fail("paths", "a sandwich needs at least 2 paths, found " + std::to_string(p.paths));
  if (p.sampling == Sampling::largest && p.paths != 1)
    reader.fail("paths", "sampling \"largest\" trains one path, found " + std::to_string(p.paths));
  if (p.distillation.teacher == Teacher::in_place && !sandwich)
    reader.fail("distillation",
                "an in-place teacher needs the largest path in every step: use a sandwich rule");
  if (p.distillation.teacher != Teacher::none && p.distillation.weight == 0 &&
      p.distillation.hard_weight == 0)
    reader.fail("distillation", "both weights are 0: the paths would learn nothing");
}

Phase read_phase(JsonReader& reader) {
  Phase p;
  p.name = reader.text("name");
  p.epochs = reader.number("epochs", 0, 1e6, p.epochs);
  p.steps = reader.integer("steps", 0, 1'000'000'000, p.steps);
  p.sampling =
      pick(reader, "sampling", {"largest", "uniform", "sandwich", "best_up", "worst_up"}, p.sampling);
  const bool sandwich = p.sampling >= Sampling::sandwich;
  p.paths = static_cast<int>(reader.integer("paths", 1, 64, sandwich ? 4 : 1));
  p.candidates = static_cast<int>(reader.integer("candidates", 1, 64, p.candidates));
  JsonReader choices = reader.object("choices");
  for (const std::string& family : choices.keys())
    p.choices[family] = static_cast<int>(choices.integer(family, 1, 256));
  choices.done();
  p.distillation = read_distillation(reader.object("distillation"));
  p.optimizer = read_optimizer(reader.object("optimizer"));
  p.sort_channels = pick(reader, "sort_channels", {"none", "l1", "batch_norm"}, p.sort_channels);
  p.label_smoothing = reader.number("label_smoothing", 0, 0.9, p.label_smoothing);
  p.dropout = reader.number("dropout", -1, 0.95, p.dropout);
  check_combination(p, reader);
  reader.done();
  return p;
}

}  // namespace

std::vector<std::string> builtin_recipe_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& f : recipe_files()) names.emplace_back(f.name.substr(0, f.name.rfind('.')));
  std::sort(names.begin(), names.end());
  return names;
}

Result<Recipe> parse_recipe(const std::string& json_text, const std::string& where) {
  NAS_TRY(document, JsonDocument::parse(json_text, where));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  Recipe r;
  r.name = reader.text("name");
  reader.text("description", "");
  r.ema = reader.number("ema", 0, 0.999999, r.ema);
  r.shards = static_cast<int>(reader.integer("shards", 1, 256, r.shards));
  r.bf16 = reader.flag("bf16", r.bf16);
  for (JsonReader& phase : reader.objects("phases", true)) r.phases.push_back(read_phase(phase));
  if (r.phases.empty()) reader.fail("phases", "a recipe needs at least one phase");
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  r.json = json_text;
  return r;
}

Result<Recipe> load_recipe(const std::string& name_or_path) {
  for (const EmbeddedFile& f : recipe_files())
    if (f.name.substr(0, f.name.rfind('.')) == name_or_path)
      return parse_recipe(std::string(f.text), std::string(f.name));
  if (std::filesystem::is_regular_file(name_or_path)) {
    NAS_TRY(text, read_file(name_or_path, 1 << 20));
    return parse_recipe(text, name_or_path);
  }
  std::string message = "no recipe and no file is called \"" + name_or_path + "\"";
  if (const std::string near = nearest(name_or_path, builtin_recipe_names()); !near.empty())
    return usage_error(message + "; did you mean " + near + "?");
  message += "; built-in recipes:";
  for (const std::string& name : builtin_recipe_names()) message += " " + name;
  return usage_error(message);
}

Recipe scaled(Recipe recipe, double factor) {
  for (Phase& p : recipe.phases) {
    p.epochs *= factor;
    p.optimizer.warmup_epochs *= factor;
    if (p.steps > 0) p.steps = std::max<std::int64_t>(1, std::llround(static_cast<double>(p.steps) * factor));
  }
  return recipe;
}

}  // namespace nas::supernet
