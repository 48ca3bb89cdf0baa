#include "latency/measured_networks.h"

#include <charconv>

#include "latency/csv.h"

namespace nas::latency {
namespace {

// "3-5-7" as numbers; empty when it is none.
std::vector<int> dashed(const std::string& text) {
  std::vector<int> numbers;
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    int value = 0;
    const auto [next, failed] = std::from_chars(at, end, value);
    if (failed != std::errc{} || (next < end && *next != '-')) return {};
    numbers.push_back(value);
    at = next + 1;
  }
  return numbers;
}

// The genotype by the names and values of genes.
class OfaRow {
 public:
  OfaRow(const SearchSpace& space, std::string where)
      : space_(space), where_(std::move(where)), g_(space.genes().size()) {}

  Result<void> set(const std::string& name, int value) {
    const int gene = space_.find(name);
    if (gene < 0) return usage_error("the space " + space_.name() + " has no gene " + name, where_);
    const auto& choices = space_.genes()[static_cast<std::size_t>(gene)].choices;
    for (std::size_t i = 0; i < choices.size(); ++i)
      if (choices[i].value == value) {
        g_[static_cast<std::size_t>(gene)] = static_cast<std::uint8_t>(i);
        return {};
      }
    return usage_error(name + " cannot be " + std::to_string(value), where_);
  }
  Genotype canonical() const { return space_.canonical(g_); }

 private:
  const SearchSpace& space_;
  std::string where_;
  Genotype g_;
};

constexpr std::size_t kStages = 5, kBlocks = 4;

Result<Genotype> ofa_genotype(const SearchSpace& space, const Csv& csv, std::size_t row) {
  const std::string where = csv.where + ":" + std::to_string(csv.lines[row]);
  std::vector<std::vector<int>> cells;
  for (const char* name : {"r", "d", "ks", "e"}) {
    NAS_TRY(column, csv.column(name));
    cells.push_back(dashed(csv.rows[row][column]));
  }
  if (cells[0].size() != 1 || cells[1].size() != kStages || cells[2].size() != kStages * kBlocks ||
      cells[3].size() != kStages * kBlocks)
    return usage_error("required one resolution, 5 depths, 20 kernels and 20 expansions (3-5-7-…)", where);
  OfaRow network(space, where);
  NAS_CHECK(network.set("resolution", cells[0][0]));
  for (std::size_t s = 0; s < kStages; ++s) {
    const std::string stage = "stage" + std::to_string(s + 2);  // the first stage is fixed
    NAS_CHECK(network.set(stage + ".depth", cells[1][s]));
    for (std::size_t b = 0; b < kBlocks; ++b) {
      const std::string block = stage + ".block" + std::to_string(b + 1);
      NAS_CHECK(network.set(block + ".kernel", cells[2][kBlocks * s + b]));
      NAS_CHECK(network.set(block + ".expand", cells[3][kBlocks * s + b]));
    }
  }
  return network.canonical();
}

}  // namespace

Result<MeasuredNetworks> read_measured_networks(const SearchSpace& space, const std::filesystem::path& file,
                                                const std::string& column) {
  NAS_TRY(csv, read_csv(file.string()));
  NAS_TRY(at, csv.column(column));
  const bool texts = csv.has("arch");
  MeasuredNetworks out;
  for (std::size_t row = 0; row < csv.rows.size(); ++row) {
    if (csv.rows[row][at].empty()) continue;
    NAS_TRY(value, number_at(csv, row, at));
    Genotype genotype;
    if (texts) {
      NAS_TRY(arch, csv.column("arch"));
      NAS_TRY(parsed, space.parse(csv.rows[row][arch]));
      genotype = parsed;
    } else {
      NAS_TRY(read, ofa_genotype(space, csv, row));
      genotype = read;
    }
    out.networks.push_back(std::move(genotype));
    out.values.push_back(value);
  }
  return out;
}

}  // namespace nas::latency
