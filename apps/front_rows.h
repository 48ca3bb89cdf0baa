#pragma once
#include <string>
#include <vector>

#include "apps/command.h"
#include "search/history.h"

namespace nas::apps {

// Candidates as records of numbers for print_records: number, the metrics, arch, origin.
std::vector<Column> front_columns(const search::Judge& judge);
std::vector<nlohmann::ordered_json> front_records(const search::History& history,
                                                  const std::vector<search::Row>& rows,
                                                  const std::vector<std::string>& texts);

// `most` of the rows spread evenly from the first to the last, with `keep` among them.
std::vector<search::Row> spread_rows(const std::vector<search::Row>& rows, std::size_t most,
                                     search::Row keep);

// Further verbs that read runs; add_search_commands adds them.
void add_compare_command(CLI::App& app, Context& context);
void add_try_command(CLI::App& app, Context& context);

}  // namespace nas::apps
