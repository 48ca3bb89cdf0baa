#include "apps/compress/compressor.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>

#include "apps/accuracy_file.h"
#include "apps/compress/ratio_search.h"
#include "apps/export/subject.h"
#include "apps/integer_runner.h"
#include "space/cost.h"
#include "supernet/evaluate.h"
#include "supernet/low_rank/low_rank.h"
#include "supernet/quantize/mixed_precision.h"

namespace nas::apps {
namespace {

using namespace supernet;
using Record = nlohmann::ordered_json;

constexpr std::int64_t kSensitivityImages = 16;

double share_right(const std::vector<std::vector<float>>& logits, const std::vector<std::int64_t>& labels) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < logits.size(); ++i)
    right += std::ranges::max_element(logits[i]) - logits[i].begin() == labels[i] ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(std::max<std::size_t>(logits.size(), 1));
}

double mean_loss(const std::vector<std::vector<float>>& logits, const std::vector<std::int64_t>& labels) {
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double top = *std::ranges::max_element(logits[i]);
    double total = 0;
    for (const float x : logits[i]) total += std::exp(static_cast<double>(x) - top);
    sum += top + std::log(total) - static_cast<double>(logits[i][static_cast<std::size_t>(labels[i])]);
  }
  return sum / static_cast<double>(std::max<std::size_t>(logits.size(), 1));
}

// A genotype of a space with bit genes, as the run's own space writes its other choices.
std::string text_in(const SearchSpace& own, const SearchSpace& space, const Genotype& genotype) {
  Genotype g(own.genes().size());
  for (std::size_t i = 0; i < g.size(); ++i)
    if (const int at = space.find(own.genes()[i].name); at >= 0)
      g[i] = genotype[static_cast<std::size_t>(at)];
  return own.text(own.canonical(g));
}

class Compressor {
 public:
  Compressor(const Context& context, const CompressOptions& options, TrainedRun run, CompressCosts costs)
      : o_(options),
        run_(std::move(run)),
        costs_(std::move(costs)),
        progress_(shown_progress(context.quiet)) {}

  Result<CompressedNetwork> run() {
    NAS_CHECK(start());
    if (o_.prune.empty() && o_.mask.empty() && o_.rank.empty() && o_.stage.finetune > 0) {
      NAS_CHECK(tune());
      NAS_CHECK(stage("fine-tuned"));
    }
    if (!o_.prune.empty()) NAS_CHECK(prune());
    if (!o_.mask.empty()) NAS_CHECK(mask());
    if (!o_.rank.empty()) NAS_CHECK(rank());
    if (!o_.bits.empty() || o_.activation_bits != 8) NAS_CHECK(bits());
    if (!o_.codes.empty()) NAS_CHECK(codes());
    NAS_CHECK(round());
    NAS_CHECK(costs_.check(out_.trained.network));
    return std::move(out_);
  }

 private:
  TrainedNetwork& net() { return out_.trained; }

  Result<void> start() {
    if (is_compressed(o_.network)) {
      NAS_TRY(loaded, load_compressed(o_.network));
      out_.trained = std::move(loaded.trained);
    } else {
      NAS_TRY(space,
              o_.session.space.empty() ? Result<SearchSpace>(run_.job.space) : open_space(o_.session.space));
      NAS_TRY(genotype, genotype_named(space, o_.network));
      NAS_TRY(own, run_.job.space.parse(text_in(run_.job.space, space, genotype)));
      Provenance provenance = run_.loaded.provenance;
      provenance.genotype = run_.job.space.text(own);
      provenance.note = "extracted, statistics recalibrated";
      NAS_CHECK(run_.loaded.supernet.holds(space.lower(genotype)));
      NAS_TRY(trained, extract(run_.loaded.supernet, space.lower(genotype), run_.job.feeds.recalibration(),
                               provenance));
      out_.trained = std::move(trained);
    }
    const int side = net().network.layers.front().out.height;
    validation_ = images_of(run_.job.feeds.mixed(data::Split::validation), side, o_.images);
    scoring_ = images_of(run_.job.feeds.recalibration(), side, o_.score_images);
    few_ = {
        scoring_.images.begin(),
        scoring_.images.begin() + std::min<std::ptrdiff_t>(kSensitivityImages, std::ssize(scoring_.images))};
    out_.record = {{"genotype", net().provenance.genotype},
                   {"space", net().provenance.space},
                   {"run", o_.run},
                   {"seed", o_.seed}};
    return stage("as trained");
  }

  // ---- pruning
  Result<std::vector<std::vector<double>>> scores(const std::vector<ChannelGroup>& groups, Importance how,
                                                  const std::vector<ChannelStatistics>& statistics) {
    if (how == Importance::apoz) return apoz_importance(statistics);
    if (how == Importance::l1 || how == Importance::batch_norm) return weight_importance(net(), groups, how);
    NAS_TRY(found, gradient_importance(net(), groups, scoring_.images, scoring_.labels));
    return how == Importance::taylor ? found.taylor : found.second;
  }

  KeptChannels best(const std::vector<std::vector<double>>& scores,
                    const std::vector<std::int32_t>& counts) const {
    KeptChannels kept;
    for (std::size_t g = 0; g < counts.size(); ++g) kept.push_back(best_channels(scores[g], counts[g]));
    return kept;
  }

  Result<std::vector<std::int32_t>> counts_for(const PruneRequest& request,
                                               const std::vector<ChannelGroup>& groups) {
    const Network& network = net().network;
    if (request.choosing == Choosing::given) {
      std::vector<std::int32_t> given;
      for (const ChannelGroup& g : groups) given.push_back(kept_at(g.channels, request.ratio, o_.multiple));
      NAS_CHECK(narrowed(network, groups, given));
      return given;
    }
    NAS_TRY(target, costs_.target());
    if (request.choosing == Choosing::uniform) return uniform_within(groups, target);
    NAS_TRY(statistics, channel_statistics(net(), groups, few_));
    NAS_TRY(score, scores(groups, request.importance, statistics));
    NAS_TRY(sensitivity, prune_sensitivity(net(), groups, score, statistics, few_, o_.multiple));
    NAS_TRY(kept, kept_within(network, groups, sensitivity, target.cost, target.limit));
    if (request.choosing == Choosing::sensitivity) return kept;
    const LossOf loss = [&](const std::vector<std::int32_t>& counts) -> Result<double> {
      NAS_TRY(pruned, prune_channels(net(), groups, best(score, counts), statistics));
      NAS_TRY(out, logits_of(pruned, scoring_));
      return mean_loss(out, scoring_.labels);
    };
    NAS_TRY(even, uniform_within(groups, target));
    NAS_TRY(found, search_ratios(network, groups, sensitivity, target.cost, target.limit, {even, kept}, loss,
                                 o_.evaluations, o_.seed));
    out_.record["ratio_search"] = {{"evaluations", found.evaluations},
                                   {"loss", found.loss},
                                   {"loss_uniform", found.start_loss[0]},
                                   {"loss_sensitivity", found.start_loss[1]}};
    return found.kept;
  }

  // The smallest single ratio that holds the limit.
  Result<std::vector<std::int32_t>> uniform_within(const std::vector<ChannelGroup>& groups,
                                                   const CompressCosts::Target& target) const {
    std::vector<std::int32_t> counts;
    for (int percent = 0; percent < 95; ++percent) {
      counts.clear();
      for (const ChannelGroup& g : groups)
        counts.push_back(std::max(1, kept_at(g.channels, percent / 100.0, o_.multiple)));
      NAS_TRY(narrow, narrowed(out_.trained.network, groups, counts));
      NAS_TRY(cost, target.cost(narrow));
      if (cost <= target.limit) break;
    }
    return counts;
  }

  Result<void> prune() {
    NAS_TRY(request, parse_prune(o_.prune));
    std::vector<ChannelGroup> groups = channel_groups(net().network);
    if (groups.empty()) return usage_error("--prune: this network has no channels that could go");
    NAS_TRY(final, counts_for(request, groups));
    const std::vector<ChannelGroup> first = groups;
    for (std::int32_t r = 1; r <= o_.rounds; ++r) {
      groups = channel_groups(net().network);
      std::vector<std::int32_t> counts;
      for (std::size_t g = 0; g < groups.size(); ++g)
        counts.push_back(first[g].channels - (first[g].channels - final[g]) * r / o_.rounds);
      NAS_TRY(statistics, channel_statistics(net(), groups, scoring_.images));
      NAS_TRY(score, scores(groups, request.importance, statistics));
      NAS_TRY(pruned, prune_channels(net(), groups, best(score, counts), statistics));
      net() = std::move(pruned);
      NAS_CHECK(tune());
    }
    Record kept = Record::object();
    for (std::size_t g = 0; g < first.size(); ++g)
      kept[group_name(net().network, groups[g])] = {{"channels", first[g].channels}, {"kept", final[g]}};
    out_.record["prune"] = {{"request", o_.prune}, {"rounds", o_.rounds}, {"groups", kept}};
    return stage("pruned");
  }

  // ---- masks
  Result<void> mask() {
    NAS_TRY(pattern, parse_mask(o_.mask));
    if (o_.stage.qat > 0)
      return usage_error("--mask with --qat: training in integers does not keep the zeros");
    const Mask made = make_mask(net(), pattern);
    apply(made, net());
    for (std::int32_t r = 0; r < o_.rounds && o_.stage.finetune > 0; ++r) {
      NAS_CHECK(tune());
      apply(made, net());
    }
    NAS_CHECK(recalibrate());
    const MaskedSize size = masked_size(made);
    out_.record["mask"] = {{"pattern", o_.mask},
                           {"weights", size.weights},
                           {"zeros", size.zeros},
                           {"dense_bytes", size.dense_bytes},
                           {"masked_bytes", size.masked_bytes},
                           {"speed", "none of the engines skips zeros: the same instructions as without"}};
    return stage("masked");
  }

  // ---- low rank
  Result<std::map<std::int32_t, std::int32_t>> ranks_for(
      const RankRequest& request, const std::map<std::int32_t, std::vector<double>>& power) {
    if (request.choosing == Choosing::given) return ranks_at(net().network, request.share);
    NAS_TRY(target, costs_.target());
    return ranks_within(net(), power, few_, target.cost, target.limit);
  }

  Result<void> rank() {
    NAS_TRY(request, parse_rank(o_.rank));
    NAS_TRY(power, input_power(net(), scoring_.images));
    NAS_TRY(ranks, ranks_for(request, power));
    if (ranks.empty())
      return usage_error("--rank " + o_.rank +
                         ": two factors would save nothing in any layer of this network");
    for (std::int32_t r = 0; r < o_.rounds && o_.stage.finetune > 0; ++r) {
      net() = projected(std::move(net()), ranks);
      NAS_CHECK(tune());
    }
    NAS_TRY(final_power, input_power(net(), scoring_.images));
    Record named = Record::object();
    for (const auto& [layer, r] : ranks)
      named[layer_name(net().network.layers[static_cast<std::size_t>(layer)])] = r;
    NAS_TRY(thin, factor(net(), ranks, final_power));
    net() = std::move(thin);
    NAS_CHECK(recalibrate());
    out_.record["rank"] = {{"request", o_.rank}, {"layers", named}};
    return stage("low rank");
  }

  // ---- bits
  Result<void> bits() {
    NAS_TRY(request, parse_bits(o_.bits));
    Network network = net().network;
    if (request.mixed) {
      if (!costs_.limits().flash) return usage_error("--bits mixed needs a limit: --under flash=…");
      NAS_TRY(folded, fold(net()));
      const BitSensitivity found = bit_sensitivity(folded, few_);
      NAS_TRY(mixed,
              mixed_precision(network, found, Bytes(static_cast<std::int64_t>(*costs_.limits().flash))));
      network = std::move(mixed);
    }
    for (const auto& [name, b] : request.layers) {
      NAS_CHECK(costs_.check_bits(b));
      NAS_TRY(named, with_weight_bits(network, b, name));
      network = std::move(named);
    }
    if (o_.activation_bits != 8) {
      NAS_TRY(narrow, with_activation_bits(network, o_.activation_bits));
      network = std::move(narrow);
    }
    net().network = std::move(network);
    Record layers = Record::object();
    for (const Layer& l : net().network.layers)
      if (has_weights(l) && l.kind != LayerKind::batch_norm)
        layers[layer_name(l)] = l.weight_bits == 0 ? 8 : static_cast<int>(l.weight_bits);
    out_.record["bits"] = {{"request", o_.bits}, {"activations", o_.activation_bits}, {"layers", layers}};
    return {};
  }

  Result<void> codes() {
    NAS_TRY(request, parse_codes(o_.codes));
    if (o_.stage.qat > 0)
      return usage_error("--codes with --qat: training in integers does not keep the codes");
    NAS_TRY(folded, fold(net()));
    const CodedNetwork coded = code_weights(std::move(folded), request.how, request.centres);
    net() = unfold(std::move(net()), coded.folded);
    net().provenance.note += ", weights coded " + o_.codes;
    out_.record["codes"] = {{"request", o_.codes},
                            {"float_bytes", coded.float_bytes},
                            {"fixed_bytes", coded.size.fixed},
                            {"huffman_bytes", coded.size.huffman},
                            {"note", "counted sizes of a stored form; the C code holds integers"}};
    return stage("coded");
  }

  // ---- integers
  Result<void> round() {
    NAS_TRY(made, quantized(run_.config, run_.job, net(), o_.stage, progress_));
    if (o_.stage.qat > 0) {
      net() = unfold(std::move(net()), made.folded);
      net().provenance.steps += made.steps;
      net().provenance.note += ", trained quantisation-aware " + std::to_string(made.steps) + " steps";
    }
    out_.integer = std::move(made.network);
    NAS_TRY(runner, IntegerRunner::make(*out_.integer));
    std::vector<std::vector<float>> answers(validation_.images.size());
    tbb::parallel_for(std::size_t{0}, answers.size(),
                      [&](std::size_t i) { answers[i] = runner.run(validation_.images[i]); });
    return add_stage("integers", share_right(answers, validation_.labels));
  }

  // ---- common
  Result<void> tune() {
    if (o_.stage.finetune <= 0) return recalibrate();
    NAS_TRY(tuned, finetuned(run_.config, net(), o_.stage.finetune / o_.rounds, progress_));
    net() = std::move(tuned);
    return {};
  }

  Result<void> recalibrate() {
    NAS_TRY(single, Supernet::of(net(), run_.config.device));
    NAS_TRY(fresh, extract(single, net().network, run_.job.feeds.recalibration(), net().provenance));
    net() = std::move(fresh);
    return {};
  }

  static Result<std::vector<std::vector<float>>> logits_of(const TrainedNetwork& network,
                                                           const LabelledImages& images) {
    constexpr std::size_t kAtOnce = 64;
    std::vector<std::vector<float>> rows;
    for (std::size_t begin = 0; begin < images.images.size(); begin += kAtOnce) {
      const std::size_t end = std::min(begin + kAtOnce, images.images.size());
      Image pixels;
      for (std::size_t i = begin; i < end; ++i)
        pixels.insert(pixels.end(), images.images[i].begin(), images.images[i].end());
      NAS_TRY(all, logits(network, pixels));
      const auto classes = static_cast<std::ptrdiff_t>(all.size() / (end - begin));
      for (auto at = all.begin(); at != all.end(); at += classes) rows.emplace_back(at, at + classes);
    }
    return rows;
  }

  Result<void> stage(const char* name) {
    NAS_TRY(out, logits_of(net(), validation_));
    return add_stage(name, share_right(out, validation_.labels));
  }

  Result<void> add_stage(const char* name, double top1) {
    const Network& n = out_.trained.network;
    const auto [low, high] = wilson_interval(
        std::lround(top1 * static_cast<double>(validation_.images.size())), std::ssize(validation_.images));
    Record row{{"stage", name},
               {"top1", top1},
               {"low", low},
               {"high", high},
               {"images", validation_.images.size()},
               {"macs", macs(n).count()},
               {"params", params(n).count()},
               {"flash", static_cast<std::int64_t>(CompressCosts::flash(n))}};
    if (costs_.has_latency()) {
      NAS_TRY(predicted, costs_.latency(n));
      row["latency"] = predicted;
      row["latency_unit"] = costs_.latency_unit();
    }
    out_.record["stages"].push_back(std::move(row));
    return {};
  }

  const CompressOptions& o_;
  TrainedRun run_;
  CompressCosts costs_;
  StageProgress progress_;
  CompressedNetwork out_;
  LabelledImages validation_, scoring_;
  std::vector<Image> few_;
};

}  // namespace

Result<CompressedNetwork> compress_network(const Context& context, const CompressOptions& options) {
  // What the command line got wrong is said before anything is opened.
  if (!options.prune.empty()) NAS_CHECK(parse_prune(options.prune));
  if (!options.mask.empty()) NAS_CHECK(parse_mask(options.mask));
  if (!options.rank.empty()) NAS_CHECK(parse_rank(options.rank));
  NAS_CHECK(parse_bits(options.bits));
  if (!options.codes.empty()) NAS_CHECK(parse_codes(options.codes));
  NAS_TRY(costs, CompressCosts::open(context, options));
  NAS_TRY(run, open_trained_run(options.run));
  if (run.loaded.provenance.steps == 0)
    return usage_error("these weights were never trained (0 steps): there is nothing to compress",
                       run.weights.string());
  return Compressor(context, options, std::move(run), std::move(costs)).run();
}

}  // namespace nas::apps
