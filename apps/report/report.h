#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::report {

struct ReportOptions {
  std::filesystem::path project = ".";
  std::vector<std::string> names = {};  // what to show, as find_sources() takes it; empty: the whole project
  std::string title = {};               // empty: made from the names
  std::string command = {};             // the command line that makes this report again
  std::string version = {};             // of the program
  std::string created = {};             // "2026-11-21 02:49 UTC"; empty: not said
};

// The document that the page draws (docs/report.md), kept up to date with files that grow.
class Reporter {
 public:
  // Fails (usage) when a name is nothing that can be shown. Broken parts become notes of the document.
  static Result<Reporter> open(ReportOptions options);
  Reporter(Reporter&&) noexcept;
  Reporter& operator=(Reporter&&) noexcept;
  ~Reporter();

  // Reads what changed. Opens the store for reading only, and not longer than the call.
  Result<void> refresh();
  // Names the present state: parts that were seen, rows that were read. Made from what is on disk, so another
  // process continues with it.
  std::string cursor() const;
  nlohmann::ordered_json document();
  // What is new since `cursor`, or the whole document under "whole" when no step leads there from it.
  nlohmann::ordered_json since(const std::string& cursor);

 private:
  struct Impl;
  explicit Reporter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One self-contained page: no network, strict content policy, every text from outside inside a JSON block
// with
// '<' escaped, or escaped as HTML. `live`: the page asks its server for what is new.
std::string page(const nlohmann::ordered_json& document, bool live);
// The policy that goes with page(), for the HTTP header.
std::string content_policy(bool live);

}  // namespace nas::report
