#include <algorithm>
#include <memory>
#include <set>

#include "space/family.h"
#include "space/rounding.h"
#include "space/staged/staged_plan.h"

namespace nas {
namespace {

constexpr double kMaxChannels = 16384;
constexpr double kMaxDepth = 64;
constexpr double kMaxExpand = 16;

const std::vector<std::string> kActivations = {"none",  "relu",         "relu6",   "hard_swish",
                                               "swish", "hard_sigmoid", "sigmoid", "gelu"};

Activation activation_of(const std::string& word) {
  const auto found = std::find(kActivations.begin(), kActivations.end(), word);
  return static_cast<Activation>(found - kActivations.begin());
}

Activation read_activation(JsonReader& reader, std::optional<std::string> fallback) {
  return activation_of(reader.word("activation", kActivations, std::move(fallback)));
}

// Reads elastic properties of one object and turns lists of more than one value into genes.
class ElasticReader {
 public:
  ElasticReader(JsonReader& reader, GeneList& genes, std::string prefix)
      : reader_(reader), genes_(genes), prefix_(std::move(prefix)) {}

  Elastic<double> number(const std::string& key, const std::string& family, double low, double high,
                         bool whole, std::optional<std::vector<double>> fallback = {}) {
    Elastic<double> out;
    out.values = read_values(reader_, key, low, high, whole, std::move(fallback));
    if (out.values.size() > 1) out.gene = genes_.add(prefix_ + key, family, number_choices(out.values));
    return out;
  }

  Elastic<std::int32_t> integer(const std::string& key, const std::string& family, double low, double high,
                                std::optional<std::vector<double>> fallback = {}) {
    const Elastic<double> read = number(key, family, low, high, true, std::move(fallback));
    return {read.gene, {read.values.begin(), read.values.end()}};
  }

  Elastic<bool> flag(const std::string& key, const std::string& family) {
    const nlohmann::json& found = reader_.raw(key);
    if (found.is_null()) return {-1, {false}};
    if (found.is_boolean()) return {-1, {found.get<bool>()}};
    if (found != nlohmann::json::array({false, true})) {
      reader_.fail(key, "needs true, false or [false, true]");
      return {-1, {false}};
    }
    return {genes_.add(prefix_ + key, family, {{"0", 0}, {"1", 1}}), {false, true}};
  }

  Elastic<Activation> activation() {
    if (!reader_.raw("activation").is_array()) return {-1, {read_activation(reader_, "relu")}};
    Elastic<Activation> out;
    std::vector<Choice> choices;
    for (const std::string& word : reader_.texts("activation")) {
      if (std::find(kActivations.begin(), kActivations.end(), word) == kActivations.end()) {
        const std::string hint = nearest(word, kActivations);
        reader_.fail("activation", "unknown activation \"" + word + "\"" +
                                       (hint.empty() ? "" : "; did you mean \"" + hint + "\"?"));
        continue;
      }
      choices.push_back({word, static_cast<double>(choices.size())});
      out.values.push_back(activation_of(word));
    }
    if (out.values.empty()) {
      reader_.fail("activation", "needs at least one value");
      out.values = {Activation::relu};
    }
    if (out.values.size() > 1) out.gene = genes_.add(prefix_ + "activation", "a", std::move(choices));
    return out;
  }

  // Bits 0 mean "as deployed"; 2, 4, 8 and 32 (float) can be chosen.
  Elastic<std::int32_t> bits(const std::string& key, const std::string& family) {
    Elastic<std::int32_t> out = integer(key, family, 0, 32, std::vector<double>{0});
    for (const std::int32_t b : out.values)
      if (b != 0 && b != 2 && b != 4 && b != 8 && b != 32) {
        reader_.fail(key, "knows 2, 4, 8 and 32 bits, found " + std::to_string(b));
        break;
      }
    return out;
  }

  Bits bits() { return {bits("weight_bits", "wb"), bits("activation_bits", "ab")}; }

  // Share of the full rank (space/low_rank.h); 1: the layers stay whole.
  Elastic<double> rank() { return number("rank", "rank", 0.01, 1, false, std::vector<double>{1}); }

 private:
  JsonReader& reader_;
  GeneList& genes_;
  std::string prefix_;
};

void check_odd(JsonReader& reader, const Elastic<std::int32_t>& kernel) {
  for (const std::int32_t k : kernel.values)
    if (k % 2 == 0) {
      reader.fail("kernel", "needs odd sizes (padding is kernel / 2), found " + std::to_string(k));
      return;
    }
}

// {"name": "k5_e6", "kernel": 5, "expand": 6, "groups": 1, "squeeze_excite": false} or {"name": …, "skip":
// true}
std::vector<std::pair<std::string, Operation>> read_operations(JsonReader& stage) {
  std::vector<std::pair<std::string, Operation>> list;
  for (JsonReader& op : stage.objects("operations")) {
    Operation made;
    const std::string name = op.text("name");
    if (name.find_first_of(":,=") != std::string::npos || name.empty() || name == "-")
      op.fail("name", "needs a name without ':', ',' or '=', found \"" + name + "\"");
    made.skip = op.flag("skip", false);
    made.kernel = static_cast<std::int32_t>(op.integer("kernel", 1, 15, 3));
    if (made.kernel % 2 == 0) op.fail("kernel", "needs an odd size, found " + std::to_string(made.kernel));
    made.expand = op.number("expand", 0.05, kMaxExpand, 1);
    made.groups = static_cast<std::int32_t>(op.integer("groups", 1, 64, 1));
    made.squeeze_excite = op.flag("squeeze_excite", false);
    op.done();
    list.emplace_back(name, made);
  }
  return list;
}

class StagedReader {
 public:
  explicit StagedReader(JsonReader& reader) : reader_(reader), plan_(std::make_shared<StagedPlan>()) {}

  FamilyParts read() {
    StagedPlan& p = *plan_;
    ElasticReader top(reader_, genes_, "");
    p.input_channels = static_cast<std::int32_t>(reader_.integer("input_channels", 1, 1024, 3));
    p.classes = static_cast<std::int32_t>(reader_.integer("classes", 1, 1'000'000));
    p.resolution.values.clear();
    for (const double r : read_values(reader_, "resolution", 1, 4096, true))
      p.resolution.values.push_back(static_cast<std::int32_t>(r));
    p.resolution.gene = genes_.add("resolution", "r",
                                   number_choices({p.resolution.values.begin(), p.resolution.values.end()}));
    p.width = top.number("width", "w", 0.01, 16, false, std::vector<double>{1});
    p.squeeze_excite_gate =
        activation_of(reader_.word("squeeze_excite_gate", {"hard_sigmoid", "sigmoid"}, "hard_sigmoid"));
    p.squeeze_from_input = reader_.word("squeeze_from", {"middle", "input"}, "middle") == "input";
    read_stem();
    std::vector<JsonReader> stages = reader_.objects("stages", true);
    if (stages.empty()) reader_.fail("stages", "needs at least one stage");
    if (stages.size() > 64) reader_.fail("stages", "has more than 64 stages");
    for (std::size_t s = 0; s < stages.size() && s < 64; ++s)
      read_stage(stages[s], "stage" + std::to_string(s + 1) + ".");
    read_head();
    check_size();
    check_groups();
    return {genes_.take(), [plan = plan_](const Genotype& g, Network& n) { nas::lower(*plan, g, n); }};
  }

 private:
  void read_stem() {
    JsonReader stem = reader_.object("stem", true);
    ElasticReader elastic(stem, genes_, "stem.");
    plan_->stem.channels = elastic.integer("channels", "c", 1, kMaxChannels);
    plan_->stem.kernel = static_cast<std::int32_t>(stem.integer("kernel", 1, 15, 3));
    if (plan_->stem.kernel % 2 == 0) stem.fail("kernel", "needs an odd size");
    plan_->stem.stride = static_cast<std::int32_t>(stem.integer("stride", 1, 8, 2));
    plan_->stem.activation = read_activation(stem, "relu");
    plan_->stem.bits = elastic.bits();
    stem.done();
  }

  void read_stage(JsonReader& reader, const std::string& prefix) {
    StagePlan stage;
    ElasticReader elastic(reader, genes_, prefix);
    const std::vector<std::string> kinds = {"mbconv", "conv", "separable", "basic", "bottleneck"};
    const std::string kind = reader.word("block", kinds, "mbconv");
    stage.kind = static_cast<BlockKind>(std::find(kinds.begin(), kinds.end(), kind) - kinds.begin());
    stage.depth = elastic.integer("depth", "d", 1, kMaxDepth, std::vector<double>{1});
    stage.channels = elastic.integer("channels", "c", 1, kMaxChannels);
    stage.stride = elastic.integer("stride", "s", 1, 8, std::vector<double>{1});
    per_block_ = reader.word("genes", {"block", "stage"}, "block") == "block";
    bits_per_layer_ = reader.word("bits", {"block", "layer"}, "block") == "layer";
    skip_first_ = reader.flag("skip_first", false);
    if ((stage.kind == BlockKind::conv || stage.kind == BlockKind::basic) && reader.has("rank"))
      reader.fail("rank",
                  "belongs to blocks of 1x1 convolutions (mbconv, separable, bottleneck), found " + kind);
    const auto operations = read_operations(reader);
    BlockPlan shared;
    if (!per_block_) shared = read_block(reader, prefix, operations, false);
    for (std::int32_t k = 0; k < stage.depth.values.back(); ++k) {
      // Choice i of the depth gene gives values[i] blocks: block k needs the first choice above k.
      const auto needed = std::upper_bound(stage.depth.values.begin(), stage.depth.values.end(), k);
      const auto low = static_cast<std::uint8_t>(needed - stage.depth.values.begin());
      if (low > 0) genes_.depend_on(stage.depth.gene, low);
      stage.blocks.push_back(
          per_block_ ? read_block(reader, prefix + "block" + std::to_string(k + 1) + ".", operations, k == 0)
                     : shared);
      genes_.depend_on(-1);
    }
    reader.done();
    plan_->stages.push_back(std::move(stage));
  }

  BlockPlan read_block(JsonReader& reader, const std::string& prefix,
                       const std::vector<std::pair<std::string, Operation>>& operations, bool first) {
    BlockPlan block;
    ElasticReader elastic(reader, genes_, prefix);
    block.activation = elastic.activation();
    if (!operations.empty()) {
      read_operation_gene(reader, prefix, operations, first, block);
    } else {
      block.kernel = elastic.integer("kernel", "k", 1, 15, std::vector<double>{3});
      check_odd(reader, block.kernel);
      block.expand = elastic.number("expand", "e", 0.05, kMaxExpand, false, std::vector<double>{1});
      block.squeeze_excite = elastic.flag("squeeze_excite", "se");
    }
    if (!bits_per_layer_) {
      block.bits = {elastic.bits()};
    } else {
      const Elastic<std::int32_t> activations = elastic.bits("activation_bits", "ab");
      for (const char* part : {"expand.", "depthwise.", "project."})
        block.bits.push_back(
            {ElasticReader(reader, genes_, prefix + part).bits("weight_bits", "wb"), activations});
    }
    block.rank = elastic.rank();
    return block;
  }

  void read_operation_gene(JsonReader& reader, const std::string& prefix,
                           const std::vector<std::pair<std::string, Operation>>& operations, bool first,
                           BlockPlan& block) {
    std::vector<Choice> choices;
    for (const auto& [name, op] : operations) {
      if (op.skip && first && !skip_first_) continue;  // a stage's first block cannot vanish
      choices.push_back({name, static_cast<double>(choices.size())});
      block.operation.values.push_back(op);
    }
    if (choices.empty()) {
      reader.fail("operations", "leaves the first block of the stage no operation");
      block.operation.values = {Operation{}};
    } else if (choices.size() > 1) {
      block.operation.gene = genes_.add(prefix + "operation", "op", std::move(choices));
    }
  }

  void read_head() {
    std::vector<JsonReader> items = reader_.objects("head");
    bool pooled = false;
    for (std::size_t h = 0; h < items.size(); ++h) {
      JsonReader& item = items[h];
      HeadPlan head;
      head.kind = item.word("kind", {"conv", "pool"}) == "conv" ? HeadKind::conv : HeadKind::pool;
      pooled = pooled || head.kind == HeadKind::pool;
      if (head.kind == HeadKind::conv) {
        ElasticReader elastic(item, genes_, "head" + std::to_string(h + 1) + ".");
        head.expand = item.number("expand", 0.05, kMaxExpand, 0.05);
        if (!item.has("expand")) head.expand = 0;
        head.channels = head.expand > 0 ? Elastic<std::int32_t>{-1, {1}}
                                        : elastic.integer("channels", "c", 1, kMaxChannels);
        head.batch_norm = item.flag("batch_norm", true);
        head.bias = item.flag("bias", false);
        head.activation = read_activation(item, "none");
        const std::string scale = item.word("scale", {"never", "above_one", "always"}, "never");
        head.scale = scale == "never"    ? HeadScale::never
                     : scale == "always" ? HeadScale::always
                                         : HeadScale::above_one;
        head.bits = elastic.bits();
        head.rank = elastic.rank();
      }
      item.done();
      plan_->head.push_back(std::move(head));
    }
    if (!pooled) reader_.fail("head", "needs one {\"kind\": \"pool\"} before the classifier");
    JsonReader classifier = reader_.object("classifier");
    ElasticReader elastic(classifier, genes_, "classifier.");
    plan_->classifier_bits = elastic.bits();
    plan_->classifier_rank = elastic.rank();
    classifier.done();
  }

  // Says nothing of a definition that has mistakes already: its sizes are fallbacks.
  void check_size() {
    if (reader_.errors() > 0) return;
    std::int64_t stride = plan_->stem.stride;
    for (const StagePlan& stage : plan_->stages)
      stride = std::min<std::int64_t>(stride * stage.stride.values.back(), 1 << 20);
    if (plan_->resolution.values.front() < stride)
      reader_.fail("resolution", std::to_string(plan_->resolution.values.front()) +
                                     " is too small: the strides multiply to " + std::to_string(stride) +
                                     ", so at least that many pixels a side are needed");
    if (genes_.size() > 20'000)
      reader_.fail("stages", "make " + std::to_string(genes_.size()) + " genes; at most 20000 are supported");
  }

  // All widths that channels can get by the width multiplier.
  std::set<std::int32_t> scaled(const Elastic<std::int32_t>& channels) const {
    std::set<std::int32_t> all;
    for (const double width : plan_->width.values)
      for (const std::int32_t c : channels.values) all.insert(width == 1 ? c : make_divisible(c * width));
    return all;
  }

  // Grouped 1x1 convolutions need channels that their groups divide, whatever is chosen.
  void check_groups() {
    if (reader_.errors() > 0) return;
    std::set<std::int32_t> before = scaled(plan_->stem.channels);
    for (std::size_t s = 0; s < plan_->stages.size(); ++s) {
      const StagePlan& stage = plan_->stages[s];
      const std::set<std::int32_t> out = scaled(stage.channels);
      // All blocks behind the first are alike.
      for (std::size_t k = 0; k < std::min<std::size_t>(2, stage.blocks.size()); ++k) {
        check_groups(s, stage, stage.blocks[k], before, out);
        before = out;
      }
    }
  }

  void check_groups(std::size_t s, const StagePlan& stage, const BlockPlan& block,
                    const std::set<std::int32_t>& before, const std::set<std::int32_t>& out) {
    if (stage.kind != BlockKind::mbconv && stage.kind != BlockKind::separable) return;
    for (const Operation& op : block.operation.values) {
      if (op.skip || op.groups == 1) continue;
      const auto check = [&](std::int32_t channels) {
        if (channels % op.groups != 0)
          reader_.fail("stages", "stage " + std::to_string(s + 1) + ": " + std::to_string(op.groups) +
                                     " groups do not divide " + std::to_string(channels) + " channels");
        return channels % op.groups == 0;
      };
      const bool expands = stage.kind == BlockKind::mbconv && op.expand != 1;
      if (!std::ranges::all_of(out, check)) return;
      for (const std::int32_t in : before)
        if (!check(in) || (expands && !check(expanded_channels(in, op.expand)))) return;
    }
  }

  JsonReader& reader_;
  std::shared_ptr<StagedPlan> plan_;
  GeneList genes_;
  bool per_block_ = true;
  bool bits_per_layer_ = false;
  bool skip_first_ = false;
};

}  // namespace

FamilyParts read_staged(JsonReader& reader) { return StagedReader(reader).read(); }

}  // namespace nas
