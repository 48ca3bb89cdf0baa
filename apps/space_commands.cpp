#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "space/search_space.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

struct SpaceOptions {
  std::string space;
  std::string arch;
  std::uint64_t count = 1;
  std::uint64_t seed = 1;
};

Result<int> list_spaces(const Context& context) {
  std::vector<Record> records;
  for (const std::string& name : builtin_space_names()) {
    NAS_TRY(space, load_space(name));
    const auto definition = nlohmann::json::parse(space.json());
    records.push_back({{"name", name},
                       {"genes", space.genes().size()},
                       {"architectures", space.count_without_resolution()},
                       {"description", definition.value("description", "")}});
  }
  print_records(context,
                {{"name", "space"},
                 {"genes", "genes"},
                 {"architectures", "architectures"},
                 {"description", "description"}},
                records);
  return 0;
}

Result<int> count_space(const Context& context, const SpaceOptions& options) {
  NAS_TRY(space, load_space(options.space));
  const Record record{{"space", space.name()},
                      {"genes", space.genes().size()},
                      {"architectures", space.count_without_resolution()},
                      {"with_resolution", space.count()},
                      {"genotypes", space.count_genotypes()},
                      {"fingerprint", to_string(space.fingerprint())}};
  print_record(context,
               {{"space", "space"},
                {"genes", "genes"},
                {"architectures", "different architectures"},
                {"with_resolution", "  times resolutions"},
                {"genotypes", "gene settings, inactive ones counted"},
                {"fingerprint", "fingerprint"}},
               record);
  return 0;
}

Result<int> list_genes(const Context& context, const SpaceOptions& options) {
  NAS_TRY(space, load_space(options.space));
  std::vector<Record> records;
  for (const Gene& gene : space.genes()) {
    std::string choices, active = "always";
    for (const Choice& c : gene.choices) choices += (choices.empty() ? "" : " ") + c.label;
    if (gene.parent >= 0) {
      const Gene& parent = space.genes()[static_cast<std::size_t>(gene.parent)];
      active = parent.name + " >= " + parent.choices[gene.parent_low].label;
    }
    records.push_back({{"gene", gene.name}, {"key", gene.family}, {"choices", choices}, {"active", active}});
  }
  print_records(context,
                {{"gene", "gene"}, {"key", "key"}, {"choices", "choices"}, {"active", "active when"}},
                records);
  return 0;
}

Result<int> sample_space(const Context& context, const SpaceOptions& options) {
  NAS_TRY(space, load_space(options.space));
  std::vector<Record> records;
  for (std::uint64_t i = 0; i < options.count; ++i) {
    Rng rng(options.seed, "space sample", 0, i);
    const Genotype g = space.sample_canonical(rng);
    records.push_back({{"id", space.short_id(g)}, {"arch", space.text(g)}});
  }
  print_records(context, {{"id", "id"}, {"arch", "architecture"}}, records);
  return 0;
}

}  // namespace

void add_space_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<SpaceOptions>();
  CLI::App* group = add_command(app, "space", "Search spaces: what can be chosen, and what a choice costs",
                                {"hwnas space list", "hwnas space count ofa-mbv3-w1.0 -f json"});
  group->require_subcommand(0, 1);
  const auto verb = [&](const char* name, const char* description, const std::vector<std::string>& examples) {
    return add_command(*group, name, description, examples);
  };
  verb("list", "The built-in search spaces", {"hwnas space list", "hwnas space list -f json"})
      ->callback([&context] { context.action = [&context] { return list_spaces(context); }; });
  CLI::App* count = verb("count", "The exact number of architectures",
                         {"hwnas space count ofa-mbv3-w1.0 -f json", "hwnas space count my-space.json"});
  CLI::App* genes = verb("genes", "Every gene with its choices and when it is active",
                         {"hwnas space genes tiny", "hwnas space genes my-space.json -f csv"});
  CLI::App* sample =
      verb("sample", "Random architectures, uniform over different networks",
           {"hwnas space sample tiny -n 5", "hwnas space sample ofa-mbv3-w1.0 --seed 7 -f json"});
  for (CLI::App* sub : {count, genes, sample})
    sub->add_option("space", options->space, "A built-in space or a JSON file (docs/spaces.md)")->required();
  sample->add_option("-n,--count", options->count, "How many")->check(CLI::Range(1, 1'000'000));
  sample->add_option("--seed", options->seed, "Seed of the draws")->check(CLI::NonNegativeNumber);
  count->callback([&context, options] {
    context.action = [&context, options] { return count_space(context, *options); };
  });
  genes->callback([&context, options] {
    context.action = [&context, options] { return list_genes(context, *options); };
  });
  sample->callback([&context, options] {
    context.action = [&context, options] { return sample_space(context, *options); };
  });
}

}  // namespace nas::apps
