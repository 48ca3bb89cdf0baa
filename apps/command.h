#pragma once
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::apps {

// What every command shares. A command's callback only sets `action`; main runs it, prints its error as one
// line and turns it into the exit code.
struct Context {
  std::string format = "table";  // table, json, jsonl, csv, value
  std::string project = ".";     // the project folder: hwnas.json, hwnas.db, runs/, exports/
  int verbosity = 0;
  bool quiet = false;
  std::string program;  // path of this executable
  // Returns the exit code of a run that did not fail (0, or 3, 4, 6, 75, … with its meaning already printed).
  std::function<Result<int>()> action;
};

// One column of a listing: key in the records, heading, unit ("" for none).
struct Column {
  std::string key;
  std::string heading;
  std::string unit;
};

// Prints to stdout in the chosen format: aligned text, one JSON array, one object a line, CSV, bare values.
void print_records(const Context& context, const std::vector<Column>& columns,
                   const std::vector<nlohmann::ordered_json>& records);
// One record: "key  value" lines, or one JSON object.
void print_record(const Context& context, const std::vector<Column>& columns,
                  const nlohmann::ordered_json& record);

// The explicit list of commands, one function a group, each in <group>_commands.cpp.
void add_space_commands(CLI::App& app, Context& context);

}  // namespace nas::apps
