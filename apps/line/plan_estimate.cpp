#include "apps/line/plan_estimate.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "apps/line/line_stages.h"
#include "devices/profile.h"
#include "latency/measure/kernel_set.h"
#include "latency/measure/profiler.h"
#include "space/low_rank.h"
#include "space/search_space.h"
#include "supernet/data/source.h"
#include "supernet/data/splits.h"
#include "supernet/recipe.h"
#include "supernet/scaling.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Multiply-adds a second of the supernet's kernels over those of the plain probe below. Measured: 0.8 with
// the space "tiny", 1.1 with "cifar-mbv3", on four cores.
constexpr double kShareOfProbe = 0.9;
// Forward pass, gradients of the inputs and of the weights.
constexpr double kTrainPasses = 3;
constexpr double kQatPasses = 2;  // every tensor is rounded beside what training computes
// Start of a program with LibTorch, reading the images.
constexpr double kStart = 2;
// Of a program with LibTorch, and of one without, with little to do.
constexpr double kTorchMemory = 200e6, kPlainMemory = 50e6;
// Networks on a front, before a search has shown how many.
constexpr double kFront = 40;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Multiply-adds a second of all cores: small matrix products for a tenth of a second.
double probe_rate() {
  constexpr std::size_t kSide = 96, kTasks = 64;
  const std::vector<float> a(kSide * kSide, 0.5F), b(kSide * kSide, 0.25F);
  std::vector<float> sums(kTasks);
  const auto product = [&](std::size_t task) {
    std::vector<float> c(kSide * kSide, static_cast<float>(task));
    for (std::size_t i = 0; i < kSide; ++i)
      for (std::size_t k = 0; k < kSide; ++k)
        for (std::size_t j = 0; j < kSide; ++j) c[i * kSide + j] += a[i * kSide + k] * b[k * kSide + j];
    sums[task] += c[task];
  };
  const auto start = Clock::now();
  double done = 0;
  do {
    tbb::parallel_for(std::size_t{0}, kTasks, product);
    done += static_cast<double>(kTasks * kSide * kSide * kSide);
  } while (seconds_since(start) < 0.1);
  return done / seconds_since(start);
}

// Networks a second that can be drawn, lowered and counted, for a tenth of a second.
double probe_search(const SearchSpace& space, std::uint64_t seed) {
  const auto start = Clock::now();
  std::uint64_t done = 0;
  double total = 0;
  do {
    Rng rng(seed, "plan probe", done++);
    total += static_cast<double>(cost(space.lower(space.sample(rng)), {}).macs.count());
  } while (seconds_since(start) < 0.1 && total >= 0);
  return static_cast<double>(done) / seconds_since(start);
}

struct ImageCounts {
  double train = 0, recalibration = 0, validation = 0, test = 0;
};

// As split_store will share them out, to within rounding.
ImageCounts count_images(const data::Source& source) {
  double own[4] = {};
  for (const data::Item& item : source.items) ++own[static_cast<std::size_t>(item.part)];
  const double training = own[0] + own[1], validation = own[2], test = own[3];
  const data::SplitOptions shares;
  ImageCounts counts;
  counts.recalibration = shares.recalibration * training;
  counts.test = test > 0 ? test : validation > 0 ? validation : shares.test * training;
  counts.validation = test > 0 && validation > 0 ? validation : shares.validation * training;
  counts.train = training - counts.recalibration;
  if (test == 0 && validation == 0) counts.train -= counts.test;
  if (test == 0 || validation == 0) counts.train -= counts.validation;
  return counts;
}

// A network's multiply-adds and parameters: largest, smallest and the mean of random ones.
struct Sizes {
  double largest = 0, smallest = 0, mean = 0, params = 0;
  double activations = 0;  // numbers between the layers of the largest, one image
};

Sizes network_sizes(const SearchSpace& space, std::uint64_t seed) {
  constexpr std::uint64_t kDraws = 64;
  const auto macs_of = [&](const Genotype& g) { return static_cast<double>(macs(space.lower(g)).count()); };
  Sizes sizes;
  sizes.largest = macs_of(space.largest());
  sizes.smallest = macs_of(space.smallest());
  const Network largest = space.lower(space.largest());
  sizes.params = static_cast<double>(params(largest).count());
  for (const Layer& layer : largest.layers) sizes.activations += static_cast<double>(layer.out.elements());
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    Rng rng(seed, "plan sizes", i);
    sizes.mean += macs_of(space.sample(rng)) / kDraws;
  }
  return sizes;
}

// What all estimates start from.
struct Facts {
  const LineConfig& config;
  fs::path project;
  SearchSpace space;
  supernet::Recipe recipe;
  ImageCounts images;
  Sizes sizes;
  supernet::WeightShapes shapes;
  double rate = 0;         // multiply-adds a second that supernets reach
  double search_rate = 0;  // networks a second
};

// Commands run in the project's folder: its files come before built-in names.
std::string in_project(const fs::path& project, const std::string& name) {
  std::error_code ignored;
  return fs::exists(project / name, ignored) ? (project / name).string() : name;
}

Result<Facts> gather(const fs::path& project, const LineConfig& config) {
  NAS_TRY(source, data::open_source(in_project(project, config.data)));
  SpaceOverrides change;
  change.classes = static_cast<int>(source.classes.size());
  NAS_TRY(space, load_space(in_project(project, config.space), change));
  NAS_TRY(recipe, supernet::load_recipe(in_project(project, config.recipe)));
  const Sizes sizes = network_sizes(space, config.seed);
  const double search_rate = probe_search(space, config.seed);
  supernet::WeightShapes shapes = supernet::weight_shapes(joined(space.lower(space.largest())).network);
  return Facts{config,
               project,
               std::move(space),
               supernet::scaled(std::move(recipe), config.length),
               count_images(source),
               sizes,
               std::move(shapes),
               probe_rate() * kShareOfProbe,
               search_rate};
}

// Multiply-adds of one image in one step of a phase.
double work_of_image(const supernet::Phase& phase, const Sizes& s) {
  using supernet::Sampling;
  double work = kTrainPasses * phase.paths * s.mean;
  if (phase.sampling == Sampling::largest) work = kTrainPasses * s.largest;
  if (phase.sampling >= Sampling::sandwich)
    work = kTrainPasses * (s.largest + s.smallest + (phase.paths - 2) * s.mean);
  if (phase.sampling == Sampling::best_up || phase.sampling == Sampling::worst_up)
    work += (phase.paths - 2) * phase.candidates * s.mean;
  if (phase.distillation.teacher == supernet::Teacher::frozen) work += s.largest;
  return work;
}

void plan_train(StagePlan& plan, const Facts& f) {
  double work = 0;
  for (const supernet::Phase& phase : f.recipe.phases) {
    const double epoch = std::max(1.0, std::floor(f.images.train / f.config.batch));
    const double steps =
        phase.steps > 0 ? static_cast<double>(phase.steps) : std::round(phase.epochs * epoch);
    plan.amount += steps;
    work += steps * f.config.batch * work_of_image(phase, f.sizes);
  }
  plan.unit = "steps";
  set_seconds(plan, kStart + work / f.rate, 3, 3);
  plan.disk_bytes = 4 * f.sizes.params * 4;  // weights, their average, momentum, the network's record
  // Every activation is kept for its gradient.
  plan.memory_bytes = kTorchMemory + 16 * f.sizes.params + 4 * f.config.batch * f.sizes.activations;
}

// The time of one machine spread over several like it, the exchange on top.
void spread_training(StagePlan& plan, const Facts& f, const Machines& machines) {
  const double below = plan.seconds / plan.low, above = plan.high / plan.seconds;
  supernet::ScalingQuestion question;
  question.ranks = machines.ranks;
  question.compute_seconds = std::max(0.0, plan.seconds - kStart) / plan.amount;
  const supernet::Phase& phase = f.recipe.phases.back();
  const double passes = phase.paths * std::max(1.0, static_cast<double>(f.recipe.shards) / machines.ranks);
  question.waves = std::ceil(passes / std::max(1U, std::thread::hardware_concurrency()));
  question.link_bytes_per_second = machines.link_bytes_per_second;
  question.exchange = machines.exchange;
  question.optimizer_slots = phase.optimizer.kind == supernet::OptimizerKind::adamw ? 2 : 1;
  const supernet::StepTime step = supernet::step_time(f.shapes, question);
  set_seconds(plan, kStart + plan.amount * step.total(), below, above);
  char note[120];
  std::snprintf(note, sizeof note, "modelled: %d ranks, exchange %.0f %% of the time, %.3g MB a step",
                machines.ranks, 100 * step.exposed / step.total(), step.bytes_sent / 1e6);
  plan.source = note;
}

// Scoring shares batches; only sums travel.
void spread_scoring(StagePlan& plan, const Machines& machines) {
  const double below = plan.seconds / plan.low, above = plan.high / plan.seconds;
  set_seconds(plan, kStart + std::max(0.0, plan.seconds - kStart) / machines.ranks, below, above);
  plan.source = "modelled: " + std::to_string(machines.ranks) + " ranks";
}

void plan_scoring(StagePlan& plan, const Facts& f, double networks, double images) {
  plan.amount = networks;
  plan.unit = "networks";
  set_seconds(plan, kStart + networks * f.sizes.mean * images / f.rate, 3, 3);
  plan.disk_bytes = 70 * networks;
  plan.memory_bytes = kTorchMemory + 8 * f.sizes.params + 2 * f.config.batch * f.sizes.activations;
}

Result<void> plan_profile(StagePlan& plan, const Facts& f, const Target& t, bool shared) {
  NAS_TRY(device, devices::load_profile(t.device, f.project / "devices"));
  const std::uint8_t bits = t.precision == "int8" ? 8 : 32;
  const auto set = latency::reachable_kernels(f.space, device.fusion, {bits, bits}, {20000, 500, 1});
  const auto kernels =
      f.config.max_kernels == 0 ? set.kernels : latency::space_filling(set.kernels, f.config.max_kernels);
  plan.amount = shared ? 0 : static_cast<double>(kernels.size());
  plan.unit = "kernels";
  plan.source = "measured now";  // the kernels; their time by the measuring rule
  // Kernels that an earlier target's session of the same device holds are not measured again.
  set_seconds(plan, shared ? 0.5 : latency::estimated_seconds(device, kernels, {}, false).seconds, 3, 2);
  plan.disk_bytes = 600 * plan.amount;
  plan.memory_bytes = kPlainMemory;
  return {};
}

// The search, and the random ones it is compared with: a command each.
void plan_search(StagePlan& plan, const Facts& f, std::size_t commands) {
  plan.amount = static_cast<double>(f.config.evaluations) * static_cast<double>(commands);
  plan.unit = "evaluations";
  plan.source = "measured now";
  set_seconds(plan, 0.5 * static_cast<double>(commands) + plan.amount / f.search_rate, 2, 4);
  plan.disk_bytes = 350 * plan.amount;
  plan.memory_bytes = kPlainMemory + 1000 * plan.amount;
}

// Export, verification and report: seconds of the demo, more for larger networks.
void plan_ending(StagePlan& plan, const Facts& f, const std::string& kind, const Target* t) {
  const double size = 1 + f.sizes.largest / 100e6;
  plan.amount = 1;
  plan.unit = kind == "report" ? "pages" : "networks";
  const double epochs = kind == "export" ? t->finetune + kQatPasses * t->qat : 0;
  const double training = epochs * f.images.train * kTrainPasses * f.sizes.mean / f.rate;
  set_seconds(plan, training + (kind == "report" ? 1.5 : 4) * size, 4, 4);
  if (kind == "export") plan.disk_bytes = 500e3 + 6 * f.sizes.params;
  if (kind == "report") plan.disk_bytes = 4e6;
  plan.memory_bytes = kind == "export" ? kTorchMemory + 8 * f.sizes.params : kPlainMemory;
}

double bytes_on_disk(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed)) {
    const auto size = fs::file_size(path, failed);
    return failed ? 0 : static_cast<double>(size);
  }
  double total = 0;
  for (fs::recursive_directory_iterator it(path, failed), end; it != end && !failed; it.increment(failed))
    if (std::error_code gone; it->is_regular_file(gone)) total += static_cast<double>(it->file_size(gone));
  return total;
}

// What the stage took before replaces the model. The same stage of one project has taken 0.6 to 1.7 times as
// long another time, by what else the machine did.
void use_record(StagePlan& plan, const fs::path& project, const Stage& stage, const StageEnd& end) {
  plan.source = "this project's record";
  set_seconds(plan, end.seconds, plan.kept ? 1 : 1.7, plan.kept ? 1 : 1.7);
  plan.memory_bytes = static_cast<double>(end.peak_kilobytes) * 1024;
  double bytes = 0;
  for (const std::string& made : stage.makes) {
    fs::path path = project / made;
    if (path.filename() == "supernet.safetensors") path = path.parent_path();
    bytes += bytes_on_disk(path);
  }
  if (bytes > 0) plan.disk_bytes = bytes;
}

// By the profile's watts where it has them; a board's own time is a part of the stage's.
void set_energy(StagePlan& plan, const fs::path& project, const Target* device) {
  if (device == nullptr) return set_host_energy(plan);
  const auto profile = devices::load_profile(device->device, project / "devices");
  if (!profile || !profile->energy.active_milliwatts) return set_host_energy(plan);
  plan.joules = *profile->energy.active_milliwatts / 1000 * plan.seconds;
  plan.watts = "the device's profile";
}

Result<void> plan_stage(StagePlan& plan, const Facts& f, const Target* target, bool shared,
                        std::size_t commands) {
  const std::string kind = plan.stage.substr(0, plan.stage.find(' '));
  plan.source = "modelled";
  if (kind == "train") plan_train(plan, f);
  if (kind == "sweep")
    plan_scoring(plan, f, static_cast<double>(f.config.sweep), f.images.validation + f.images.recalibration);
  if (kind == "check") plan_scoring(plan, f, kFront, f.images.test + f.images.recalibration);
  if (kind == "search") plan_search(plan, f, commands);
  if (kind == "export" || kind == "verify" || kind == "report") plan_ending(plan, f, kind, target);
  return kind == "profile" ? plan_profile(plan, f, *target, shared) : Result<void>();
}

}  // namespace

void set_seconds(StagePlan& plan, double seconds, double below, double above) {
  plan.seconds = seconds;
  plan.low = seconds / below;
  plan.high = seconds * above;
}

// No host profile gives watts and few machines let a program read them: a round number, said to be one.
void set_host_energy(StagePlan& plan) {
  constexpr double kWattsPerCore = 10;
  plan.joules = kWattsPerCore * std::max(1U, std::thread::hardware_concurrency()) * plan.seconds;
  plan.watts = "10 W a core, within 3x";
}

Result<std::vector<StagePlan>> plan_stages(const fs::path& project, const LineConfig& config,
                                           const Machines& machines) {
  const std::vector<Stage> stages = line_stages(config);
  NAS_CHECK(stage_fingerprint(project, stages.front()));  // what the line needs to start is there
  NAS_TRY(facts, gather(project, config));
  std::set<std::string> sessions;
  std::vector<StagePlan> plans;
  for (const Stage& stage : stages) {
    StagePlan plan;
    plan.stage = stage.name;
    const Target* target = nullptr;
    for (const Target& t : config.targets)
      if (stage.name.ends_with(" " + t.name)) target = &t;
    const bool profiles = stage.name.starts_with("profile ");
    const bool shared = profiles && !sessions.insert(stage.makes.front()).second;
    NAS_CHECK(plan_stage(plan, facts, target, shared, stage.commands.size()));
    const auto finished = finished_stage(project, stage);
    plan.kept = finished && *finished;
    if (const auto end = last_end(project, stage)) use_record(plan, project, stage, *end);
    if (machines.ranks > 1 && !plan.kept) {
      if (stage.name == "train") spread_training(plan, facts, machines);
      if (stage.name == "sweep") spread_scoring(plan, machines);
    }
    set_energy(plan, project, profiles ? target : nullptr);
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace nas::apps
