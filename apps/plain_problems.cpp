#include <map>

#include "apps/search_problem.h"
#include "space/cost.h"

namespace nas::apps {
namespace {

using search::Metric;
using search::Source;

std::vector<Metric> read_metrics(JsonReader& reader, std::map<std::string, std::string>& columns) {
  std::vector<Metric> metrics;
  for (JsonReader& one : reader.objects("metrics", true)) {
    Metric metric{one.text("name"), one.text("unit", ""), Source::measured};
    const std::string source = one.word("source", {"measured", "predicted", "modelled"}, "measured");
    metric.source = *search::parse_source(source);
    columns[metric.name] = one.text("column", metric.name);
    one.done();
    metrics.push_back(std::move(metric));
  }
  return metrics;
}

}  // namespace

Result<search::Additive> proxy_of(const SearchSpace& space, std::uint64_t seed) {
  std::vector<search::Term> terms;
  for (std::uint32_t gene = 0; gene < space.genes().size(); ++gene) {
    Rng rng(seed, "closed form", gene);
    search::Term term{{gene}, {0.0}};
    double step = rng.uniform(0.2, 1.0);
    for (std::size_t i = 1; i < space.genes()[gene].choices.size(); ++i, step *= 0.6)
      term.table.push_back(term.table.back() + step);
    terms.push_back(std::move(term));
  }
  return search::Additive::make(space, 0, std::move(terms));
}

Result<SearchProblem> closed_form_problem(JsonReader& reader) {
  const std::string space_name = reader.text("space", "ofa-mbv3-w1.0");
  const auto seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, 1));
  reader.done();
  NAS_TRY(space, load_space(space_name));
  NAS_TRY(proxy, proxy_of(space, seed));
  const std::vector<std::string> names{"macs_m", "params_m"};
  const auto costs = [space](const Genotype& g, std::span<double> out) {
    const Network network = space.lower(g);
    out[0] = 1e-6 * static_cast<double>(macs(network).count());
    out[1] = 1e-6 * static_cast<double>(params(network).count());
  };
  SearchProblem problem{space, {}};
  problem.known.push_back({"proxy", proxy});
  auto compiled = search::compile_additive(space, costs, names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!compiled[i]) return compiled[i].error();
    problem.known.push_back({names[i], *compiled[i]});
  }
  problem.evaluator = {{{"proxy", "", Source::modelled},
                        {"macs_m", "MMACs", Source::modelled},
                        {"params_m", "M", Source::modelled}},
                       search::ThreadSafety::concurrent,
                       nullptr};
  problem.evaluator.score = [known = problem.known](std::span<const Genotype> batch, double,
                                                    search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i)
      for (std::size_t m = 0; m < known.size(); ++m) scores.row(i)[m] = known[m].cost(batch[i]);
  };
  return problem;
}

Result<SearchProblem> table_problem(JsonReader& reader, const std::filesystem::path& base) {
  std::map<std::string, std::string> columns;
  const std::filesystem::path file = base / reader.text("file");  // an absolute file stays
  const auto genes = reader.texts("genes");
  const auto metrics = read_metrics(reader, columns);
  reader.done();
  NAS_TRY(table, search::csv_problem(file.string(), genes, metrics, columns));
  SearchProblem problem{std::move(table.space), std::move(table.evaluator)};
  problem.listing = std::move(table.listing);
  return problem;
}

}  // namespace nas::apps
