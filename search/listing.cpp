#include "search/listing.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>
#include <unordered_map>

#include "search/text.h"
#include "space/base/file.h"
#include "space/base/hash.h"

namespace nas::search {
namespace {

using Cells = std::vector<std::string>;

Cells split(const std::string& line) {
  Cells cells;
  for (std::size_t from = 0; from <= line.size();) {
    const std::size_t comma = std::min(line.find(',', from), line.size());
    cells.push_back(line.substr(from, comma - from));
    from = comma + 1;
  }
  return cells;
}

struct Table {
  Cells header;
  std::vector<Cells> rows;
};

Result<Table> read_table(const std::string& path) {
  NAS_TRY(content, read_file(path));
  Table table;
  std::size_t line_number = 0;
  for (std::size_t from = 0; from < content.size();) {
    const std::size_t end = std::min(content.find('\n', from), content.size());
    std::string line = content.substr(from, end - from);
    from = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    Cells cells = split(line);
    if (table.header.empty()) {
      table.header = std::move(cells);
      continue;
    }
    if (cells.size() != table.header.size())
      return usage_error("the row has " + std::to_string(cells.size()) + " cells, the header " +
                             std::to_string(table.header.size()),
                         path + ":" + std::to_string(line_number));
    table.rows.push_back(std::move(cells));
  }
  if (table.rows.empty()) return usage_error("the table has no rows", path);
  return table;
}

Result<std::size_t> column(const Table& table, const std::string& name, const std::string& path) {
  const auto found = std::ranges::find(table.header, name);
  if (found == table.header.end())
    return usage_error("no column \"" + name + "\"; the table has " + join(table.header), path);
  return static_cast<std::size_t>(found - table.header.begin());
}

Result<double> cell_number(const Table& table, std::size_t row, std::size_t at, const std::string& path) {
  const std::string& text = table.rows[row][at];
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != 0)
    return usage_error("column " + table.header[at] + ": \"" + text + "\" is no number",
                       path + ":" + std::to_string(row + 2));
  return value;
}

Result<std::vector<std::size_t>> gene_places(const Table& table, const std::vector<std::string>& names,
                                             const std::string& path) {
  std::vector<std::size_t> places;
  for (const std::string& name : names) {
    if (!name.ends_with('*')) {
      NAS_TRY(at, column(table, name, path));
      places.push_back(at);
      continue;
    }
    for (std::size_t i = 0; i < table.header.size(); ++i)
      if (table.header[i].starts_with(name.substr(0, name.size() - 1))) places.push_back(i);
  }
  if (places.empty()) return usage_error("no column is a gene (asked: " + join(names) + ")", path);
  return places;
}

// The key of a column in the text form: "e" of all of block0_e, block1_e …, else its own name.
std::string family_of(const std::string& column, std::size_t place) {
  std::string family = column;
  if (column.starts_with("block")) {
    const std::size_t end = column.find_first_not_of("0123456789", 5);
    if (end != std::string::npos && end > 5 && column[end] == '_' && end + 1 < column.size())
      family = column.substr(end + 1);
  }
  const bool plain =
      std::ranges::all_of(family, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; });
  return plain ? family : "c" + std::to_string(place);
}

struct Genes {
  std::vector<Gene> genes;
  std::vector<Genotype> rows;
};

Result<Genes> read_genes(const Table& table, const std::vector<std::size_t>& places,
                         const std::string& path) {
  Genes out{{}, std::vector<Genotype>(table.rows.size(), Genotype(places.size()))};
  for (std::size_t g = 0; g < places.size(); ++g) {
    std::vector<double> values;
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      NAS_TRY(value, cell_number(table, row, places[g], path));
      values.push_back(value);
    }
    const std::set<double> different(values.begin(), values.end());
    if (different.size() > 256)
      return usage_error("column " + table.header[places[g]] + " has " + std::to_string(different.size()) +
                             " different values, a gene at most 256",
                         path);
    Gene gene{table.header[places[g]], family_of(table.header[places[g]], g), {}, -1, 0, 255};
    for (const double v : different) gene.choices.push_back({number(v), v});
    for (std::size_t row = 0; row < values.size(); ++row)
      out.rows[row][g] =
          static_cast<std::uint8_t>(std::distance(different.begin(), different.find(values[row])));
    out.genes.push_back(std::move(gene));
  }
  return out;
}

std::uint32_t distance(const Genotype& a, const Genotype& b) {
  std::uint32_t d = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += a[i] != b[i];
  return d;
}

Hash128 key(const Genotype& g) { return hash_bytes({g.data(), g.size()}); }

}  // namespace

void Listing::snap(Genotype& g, Rng& rng, std::span<const Genotype* const> avoid) const {
  // The kNear best by (distance, place), kept sorted while scanning.
  std::vector<std::pair<std::uint32_t, std::size_t>> near;
  for (std::size_t i = 0; i < genotypes_.size(); ++i) {
    const std::uint32_t d = distance(genotypes_[i], g);
    if (near.size() == kNear && d >= near.back().first) continue;
    if (std::ranges::any_of(avoid, [&](const Genotype* a) { return *a == genotypes_[i]; })) continue;
    if (d == 0) {
      g = genotypes_[i];
      return;
    }
    near.insert(std::ranges::upper_bound(near, std::pair(d, i)), {d, i});
    if (near.size() > kNear) near.pop_back();
  }
  if (!near.empty()) g = genotypes_[near[rng.below(near.size())].second];
}

Result<CsvProblem> csv_problem(const std::string& path, const std::vector<std::string>& gene_columns,
                               const std::vector<Metric>& metrics,
                               const std::map<std::string, std::string>& column_of) {
  NAS_TRY(table, read_table(path));
  NAS_TRY(places, gene_places(table, gene_columns, path));
  NAS_TRY(genes, read_genes(table, places, path));
  std::unordered_map<Hash128, std::vector<double>> scores;
  std::vector<Genotype> listed;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    std::vector<double> values;
    bool measured = true;
    for (const Metric& metric : metrics) {
      const auto named = column_of.find(metric.name);
      NAS_TRY(at, column(table, named == column_of.end() ? metric.name : named->second, path));
      measured = measured && !table.rows[row][at].empty();
      if (!measured) break;
      NAS_TRY(value, cell_number(table, row, at, path));
      values.push_back(value);
    }
    if (measured && scores.emplace(key(genes.rows[row]), std::move(values)).second)
      listed.push_back(genes.rows[row]);
  }
  if (listed.empty()) return usage_error("no row has all metrics", path);
  NAS_TRY(space, SearchSpace::make("csv:" + path.substr(path.rfind('/') + 1), "{}", std::move(genes.genes),
                                   [](const Genotype&, Network& network) { network.layers.clear(); }));
  Evaluator evaluator{metrics, ThreadSafety::concurrent, nullptr};
  evaluator.score = [scores = std::move(scores)](std::span<const Genotype> batch, double, Scores& out) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto found = scores.find(key(batch[i]));
      if (found == scores.end())
        out.fail(i, "the network is not in the table");
      else
        std::ranges::copy(found->second, out.row(i).begin());
    }
  };
  return CsvProblem{std::move(space), std::move(evaluator),
                    std::make_shared<const Listing>(std::move(listed))};
}

}  // namespace nas::search
