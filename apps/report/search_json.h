#pragma once
#include <nlohmann/json.hpp>

#include <span>
#include <vector>

#include "apps/report/search_source.h"

namespace nas::report {

// Rows of a run beyond this are thinned: front, best and the feasible ones of best accuracy stay, the rest is
// taken evenly, and the page says so.
inline constexpr std::size_t kMostCandidates = 20'000;

// The rows that a report shows, ascending.
std::vector<search::Row> shown_rows(const search::History& history, std::size_t most = kMostCandidates);

// Candidates as columns: number, arch (text), genes (two hexadecimal digits a gene), generation, origin,
// parents, fidelity, violation, failure (text or null), and one column a metric (null where it failed).
nlohmann::ordered_json candidate_columns(const SearchSource& source, std::span<const search::Row> rows);

// Evaluations against hypervolume and best first objective, at most 200 points. `reference` holds losses.
nlohmann::ordered_json progress_curve(const search::History& history, std::span<const double> reference);

// The worst of the runs' fronts, 10 % beyond: the reference of `hwnas compare`. Empty when no run has a
// front.
std::vector<double> common_reference(std::span<const SearchSource* const> runs);

// Everything of one run that grows while it runs: state, counts, front, best, columns of the given rows.
nlohmann::ordered_json changing_part(const SearchSource& source, std::span<const search::Row> rows,
                                     std::span<const double> reference);
// The device whose table gives the search's latencies, as its configuration names it; empty: not said.
std::string device_of(const SearchSource& source);
// Everything that stays: question, metrics, genes, config, command.
nlohmann::ordered_json fixed_part(const SearchSource& source);

}  // namespace nas::report
