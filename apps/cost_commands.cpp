#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <set>

#include "apps/command.h"
#include "apps/memory_records.h"
#include "space/analysis.h"
#include "space/base/file.h"
#include "space/cost.h"
#include "space/energy.h"
#include "space/memory.h"
#include "space/memory_order.h"
#include "space/picture.h"
#include "space/search_space.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

struct CostOptions {
  std::string space, arch, uniform, memory = "plain", energy = "horowitz-45nm", svg_file, dot_file;
  bool largest = false, smallest = false, layers = false, no_input = false, best_order = false, arena = false;
  int patches = 0;
  std::string patch_split, patch_ram;
  std::int64_t seed = -1;
  int resolution = 0, bits = 8;
  std::int64_t alignment = 0;
  std::string max_ram, max_flash;
  std::uint64_t samples = 1000;
};

// "320KB", "1MB", "4096": K and M are 1024 and 1024*1024, as boards' data sheets mean them.
Result<Bytes> read_bytes(const std::string& text) {
  std::size_t end = 0;
  double value = -1;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    value = -1;  // no number: refused below
  }
  std::string unit = text.substr(end);
  if (!unit.empty() && (unit.back() == 'B' || unit.back() == 'b')) unit.pop_back();
  if (!unit.empty() && unit.back() == 'i') unit.pop_back();
  const double scale = unit.empty()                 ? 1
                       : unit == "K" || unit == "k" ? 1024
                       : unit == "M"                ? 1024.0 * 1024
                       : unit == "G"                ? 1024.0 * 1024 * 1024
                                                    : -1;
  if (!(value >= 0) || scale < 0 || value * scale > 9e15)
    return usage_error("size: needs a number with K, M or G such as 320KB, found \"" + text + "\"");
  return Bytes(static_cast<std::int64_t>(value * scale));
}

// Sets every gene whose name is or ends in the key.
Result<void> set_all(const SearchSpace& space, const std::string& key, const std::string& label,
                     Genotype& g) {
  bool found = false;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const Gene& gene = space.genes()[i];
    if (gene.name != key && !gene.name.ends_with("." + key)) continue;
    const auto choice = std::ranges::find(gene.choices, label, &Choice::label);
    if (choice == gene.choices.end()) {
      std::string all;
      for (const Choice& c : gene.choices) all += (all.empty() ? "" : ", ") + c.label;
      return usage_error("--uniform: " + gene.name + " has no choice \"" + label + "\", only " + all);
    }
    g[i] = static_cast<std::uint8_t>(choice - gene.choices.begin());
    found = true;
  }
  if (!found) return usage_error("--uniform: no gene is named \"" + key + "\"; see `hwnas space genes`");
  return {};
}

// kernel=7,expand=6,depth=4; what is not named is largest.
Result<Genotype> uniform(const SearchSpace& space, const std::string& text) {
  Genotype g = space.largest();
  std::set<std::string> given;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find(',', start), text.size());
    const std::string part = text.substr(start, end - start);
    start = end + 1;
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos)
      return usage_error("--uniform: needs name=value, found \"" + part.substr(0, 40) + "\"");
    const std::string key = part.substr(0, equals);
    if (!given.insert(key).second) return usage_error("--uniform: " + key + " is given twice");
    NAS_CHECK(set_all(space, key, part.substr(equals + 1), g));
  }
  return space.canonical(g);
}

Result<Genotype> chosen(const SearchSpace& space, const CostOptions& o) {
  const int ways = !o.arch.empty() + !o.uniform.empty() + o.largest + o.smallest + (o.seed >= 0);
  if (ways > 1) return usage_error("choose one of --arch, --uniform, --max, --min and --seed");
  if (o.smallest) return space.smallest();
  if (!o.uniform.empty()) return uniform(space, o.uniform);
  if (o.seed >= 0) {
    Rng rng(static_cast<std::uint64_t>(o.seed), "space sample");
    return space.sample_canonical(rng);
  }
  if (o.arch.empty()) return space.largest();
  std::error_code unreadable;
  if (!std::filesystem::is_regular_file(o.arch, unreadable)) return space.parse(o.arch);
  NAS_TRY(text, read_file(o.arch, 1 << 20));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.starts_with('{') ? space.from_json(text, o.arch) : space.parse(text);
}

struct Chosen {
  SearchSpace space;
  Genotype genotype;
  Network network;
};

Result<Chosen> lowered(const CostOptions& o) {
  SpaceOverrides change;
  if (o.resolution > 0) change.resolutions = {o.resolution};
  NAS_TRY(space, load_space(o.space, change));
  NAS_TRY(genotype, chosen(space, o));
  Network network = space.lower(genotype);
  return Chosen{std::move(space), std::move(genotype), std::move(network)};
}

Result<MemoryOptions> memory_options(const CostOptions& o) {
  NAS_TRY(memory, memory_model(o.memory));
  memory.precision = {static_cast<std::uint8_t>(o.bits), static_cast<std::uint8_t>(o.bits)};
  if (o.alignment > 0) memory.alignment = o.alignment;
  if (o.no_input) memory.count_input = false;
  return memory;
}

std::vector<Record> layer_records(const Network& network, const MemoryOptions& memory) {
  const MemoryProgram program = memory_program(network, memory);
  const std::vector<std::int64_t> live = live_bytes(program);
  std::vector<std::int64_t> of_layer(network.layers.size(), 0);
  for (std::size_t i = 0; i < live.size(); ++i) {
    std::int64_t& most = of_layer[static_cast<std::size_t>(program.steps[i].layer)];
    most = std::max(most, live[i]);
  }
  std::vector<Record> records;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    const auto shape = [](const Shape& s) {
      return std::to_string(s.channels) + "x" + std::to_string(s.height) + "x" + std::to_string(s.width);
    };
    Record r{{"layer", i}, {"name", layer_name(l)}, {"kind", to_string(l.kind)}, {"out", shape(l.out)}};
    r["macs"] = macs(l).count();
    r["params"] = params(l).count();
    r["weight_bytes"] = weight_bytes(network, i, memory.precision).count();
    if (of_layer[i] > 0) r["live_bytes"] = of_layer[i];  // layers that start a step
    records.push_back(std::move(r));
  }
  return records;
}

Result<Record> cost_record(const Chosen& c, const MemoryOptions& memory, const EnergyTable& table,
                           const CostOptions& o) {
  const Cost all = cost(c.network, memory.precision);
  // Sums stop at the largest number: no cost, and nothing any device could run.
  if (all.macs.count() == std::numeric_limits<std::int64_t>::max())
    return usage_error("cost: " + c.space.name() + " " + c.space.short_id(c.genotype) +
                       " has more than 9.2e18 MACs, beyond what is counted");
  const MemoryProgram program = memory_program(c.network, memory);
  MemoryWorkspace workspace;
  const MemoryPeak peak = peak_memory(program, workspace);
  const Energy used = energy(c.network, memory.precision, memory.fusion, table);
  Record r{
      {"space", c.space.name()}, {"id", c.space.short_id(c.genotype)}, {"arch", c.space.text(c.genotype)}};
  r["macs"] = all.macs.count();
  r["params"] = all.params.count();
  r["weight_bytes"] = all.weight_bytes.count();
  r["peak_activation_bytes"] = peak.bytes.count();
  r["peak_layer"] = layer_name(c.network.layers[static_cast<std::size_t>(peak.layer)]);
  r["memory_model"] = o.memory;
  r["bits"] = o.bits;
  r["modelled_microjoules"] = used.joules() * 1e6;
  r["energy_table"] = used.table;
  if (o.best_order) {
    const MemoryOrder order = best_order(program);
    r["best_order_bytes"] = order.peak.count();
    r["best_order_exact"] = order.exact;
  }
  return r;
}

const std::vector<Column> kLayerColumns{{"layer", "#"},
                                        {"name", "layer"},
                                        {"kind", "kind"},
                                        {"out", "output"},
                                        {"macs", "MACs"},
                                        {"params", "params"},
                                        {"weight_bytes", "weights", "B"},
                                        {"live_bytes", "alive", "B"}};

std::vector<Column> cost_columns(const CostOptions& o) {
  std::vector<Column> columns{{"space", "space"},
                              {"arch", "architecture"},
                              {"macs", "MACs"},
                              {"params", "parameters"},
                              {"weight_bytes", "weights", "B"},
                              {"peak_activation_bytes", "peak activations", "B"},
                              {"peak_layer", "  at layer"},
                              {"memory_model", "  memory model"},
                              {"modelled_microjoules", "energy, modelled", "uJ"},
                              {"energy_table", "  coefficients"}};
  if (o.best_order) {
    columns.push_back({"best_order_bytes", "peak in the best order", "B"});
    columns.push_back({"best_order_exact", "  proven best"});
  }
  if (o.patches > 0 || !o.patch_ram.empty())
    for (Column& c : patch_columns()) columns.push_back(std::move(c));
  if (o.arena) {
    columns.push_back({"arena_bytes", "arena", "B"});
    columns.push_back({"arena_bound_bytes", "  liveness bound", "B"});
  }
  return columns;
}

Result<int> show_cost(const Context& context, const CostOptions& o) {
  NAS_TRY(memory, memory_options(o));
  NAS_TRY(table, load_energy_table(o.energy));
  NAS_TRY(c, lowered(o));
  NAS_TRY(r, cost_record(c, memory, table, o));
  PatchRequest patches{o.patches, o.patch_split, Bytes(0)};
  if (!o.patch_ram.empty()) {
    NAS_TRY(ram, read_bytes(o.patch_ram));
    patches.ram = ram;
  }
  NAS_CHECK(add_patches(c.network, memory, patches, r));
  const bool is_json = context.format == "json" || context.format == "jsonl";
  if (o.layers && !is_json) {
    print_records(context, kLayerColumns, layer_records(c.network, memory));
    return 0;
  }
  if (o.layers) r["layers"] = layer_records(c.network, memory);
  ArenaRecords arena;
  if (o.arena) {
    const MemoryProgram program = memory_program(c.network, memory);
    arena = arena_records(c.network, o.best_order ? reordered(program, best_order(program).steps) : program);
    r.update(arena.total);
    if (is_json) r["arena"] = arena.blocks;
  }
  if (!o.arena || is_json || context.format == "table") print_record(context, cost_columns(o), r);
  if (o.arena && !is_json) print_records(context, arena_columns(), arena.blocks);
  return 0;
}

Result<int> show_picture(const Context& context, const CostOptions& o) {
  NAS_TRY(c, lowered(o));
  PictureOptions picture;
  picture.title = c.space.name() + " " + c.space.short_id(c.genotype);
  if (!o.svg_file.empty()) NAS_CHECK(write_file(o.svg_file, svg(c.network, picture)));
  if (!o.dot_file.empty()) NAS_CHECK(write_file(o.dot_file, dot(c.network, picture)));
  if (o.layers || (o.svg_file.empty() && o.dot_file.empty())) {
    NAS_TRY(memory, memory_options(o));
    print_records(context, kLayerColumns, layer_records(c.network, memory));
  }
  return 0;
}

Result<int> analyse_space(const Context& context, const CostOptions& o) {
  NAS_TRY(space, load_space(o.space));
  AnalysisOptions options;
  NAS_TRY(ram, read_bytes(o.max_ram));
  NAS_TRY(flash, read_bytes(o.max_flash));
  NAS_TRY(memory, memory_options(o));
  options.max_ram = ram;
  options.max_flash = flash;
  options.memory = memory;
  options.samples = o.samples;
  options.seed = o.seed < 0 ? 1 : static_cast<std::uint64_t>(o.seed);
  NAS_TRY(ranked, analyse(space, options));
  std::vector<Record> records;
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const SubSpace& s = ranked[i];
    records.push_back({{"rank", i + 1},
                       {"sub_space", s.name},
                       {"share", s.share},
                       {"mean_macs", s.mean_macs},
                       {"p10", s.p10.count()},
                       {"p50", s.p50.count()},
                       {"p80", s.p80.count()},
                       {"p90", s.p90.count()}});
  }
  print_records(context,
                {{"rank", "rank"},
                 {"sub_space", "sub-space"},
                 {"share", "share that fits"},
                 {"mean_macs", "mean MACs"},
                 {"p10", "10 %"},
                 {"p50", "50 %"},
                 {"p80", "80 %"},
                 {"p90", "90 %"}},
                records);
  return 0;
}

void add_choice(CLI::App* command, CostOptions& o) {
  const auto something = [](const std::string& text) {
    return text.empty() ? std::string("needs a value, found an empty text") : std::string();
  };
  command->add_option("--arch", o.arch, "An architecture's text or a file with its text or JSON")
      ->check(something);
  command
      ->add_option("--uniform", o.uniform,
                   "Every gene of a name alike: kernel=7,expand=6,depth=4; others largest")
      ->check(something);
  command->add_flag("--max", o.largest, "The largest architecture (the default)");
  command->add_flag("--min", o.smallest, "The smallest architecture");
  command->add_option("--seed", o.seed, "A random architecture")->check(CLI::NonNegativeNumber);
  command->add_option("--resolution", o.resolution, "Input resolution, also one the space does not list")
      ->check(CLI::Range(1, 4096));
  command->add_flag("--layers", o.layers, "Every layer with its cost");
}

void add_memory(CLI::App* command, CostOptions& o) {
  command->add_option("--memory", o.memory,
                      "Memory model: plain, in-place, overlap or tinyengine, then changes: "
                      "tinyengine,overlap=rows,im2col=1 (docs/cost.md)");
  command->add_option("--bits", o.bits, "Bits of weights and activations where the genotype chose none")
      ->check(CLI::Range(1, 32));
  command->add_flag("--no-input", o.no_input, "The input image is not in the arena");
  command->add_option("--align", o.alignment, "Tensor sizes are multiples of so many bytes")
      ->check(CLI::Range(1, 4096));
}

}  // namespace

void add_cost_commands(CLI::App& app, Context& context) {
  CLI::App* space = app.get_subcommand("space");
  auto o = std::make_shared<CostOptions>();
  CLI::App* cost =
      add_command(*space, "cost", "MACs, parameters, weights, peak memory and modelled energy",
                  {"hwnas space cost ofa-mbv3-w1.0 --uniform kernel=7,expand=6,depth=4 --resolution 224",
                   "hwnas space cost mcunet --min --memory tinyengine,overlap=rows --patches 3 --arena"});
  CLI::App* show =
      add_command(*space, "show", "One architecture: its layers, a picture, its graph",
                  {"hwnas space show tiny --svg tiny.svg", "hwnas space show tiny --min --dot tiny.dot"});
  CLI::App* analyse = add_command(
      *space, "analyse", "Which sub-space of width and resolution promises most within RAM and flash",
      {"hwnas space analyse mcunet --max-ram 320KB --max-flash 1MB",
       "hwnas space analyse my-space.json --max-ram 64KB --max-flash 256KB"});
  for (CLI::App* sub : {cost, show, analyse}) {
    sub->add_option("space", o->space, "A built-in space or a JSON file (docs/spaces.md)")->required();
    add_memory(sub, *o);
  }
  for (CLI::App* sub : {cost, show}) add_choice(sub, *o);
  cost->add_option("--energy", o->energy, "Energy coefficients: a name or a JSON file (docs/cost.md)");
  cost->add_flag("--best-order", o->best_order, "Also the peak in the best execution order");
  cost->add_flag("--arena", o->arena, "Also a plan of the arena: where every tensor lies");
  cost->add_option("--patches", o->patches, "Run the first layers in N x N patches (MCUNetV2)")
      ->check(CLI::Range(1, 64));
  cost->add_option("--patch-split", o->patch_split,
                   "With --patches: the last layer in patches; else the one with the lowest peak");
  cost->add_option("--patch-ram", o->patch_ram, "The patches with the fewest extra MACs within so much RAM")
      ->excludes("--patches");
  show->add_option("--svg", o->svg_file, "Write a picture");
  show->add_option("--dot", o->dot_file, "Write the graph for Graphviz");
  analyse->add_option("--max-ram", o->max_ram, "Limit of the peak activations, e.g. 320KB")->required();
  analyse->add_option("--max-flash", o->max_flash, "Limit of the weights, e.g. 1MB")->required();
  analyse->add_option("--samples", o->samples, "Networks drawn per sub-space")
      ->check(CLI::Range(1, 10'000'000));
  analyse->add_option("--seed", o->seed, "Seed of the draws")->check(CLI::NonNegativeNumber);
  cost->callback([&context, o] { context.action = [&context, o] { return show_cost(context, *o); }; });
  show->callback([&context, o] { context.action = [&context, o] { return show_picture(context, *o); }; });
  analyse->callback([&context, o] { context.action = [&context, o] { return analyse_space(context, *o); }; });
}

}  // namespace nas::apps
