#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::supernet {

// Which sub-networks one training step takes.
enum class Sampling : std::uint8_t {
  largest,   // the largest allowed one: plain training
  uniform,   // `paths` random ones
  sandwich,  // largest, paths - 2 random, smallest (Yu et al. 2019)
  best_up,   // sandwich, each random one is the best of `candidates` by loss on the batch (AttentiveNAS)
  worst_up,  // … the worst of them
};

enum class Teacher : std::uint8_t {
  none,
  in_place,  // the largest path of the same step (sandwich rules only)
  frozen,    // the largest network as it was when the phase began
};

enum class Divergence : std::uint8_t {
  soft_cross_entropy,
  mean_squared,  // of the logits
  alpha,         // adaptive alpha-divergence (AlphaNet, Wang et al. 2021)
};

enum class Schedule : std::uint8_t { cosine, constant };
enum class OptimizerKind : std::uint8_t { sgd, adamw };
enum class Sorting : std::uint8_t { none, l1, batch_norm };

struct Distillation {
  Teacher teacher = Teacher::none;
  Divergence divergence = Divergence::soft_cross_entropy;
  double weight = 1;       // of the teacher's loss
  double hard_weight = 1;  // of the labels' loss on paths that have a teacher
  double alpha_min = -1, alpha_max = 1, alpha_clip = 5;
};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::sgd;
  double learning_rate = 0.05;
  double warmup_epochs = 0;
  double warmup_start = 0;  // learning rate at the first step of the warm-up
  Schedule schedule = Schedule::cosine;
  double momentum = 0.9;
  bool nesterov = true;
  double weight_decay = 3e-5;  // never on biases and norms
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double clip_norm = 0;   // 0 disables
  double clip_value = 0;  // 0 disables
};

struct Phase {
  std::string name;
  double epochs = 1;
  std::int64_t steps = 0;  // instead of epochs when positive
  Sampling sampling = Sampling::uniform;
  int paths = 1;
  int candidates = 3;
  // Gene family -> how many of its largest choices are allowed; absent: all.
  std::map<std::string, int> choices;
  Distillation distillation;
  OptimizerOptions optimizer;
  Sorting sort_channels = Sorting::none;  // done once, when the phase begins
  double label_smoothing = 0;
  double dropout = -1;  // before the classifier, on the largest path; negative: the space's own
};

// How a supernet is trained, as data (docs/recipes.md).
struct Recipe {
  std::string name;
  std::vector<Phase> phases;
  double ema = 0;  // decay of the weights' moving average, 0 disables
  // The batch is split into this many parts with batch-norm statistics of their own, as data-parallel
  // training does; the parts run in parallel. The outcome depends on it, never on the number of threads.
  int shards = 1;
  bool bf16 = false;  // dense convolutions in bfloat16 where that is fast (AMX, CUDA)
  std::string json;   // what it was read from
};

std::vector<std::string> builtin_recipe_names();
// Strict: unknown keys, wrong types and impossible combinations are reported as file:line:column.
Result<Recipe> parse_recipe(const std::string& json_text, const std::string& where);
// A built-in name or the path of a JSON file.
Result<Recipe> load_recipe(const std::string& name_or_path);
// All epochs (and steps) times `factor`, for quick looks and equal-budget comparisons.
Recipe scaled(Recipe recipe, double factor);

}  // namespace nas::supernet
