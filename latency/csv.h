#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/result.h"

namespace nas::latency {

// A table of text with a header line. Quoted fields ("a,b", "" inside) and CRLF are understood.
struct Csv {
  std::string where;  // the file, for messages
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // each as long as the header
  std::vector<std::size_t> lines;              // line number of each row in the file

  // Index of a column; fails naming the columns that exist (and the nearest one).
  Result<std::size_t> column(std::string_view name) const;
  bool has(std::string_view name) const;
};

// Fails on an empty file, an unnamed or repeated column, a row of another width, an open quote, or no rows.
Result<Csv> parse_csv(std::string_view text, std::string where);
Result<Csv> read_csv(const std::string& path);

// Rows that meet every condition: "column=value" or "!=" as text, "<", "<=", ">", ">=" as numbers. Fails when
// nothing is left.
Result<Csv> filter(Csv csv, const std::vector<std::string>& conditions);

// A field as a finite number; fails with file, line and column.
Result<double> number_at(const Csv& csv, std::size_t row, std::size_t column);

// The numbers of "A" or "A+B+…", one per row. An empty field is "not measured": NaN where `allow_missing`,
// else an error.
Result<std::vector<double>> target_column(const Csv& csv, const std::string& expression, bool allow_missing);

}  // namespace nas::latency
