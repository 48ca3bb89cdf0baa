#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "results/store.h"

// Results in the forms of other tools.
namespace nas::results {

// A candidate's metric by name: a column (accuracy, latency_ms, ram_bytes, …) or a key of `extra`.
std::optional<double> metric(const Candidate& candidate, const std::string& name);

enum class TextFormat { csv, jsonl };
// All candidates of one run or of all: run, number, architecture (hash and text) and every column; how many.
Result<std::int64_t> export_candidates(Store& store, std::optional<Id> run, TextFormat format,
                                       std::ostream& out);

// Every row of every table as one JSON object a line, blobs as hexadecimal digits. Of a damaged store all
// that can be read; tables that end early are returned by name.
Result<std::vector<std::string>> dump(Store& store, std::ostream& out);

// A database that Optuna 3.x opens (its schema 12): one study a run, with directions, categorical parameters,
// values and constraints. `target` must not exist. Returns the number of trials.
Result<std::int64_t> export_optuna(Store& store, std::optional<Id> run, const std::filesystem::path& target);

// TensorBoard event files, one folder a run: its curves, and its candidates' metrics by number. Returns the
// number of points.
Result<std::int64_t> export_tensorboard(Store& store, std::optional<Id> run,
                                        const std::filesystem::path& folder);

// CRC-32C (Castagnoli, RFC 3720) and its masked form in TFRecord files.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

struct Merged {
  std::int64_t runs = 0, candidates = 0, evaluations = 0, kernel_times = 0, objects = 0;  // new here
};
// Takes over everything of another store that is not here yet. Records meet by what they are (content hashes,
// uids), so merging twice changes nothing and the order of merges does not matter, except for the numbers
// (ids) and for names of runs that are taken: those get "~2", "~3", … Runs still open there are taken as
// cancelled.
Result<Merged> merge(Store& store, const std::filesystem::path& other_project);

}  // namespace nas::results
