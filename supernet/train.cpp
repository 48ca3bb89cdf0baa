#include "supernet/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "space/base/file.h"
#include "space/base/hash.h"
#include "space/low_rank.h"
#include "supernet/detail/checkpoint.h"
#include "supernet/detail/sampler.h"
#include "supernet/detail/sorting.h"

namespace nas::supernet {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What training needs to know of what is trained: a space, or one network.
struct Target {
  const SearchSpace* space = nullptr;
  const Network* network = nullptr;

  struct Path {
    Network network;
    std::string name;
  };
  Result<Path> make(const Result<Genotype>& genotype) const {
    if (!genotype) return genotype.error();
    return Path{whole(*genotype), space->text(*genotype)};
  }
  // Low rank comes after training: paths train at their full rank.
  Network whole(const Genotype& genotype) const { return joined(space->lower(genotype)).network; }
  Result<Path> largest(const Phase& phase, int resolution) const {
    return network ? single(resolution) : make(Sampler(*space, phase).largest(resolution));
  }
  Result<Path> smallest(const Phase& phase, int resolution) const {
    return network ? single(resolution) : make(Sampler(*space, phase).smallest(resolution));
  }
  Result<Path> random(const Phase& phase, int resolution, Rng& rng) const {
    return network ? single(resolution) : make(Sampler(*space, phase).random(resolution, rng));
  }
  Result<Path> single(int resolution) const {
    if (network->layers.front().out.height != resolution)
      return usage_error("the batch has resolution " + std::to_string(resolution) + ", the network takes " +
                         std::to_string(network->layers.front().out.height));
    return Path{*network, "the network"};
  }
};

std::int64_t steps_of(const Phase& phase, std::int64_t steps_per_epoch) {
  if (phase.steps > 0) return phase.steps;
  return std::max<std::int64_t>(1, std::llround(phase.epochs * static_cast<double>(steps_per_epoch)));
}

class Run {
 public:
  Run(Supernet& supernet, const Target& target, const Recipe& recipe, const BatchStream& batches,
      const TrainOptions& options)
      : supernet_(supernet),
        weights_(supernet.impl().weights),
        target_(target),
        recipe_(recipe),
        batches_(batches),
        options_(options) {
    identity_ = {target.space ? to_string(target.space->fingerprint()) : "",
                 to_string(hash_text(recipe_text())), options.data_fingerprint, options.seed};
    for (const Phase& p : recipe.phases) total_ += steps_of(p, batches.steps_per_epoch);
  }

  Result<TrainOutcome> run() {
    const TaskGuard guard;
    renew_optimizer(recipe_.phases.front().optimizer.kind);
    NAS_CHECK(meet_ranks());
    NAS_CHECK(resume());
    if (ranks())
      NAS_CHECK(
          ranks()->agree({{"checkpoint (the run's folder must be shared)", std::to_string(state_.step)}}));
    start_ = Clock::now();
    if (ranks() && !local()) exchange_.emplace(weights_, *ranks(), options_.exchange);
    if (exchange_ && outcome_.resumed)
      NAS_CHECK(
          load_owed(options_.folder, state_.step, *ranks(), to_string(options_.exchange), exchange_->hook()));
    while (state_.phase < static_cast<int>(recipe_.phases.size())) {
      const Phase& phase = recipe_.phases[static_cast<std::size_t>(state_.phase)];
      const std::int64_t steps = steps_of(phase, batches_.steps_per_epoch);
      if (state_.phase_step == 0) NAS_CHECK(begin_phase(phase));
      while (state_.phase_step < steps) {
        // Between two rounds of local steps the ranks have weights of their own: nothing to keep or to stop
        // at.
        NAS_TRY(stop, at_round_ ? asked_to_stop() : Result<bool>(false));
        if (!stop) NAS_CHECK(step(phase, steps));
        due_ = due_ || stop || state_.step == total_ || state_.step % options_.checkpoint_every == 0;
        if (due_ && at_round_) NAS_CHECK(checkpoint());
        if (stop) return outcome_;
      }
      ++state_.phase;
      state_.phase_step = 0;
    }
    if (recipe_.ema > 0)
      for (std::size_t i = 0; i < weights_.parameters().size(); ++i)
        weights_.parameters()[i].value.copy_(optimizer_->average()[i]);
    outcome_.steps = state_.step;
    outcome_.best_score = state_.best_score;
    outcome_.finished = true;
    return outcome_;
  }

 private:
  // Everything of the recipe that changes the outcome; scaled() recipes differ from their text.
  std::string recipe_text() const {
    std::string text =
        recipe_.json + "|" + std::to_string(recipe_.shards) + "|" + std::to_string(batches_.steps_per_epoch);
    for (const Phase& p : recipe_.phases)
      text += "|" + std::to_string(steps_of(p, batches_.steps_per_epoch)) + ":" +
              std::to_string(p.optimizer.learning_rate);
    return text;
  }

  Ranks* ranks() const { return options_.ranks; }
  bool local() const { return ranks() && options_.exchange.local_steps > 1; }
  int world() const { return ranks() ? ranks()->world() : 1; }

  Result<void> meet_ranks() {
    if (!ranks()) return {};
    if (recipe_.shards % world() != 0)
      return usage_error("a batch is trained in " + std::to_string(recipe_.shards) +
                         " shards (of the recipe, or --shards); required: a multiple of the " +
                         std::to_string(world()) + " ranks");
    return ranks()->agree({{"search space", identity_.space_fingerprint},
                           {"recipe, length or batch", identity_.recipe_hash},
                           {"data", identity_.data_fingerprint},
                           {"seed", std::to_string(identity_.seed)},
                           {"compression or local steps", to_string(options_.exchange)}});
  }

  Result<bool> asked_to_stop() {
    double stop = options_.stop && options_.stop() ? 1 : 0;
    if (ranks()) NAS_CHECK(ranks()->sum({&stop, 1}));
    outcome_.steps = state_.step;
    return stop > 0;
  }

  void renew_optimizer(OptimizerKind kind) {
    if (!optimizer_ || optimizer_->kind() != kind) optimizer_.emplace(weights_, kind, recipe_.ema);
  }

  Result<void> resume() {
    if (options_.folder.empty()) return {};
    std::string reasons;
    for (const auto& path : checkpoints_in(options_.folder)) {
      auto file = load_tensors(path);
      if (!file) {  // a damaged file: an older one may be good
        reasons += (reasons.empty() ? "" : "; ") + to_string(file.error());
        continue;
      }
      // The optimiser's kind belongs to the phase the checkpoint stands in.
      const auto it = file->metadata.find("phase");
      const auto phase = it == file->metadata.end() ? 0 : std::strtoull(it->second.c_str(), nullptr, 10);
      renew_optimizer(recipe_.phases[std::min<std::size_t>(phase, recipe_.phases.size() - 1)].optimizer.kind);
      NAS_TRY(state, unpack_checkpoint(*file, identity_, weights_, *optimizer_, teacher_));
      state_ = state;
      outcome_.resumed = true;
      last_checkpoint_ = path;
      return {};
    }
    if (!reasons.empty()) return Error{"no usable checkpoint: " + reasons, options_.folder.string()};
    return {};
  }

  Result<void> begin_phase(const Phase& phase) {
    renew_optimizer(phase.optimizer.kind);
    if (target_.space && phase.sort_channels != Sorting::none) sort(phase);
    teacher_.reset();
    if (phase.distillation.teacher == Teacher::frozen) teacher_ = weights_.clone();
    return {};
  }

  // The widths trained so far are those that earlier phases allowed.
  void sort(const Phase& phase) {
    std::vector<Network> trained;
    for (int i = 0; i < state_.phase; ++i) {
      const Sampler sampler(*target_.space, recipe_.phases[static_cast<std::size_t>(i)]);
      const int side = target_.space->lower(target_.space->largest()).layers.front().out.height;
      Rng rng(0, "trained widths", static_cast<std::uint64_t>(i));
      for (int k = 0; k < 64; ++k)
        if (auto g = k == 0 ? sampler.smallest(side) : sampler.random(side, rng); g)
          trained.push_back(target_.whole(*g));
    }
    std::vector<std::vector<at::Tensor>*> companions{&optimizer_->average()};
    for (auto& slot : optimizer_->state()) companions.push_back(&slot);
    sort_channels(weights_, target_.whole(target_.space->largest()), trained, phase.sort_channels,
                  companions);
  }

  Result<StepPlan> plan(const Phase& phase, const Batch& batch) {
    StepPlan plan;
    plan.distillation = phase.distillation;
    plan.label_smoothing = phase.label_smoothing;
    plan.key = mix64(options_.seed * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(state_.step));
    plan.shards = recipe_.shards / world();
    plan.all_shards = recipe_.shards;
    plan.first_shard = ranks() ? ranks()->rank() * plan.shards : 0;
    plan.batch_images = batch.size() * static_cast<std::size_t>(world());
    plan.bf16 = recipe_.bf16;
    plan.recompute = options_.recompute;
    names_.clear();
    const auto add = [&](Target::Path path, bool taught, double dropout) {
      names_.push_back(std::move(path.name));
      plan.paths.push_back({std::move(path.network), taught, dropout});
    };
    const double space_dropout = target_.space ? target_.space->traits().dropout : 0;
    const double dropout = phase.dropout >= 0 ? phase.dropout : space_dropout;
    const bool sandwich = phase.sampling >= Sampling::sandwich, frozen = teacher_.has_value();
    const bool in_place = phase.distillation.teacher == Teacher::in_place;
    if (sandwich || phase.sampling == Sampling::largest) {
      NAS_TRY(path, target_.largest(phase, batch.resolution));
      add(std::move(path), frozen, dropout);
    }
    const int random = sandwich ? phase.paths - 2 : phase.sampling == Sampling::uniform ? phase.paths : 0;
    for (int i = 0; i < random; ++i) {
      NAS_TRY(path, draw(phase, batch, i));
      add(std::move(path), frozen || in_place, in_place ? 0 : dropout);
    }
    if (sandwich) {
      NAS_TRY(path, target_.smallest(phase, batch.resolution));
      add(std::move(path), frozen || in_place, 0);
    }
    if (frozen) {
      NAS_TRY(path, target_.largest(phase, batch.resolution));
      plan.frozen = &*teacher_;
      plan.frozen_network = std::move(path.network);
    }
    return plan;
  }

  // A random path; with attentive sampling the best (or worst) of several by their loss on the batch.
  Result<Target::Path> draw(const Phase& phase, const Batch& batch, int index) {
    Rng rng(options_.seed, "sub-network", static_cast<std::uint64_t>(state_.step),
            static_cast<std::uint64_t>(index));
    const bool attentive = phase.sampling == Sampling::best_up || phase.sampling == Sampling::worst_up;
    std::vector<Target::Path> candidates;
    std::vector<Network> networks;
    for (int c = 0; c < (attentive ? phase.candidates : 1); ++c) {
      NAS_TRY(path, target_.random(phase, batch.resolution, rng));
      networks.push_back(path.network);
      candidates.push_back(std::move(path));
    }
    if (candidates.size() == 1) return std::move(candidates.front());
    std::vector<double> losses = forward_losses(weights_, networks, batch, recipe_.shards / world());
    if (ranks()) NAS_CHECK(ranks()->sum(losses));
    const auto chosen = phase.sampling == Sampling::best_up ? std::min_element(losses.begin(), losses.end())
                                                            : std::max_element(losses.begin(), losses.end());
    return std::move(candidates[static_cast<std::size_t>(chosen - losses.begin())]);
  }

  // Losses and accuracies of the whole batch.
  Result<void> share_reports() {
    if (!ranks()) return {};
    std::vector<double> values;
    for (const PathReport& p : gradients_.paths) values.insert(values.end(), {p.loss, p.accuracy});
    NAS_CHECK(ranks()->sum(values));
    for (std::size_t i = 0; i < gradients_.paths.size(); ++i)
      gradients_.paths[i] = {values[2 * i], values[2 * i + 1]};
    return {};
  }

  Result<void> step(const Phase& phase, std::int64_t steps) {
    batches_.read(state_.step, batch_);
    const auto begin = Clock::now();
    NAS_TRY(plan_now, plan(phase, batch_));
    if (exchange_) {
      exchange_->begin(plan_now.paths, shards_for(batch_.size(), plan_now.shards), gradients_);
      plan_now.layer_done = [this](const Layer& layer) { exchange_->layer_done(layer); };
    }
    run_step(weights_, plan_now, batch_, gradients_);
    NAS_CHECK(share_reports());
    for (std::size_t i = 0; i < gradients_.paths.size(); ++i)
      if (!std::isfinite(gradients_.paths[i].loss)) return diverged("loss", names_[i]);
    const double rate = learning_rate_at(phase.optimizer, state_.phase_step, steps, batches_.steps_per_epoch);
    NAS_TRY(report, optimizer_->step(gradients_, phase.optimizer, rate, exchange_ ? &*exchange_ : nullptr,
                                     local() ? world() : 1));
    if (!report.finite) return diverged("gradient", names_.front());
    ++state_.step;
    ++state_.phase_step;
    at_round_ = !local() || state_.phase_step == steps || state_.step % options_.exchange.local_steps == 0;
    if (local() && at_round_) NAS_CHECK(optimizer_->average_over(*ranks()));
    outcome_.steps = state_.step;
    outcome_.loss = gradients_.paths.front().loss;
    if (!options_.on_step) return {};
    TrainProgress progress;
    progress.phase = state_.phase;
    progress.phase_name = phase.name;
    progress.step = state_.step;
    progress.total_steps = total_;
    progress.epoch = static_cast<double>(state_.step) / static_cast<double>(batches_.steps_per_epoch);
    progress.learning_rate = rate;
    progress.gradient_norm = report.gradient_norm;
    progress.images_per_second = static_cast<double>(plan_now.batch_images) / seconds_since(begin);
    progress.seconds = seconds_since(start_);
    if (ranks()) progress.bytes_sent = ranks()->bytes_sent();
    for (std::size_t i = 0; i < names_.size(); ++i)
      progress.paths.push_back({names_[i], gradients_.paths[i].loss, gradients_.paths[i].accuracy});
    options_.on_step(progress);
    return {};
  }

  Error diverged(const std::string& what, const std::string& path) const {
    return Error{"training diverged: the " + what + " of step " + std::to_string(state_.step + 1) +
                 " (phase \"" + recipe_.phases[static_cast<std::size_t>(state_.phase)].name +
                 "\", sub-network " + path + ") is not finite; last good checkpoint: " +
                 (last_checkpoint_.empty() ? "none" : last_checkpoint_.string()) +
                 ". Try a lower learning rate or clip_norm"};
  }

  Result<void> checkpoint() {
    due_ = false;
    if (options_.folder.empty()) return {};
    if (exchange_)
      NAS_CHECK(save_owed(options_.folder, state_.step, *ranks(), to_string(options_.exchange),
                          exchange_->hook(), options_.keep));
    if (ranks() && ranks()->rank() > 0) return {};
    bool best = false;
    if (options_.score) {
      NAS_TRY(score, options_.score(supernet_));
      best = !state_.has_best || score > state_.best_score;
      if (best) state_.best_score = score;
      state_.has_best = true;
    }
    const TensorFile file = pack_checkpoint(state_, identity_, weights_, *optimizer_, teacher_);
    const auto path = checkpoint_path(options_.folder, state_.step);
    NAS_CHECK(save_tensors(path, file));
    if (best) NAS_CHECK(save_tensors(options_.folder / "best.safetensors", file));
    last_checkpoint_ = path;
    const auto all = checkpoints_in(options_.folder);
    std::error_code ignored;
    for (std::size_t i = static_cast<std::size_t>(std::max(1, options_.keep)); i < all.size(); ++i)
      std::filesystem::remove(all[i], ignored);
    return {};
  }

  Supernet& supernet_;
  WeightTable& weights_;
  const Target& target_;
  const Recipe& recipe_;
  const BatchStream& batches_;
  const TrainOptions& options_;
  RunIdentity identity_;
  TrainState state_;
  TrainOutcome outcome_;
  std::int64_t total_ = 0;
  std::optional<Optimizer> optimizer_;
  std::optional<WeightTable> teacher_;
  std::optional<GradientExchange> exchange_;  // none with one process, or with local steps
  bool at_round_ = true;                      // all ranks have the same weights
  bool due_ = false;                          // a checkpoint
  std::filesystem::path last_checkpoint_;
  Clock::time_point start_;
  Batch batch_;
  StepGradients gradients_;
  std::vector<std::string> names_;
};

Result<void> check_stream(const BatchStream& batches) {
  if (batches.steps_per_epoch < 1) return usage_error("training needs at least one batch an epoch");
  return {};
}

}  // namespace

double learning_rate_at(const OptimizerOptions& o, std::int64_t step, std::int64_t steps,
                        std::int64_t steps_per_epoch) {
  const double t = static_cast<double>(step), total = static_cast<double>(steps);
  const double warmup = std::min(o.warmup_epochs * static_cast<double>(steps_per_epoch), total);
  if (t < warmup) return o.warmup_start + (o.learning_rate - o.warmup_start) * (t + 1) / warmup;
  if (o.schedule == Schedule::constant || total <= warmup) return o.learning_rate;
  return 0.5 * o.learning_rate * (1 + std::cos(std::numbers::pi * (t - warmup) / (total - warmup)));
}

Result<TrainOutcome> train(Supernet& supernet, const SearchSpace& space, const Recipe& recipe,
                           const BatchStream& batches, const TrainOptions& options) {
  NAS_CHECK(check_stream(batches));
  NAS_CHECK(Sampler::check(space, recipe));
  Target target;
  target.space = &space;
  return Run(supernet, target, recipe, batches, options).run();
}

Result<TrainOutcome> train(Supernet& supernet, const Network& network, const Recipe& recipe,
                           const BatchStream& batches, const TrainOptions& options) {
  NAS_CHECK(check_stream(batches));
  NAS_CHECK(supernet.holds(network));
  Target target;
  target.network = &network;
  return Run(supernet, target, recipe, batches, options).run();
}

}  // namespace nas::supernet
