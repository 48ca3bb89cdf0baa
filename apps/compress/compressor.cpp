#include "apps/compress/compressor.h"

#include <algorithm>

#include "apps/accuracy_file.h"
#include "apps/compress/channel_choice.h"
#include "apps/export/layer_in_message.h"
#include "apps/integer_accuracy.h"
#include "space/cost.h"
#include "supernet/evaluate.h"
#include "supernet/low_rank/low_rank.h"
#include "supernet/quantize/mixed_precision.h"

namespace nas::apps {
namespace {

using namespace supernet;
using Record = nlohmann::ordered_json;

constexpr std::size_t kSensitivityImages = 16;

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
        progress_(shown_progress(context.quiet)) {
    run_.config.order = o_.seed;
  }

  Result<CompressedNetwork> run() {
    NAS_CHECK(start());
    if (o_.prune.empty() && o_.mask.empty() && o_.rank.empty() && o_.stage.finetune > 0 && !trains_codes()) {
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
    const BatchList recalibration = run_.job.feeds.recalibration();
    images_ = {images_of(recalibration, side, o_.score_images), {}, {}};
    const std::vector<Image>& scoring = images_.scoring.images;
    images_.few = std::span(scoring).first(std::min(kSensitivityImages, scoring.size()));
    if (o_.prune.ends_with(":search")) images_.loss = images_of(recalibration, side, o_.loss_images);
    out_.record = {{"genotype", net().provenance.genotype},
                   {"space", net().provenance.space},
                   {"run", o_.run},
                   {"seed", o_.seed}};
    return stage("as trained");
  }

  // ---- pruning
  Result<void> prune() {
    NAS_TRY(request, parse_prune(o_.prune));
    std::vector<ChannelGroup> groups = channel_groups(net().network);
    if (groups.empty()) return usage_error("--prune: this network has no channels that could go");
    const ChannelChoice choice(o_, costs_, images_);
    NAS_TRY(final, choice.counts(net(), groups, request, out_.record));
    const std::vector<ChannelGroup> first = groups;
    for (std::int32_t r = 1; r <= o_.rounds; ++r) {
      groups = channel_groups(net().network);
      std::vector<std::int32_t> counts;
      for (std::size_t g = 0; g < groups.size(); ++g)
        counts.push_back(first[g].channels - (first[g].channels - final[g]) * r / o_.rounds);
      NAS_TRY(pruned, choice.pruned(net(), groups, request.importance, counts));
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
    return ranks_within(net(), power, images_.few, target.cost, target.limit);
  }

  Result<void> rank() {
    NAS_TRY(request, parse_rank(o_.rank));
    NAS_TRY(power, input_power(net(), images_.scoring.images));
    NAS_TRY(ranks, ranks_for(request, power));
    if (ranks.empty())
      return usage_error("--rank " + o_.rank +
                         ": two factors would save nothing in any layer of this network");
    for (std::int32_t r = 0; r < o_.rounds && o_.stage.finetune > 0; ++r) {
      net() = projected(std::move(net()), ranks);
      NAS_CHECK(tune());
    }
    NAS_TRY(final_power, input_power(net(), images_.scoring.images));
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
  // Of the limits, those that bits can do something about.
  Result<Network> mixed_bits(const Network& network) {
    std::vector<CostLimit> limits;
    for (CompressCosts::Target& t : costs_.targets())
      if (t.name != std::string_view("macs")) limits.push_back({t.what, t.unit, t.cost, t.limit});
    if (limits.empty())
      return usage_error("--bits mixed needs a limit: --under flash=…, latency=… or energy=…");
    std::ranges::reverse(limits);  // flash first: that one is held exactly
    for (const std::int32_t bits : {4, 2}) NAS_CHECK(costs_.check_bits(bits));
    NAS_TRY(folded, fold(net()));
    return mixed_precision(network, bit_sensitivity(folded, images_.few), limits);
  }

  Result<void> bits() {
    NAS_TRY(request, parse_bits(o_.bits));
    Network network = net().network;
    if (request.mixed) {
      NAS_TRY(mixed, mixed_bits(network));
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

  // Of ternary weights the scales are trained where training was asked for.
  bool trains_codes() const { return o_.codes == "ternary" && o_.stage.finetune > 0; }
  Result<CodedNetwork> coded_network(const CodesRequest& request, std::int64_t& steps) {
    if (trains_codes()) {
      NAS_TRY(coded, ternary_trained(run_.config, run_.job, net(), o_.stage, progress_, steps));
      net().provenance.steps += steps;
      net().provenance.note += ", ternary scales trained " + std::to_string(steps) + " steps";
      return coded;
    }
    NAS_TRY(folded, fold(net()));
    return code_weights(std::move(folded), request.how, request.centres);
  }

  Result<void> codes() {
    NAS_TRY(request, parse_codes(o_.codes));
    if (o_.stage.qat > 0)
      return usage_error("--codes with --qat: training in integers does not keep the codes");
    std::int64_t steps = 0;
    NAS_TRY(coded, coded_network(request, steps));
    net() = unfold(std::move(net()), coded.folded);
    net().provenance.note += ", weights coded " + o_.codes;
    out_.record["codes"] = {{"request", o_.codes},
                            {"trained_steps", steps},
                            {"float_bytes", coded.float_bytes},
                            {"fixed_bytes", coded.size.fixed},
                            {"huffman_bytes", coded.size.huffman},
                            {"note", "counted sizes of a stored form; the C code holds integers"}};
    return stage("coded");
  }

  // ---- integers
  Result<void> round() {
    const auto named = [&](const Error& e) { return with_layer_name(e, net().network); };
    auto made = quantized(run_.config, run_.job, net(), o_.stage, progress_);
    if (!made) return named(made.error());
    if (o_.stage.qat > 0) {
      net() = unfold(std::move(net()), made->folded);
      net().provenance.steps += made->steps;
      net().provenance.note += ", trained quantisation-aware " + std::to_string(made->steps) + " steps";
    }
    out_.integer = std::move(made->network);
    const auto top1 = integer_accuracy(*out_.integer, validation_);
    if (!top1) return named(top1.error());
    return add_stage("integers", *top1);
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

  Result<void> stage(const char* name) {
    NAS_TRY(score, evaluate(net(), batches_of(validation_, net().network.layers.front().out.height)));
    return add_stage(name, score.top1);
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
    if (costs_.has_energy()) row["energy"] = costs_.energy(n);
    out_.record["stages"].push_back(std::move(row));
    return {};
  }

  const CompressOptions& o_;
  TrainedRun run_;
  CompressCosts costs_;
  StageProgress progress_;
  CompressedNetwork out_;
  LabelledImages validation_;
  ChoiceImages images_;
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
