#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "search/problem.h"
#include "space/base/hash.h"
#include "space/genotype.h"

namespace nas::search {

// How a candidate came to be.
enum class Origin : std::uint8_t {
  initial,
  random,
  enumerated,
  mutation,
  crossover,
  neighbour,
  promising,
  uncertain,
  policy,
  promoted,
  exact,
};
std::string_view to_string(Origin origin);
Result<Origin> parse_origin(std::string_view text);

using Row = std::uint32_t;

// What is known of a row besides its genes and values.
struct RowInfo {
  double fidelity = 1;
  double violation = 0;  // 0: feasible
  std::int64_t parent_a = -1;
  std::int64_t parent_b = -1;
  std::uint32_t generation = 0;
  std::int32_t failure = -1;  // -1: scored, else index of its reason
  Origin origin = Origin::initial;
};

// Every candidate of one run in order, each different (genotype, fidelity) once. Rows never change, so a
// strategy's state can be row numbers. Memory is flat: adding a row allocates only when the arrays grow.
class History {
 public:
  History(std::size_t genes, Judge judge);

  const Judge& judge() const { return judge_; }
  std::size_t size() const { return info_.size(); }
  std::size_t gene_count() const { return gene_count_; }
  void reserve(std::size_t rows);

  std::span<const std::uint8_t> genes(Row row) const {
    return {genes_.data() + row * gene_count_, gene_count_};
  }
  Genotype genotype(Row row) const;
  // In the order of the judge's metrics; zeros where the candidate failed.
  std::span<const double> values(Row row) const {
    return {values_.data() + row * metric_count_, metric_count_};
  }
  // Objectives as numbers to minimise.
  std::span<const double> losses(Row row) const {
    return {losses_.data() + row * judge_.objectives(), judge_.objectives()};
  }
  const RowInfo& info(Row row) const { return info_[row]; }
  bool failed(Row row) const { return info_[row].failure >= 0; }
  // Scored at full fidelity and within all limits.
  bool feasible(Row row) const {
    return !failed(row) && info_[row].violation == 0 && info_[row].fidelity >= 1;
  }
  const std::string& reason(Row row) const;

  std::optional<Row> find(std::span<const std::uint8_t> genes, double fidelity = 1) const;
  // Makes a row whose scores are still to come; (genes, fidelity) must not be known yet.
  Row open(std::span<const std::uint8_t> genes, RowInfo info);
  // Gives an open row its scores, or the reason why it has none.
  void settle(Row row, std::span<const double> values);
  void settle_failed(Row row, std::string reason);
  // Removes the rows from `size` on.
  void truncate(std::size_t size);

  // Constraint domination (Deb et al. 2002): scored before failed, feasible before infeasible, less violation
  // before more, then Pareto domination of the losses.
  bool dominates(Row a, Row b) const;
  // A total order for one-objective strategies: dominance, then the first loss, then the row number.
  bool better(Row a, Row b) const;
  // The best feasible row by `better`.
  std::optional<Row> best() const;
  // Feasible and not dominated, ascending by first loss, then the others, then row; of equal losses the
  // first.
  std::vector<Row> front() const;

 private:
  std::size_t slot_of(Hash128 key) const;
  void grow();
  Judge judge_;
  std::size_t gene_count_;
  std::size_t metric_count_;
  std::vector<std::uint8_t> genes_;
  std::vector<double> values_;
  std::vector<double> losses_;
  std::vector<RowInfo> info_;
  std::vector<Hash128> keys_;
  std::vector<Row> slots_;  // open addressing, size a power of two
  std::vector<std::string> reasons_;
};

}  // namespace nas::search
