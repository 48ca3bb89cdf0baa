#include "search/history.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "search/pareto.h"

namespace nas::search {
namespace {

constexpr Row kFree = UINT32_MAX;
constexpr std::array<std::string_view, 11> kOrigins = {"initial",   "random",    "enumerated", "mutation",
                                                       "crossover", "neighbour", "promising",  "uncertain",
                                                       "policy",    "promoted",  "exact"};
const std::string kNoReason;

Hash128 key_of(std::span<const std::uint8_t> genes, double fidelity) {
  return hash_bytes(genes, std::bit_cast<std::uint64_t>(fidelity));
}

}  // namespace

std::string_view to_string(Origin origin) { return kOrigins[static_cast<std::size_t>(origin)]; }

Result<Origin> parse_origin(std::string_view text) {
  const auto found = std::ranges::find(kOrigins, text);
  if (found == kOrigins.end()) return usage_error("origin: \"" + std::string(text) + "\" is unknown");
  return static_cast<Origin>(found - kOrigins.begin());
}

History::History(std::size_t genes, Judge judge)
    : judge_(std::move(judge)),
      gene_count_(genes),
      metric_count_(judge_.metrics().size()),
      slots_(64, kFree) {}

void History::reserve(std::size_t rows) {
  genes_.reserve(rows * gene_count_);
  values_.reserve(rows * metric_count_);
  losses_.reserve(rows * judge_.objectives());
  info_.reserve(rows);
  keys_.reserve(rows);
  while (slots_.size() < 2 * rows) grow();
}

Genotype History::genotype(Row row) const {
  Genotype g(gene_count_);
  const auto from = genes(row);
  for (std::size_t i = 0; i < gene_count_; ++i) g[i] = from[i];
  return g;
}

const std::string& History::reason(Row row) const {
  return failed(row) ? reasons_[static_cast<std::size_t>(info_[row].failure)] : kNoReason;
}

std::size_t History::slot_of(Hash128 key) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = key.low & mask;
  while (slots_[slot] != kFree && keys_[slots_[slot]] != key) slot = (slot + 1) & mask;
  return slot;
}

std::optional<Row> History::find(std::span<const std::uint8_t> genes, double fidelity) const {
  const Row row = slots_[slot_of(key_of(genes, fidelity))];
  return row == kFree ? std::nullopt : std::optional(row);
}

void History::grow() {
  slots_.assign(slots_.size() * 2, kFree);
  for (Row row = 0; row < keys_.size(); ++row) slots_[slot_of(keys_[row])] = row;
}

Row History::open(std::span<const std::uint8_t> genes, RowInfo info) {
  assert(genes.size() == gene_count_);
  if (2 * (info_.size() + 1) > slots_.size()) grow();
  const Row row = static_cast<Row>(info_.size());
  const Hash128 key = key_of(genes, info.fidelity);
  const std::size_t slot = slot_of(key);
  assert(slots_[slot] == kFree);
  slots_[slot] = row;
  keys_.push_back(key);
  genes_.insert(genes_.end(), genes.begin(), genes.end());
  info_.push_back(info);
  values_.resize(values_.size() + metric_count_, 0.0);
  losses_.resize(losses_.size() + judge_.objectives(), 0.0);
  return row;
}

void History::settle(Row row, std::span<const double> values) {
  assert(values.size() == metric_count_);
  info_[row].violation = judge_.violation(values);
  std::ranges::copy(values, values_.begin() + static_cast<std::ptrdiff_t>(row * metric_count_));
  const std::size_t m = judge_.objectives();
  judge_.losses(values, {losses_.data() + row * m, m});
}

void History::settle_failed(Row row, std::string reason) {
  info_[row].failure = static_cast<std::int32_t>(reasons_.size());
  reasons_.push_back(std::move(reason));
}

void History::truncate(std::size_t size) {
  info_.resize(size);
  keys_.resize(size);
  genes_.resize(size * gene_count_);
  values_.resize(size * metric_count_);
  losses_.resize(size * judge_.objectives());
  std::ranges::fill(slots_, kFree);
  for (Row row = 0; row < keys_.size(); ++row) slots_[slot_of(keys_[row])] = row;
}

bool History::dominates(Row a, Row b) const {
  if (failed(a) || failed(b)) return !failed(a) && failed(b);
  const double va = info_[a].violation, vb = info_[b].violation;
  if (va != vb) return va < vb;
  return va == 0 && pareto_dominates(losses(a), losses(b));
}

bool History::better(Row a, Row b) const {
  if (failed(a) != failed(b)) return failed(b);
  if (failed(a)) return a < b;
  const double va = info_[a].violation, vb = info_[b].violation;
  if (va != vb) return va < vb;
  const auto la = losses(a), lb = losses(b);
  for (std::size_t i = 0; i < la.size(); ++i)
    if (la[i] != lb[i]) return la[i] < lb[i];
  return a < b;
}

std::optional<Row> History::best() const {
  std::optional<Row> best;
  for (Row row = 0; row < size(); ++row)
    if (feasible(row) && (!best || better(row, *best))) best = row;
  return best;
}

std::vector<Row> History::front() const {
  std::vector<Row> rows;
  for (Row row = 0; row < size(); ++row)
    if (feasible(row)) rows.push_back(row);
  std::ranges::sort(rows, [&](Row a, Row b) { return better(a, b); });
  std::vector<Row> front;
  if (judge_.objectives() <= 2) {
    for (const Row row : rows)
      if (front.empty() || losses(row).back() < losses(front.back()).back()) front.push_back(row);
    if (judge_.objectives() == 1) front.resize(std::min<std::size_t>(front.size(), 1));
    return front;
  }
  // A row can only be dominated by one that sorts before it.
  for (const Row row : rows)
    if (std::ranges::none_of(front, [&](Row f) { return weakly_dominates(losses(f), losses(row)); }))
      front.push_back(row);
  return front;
}

}  // namespace nas::search
