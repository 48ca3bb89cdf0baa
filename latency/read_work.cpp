#include <algorithm>
#include <map>

#include "latency/leave_out.h"

namespace nas::latency {
namespace {

// The first of `names` that the text contains.
Result<std::string> first_of(const std::vector<std::string>& names, const std::string& text, const char* what,
                             const std::string& where) {
  for (const std::string& name : names)
    if (text.find(name) != std::string::npos) return name;
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return usage_error(std::string("a row is of no ") + what + ": '" + text + "' contains none of " + all,
                     where);
}

// Each row's value as the index among the different ones, in ascending order of their text.
std::vector<std::size_t> as_word(const std::vector<std::string>& texts) {
  std::map<std::string, std::size_t> index;
  for (const std::string& text : texts) index[text] = 0;
  std::size_t next = 0;
  for (auto& [text, value] : index) value = next++;
  std::vector<std::size_t> out;
  for (const std::string& text : texts) out.push_back(index[text]);
  return out;
}

bool all_numbers(const Csv& csv, std::size_t column) {
  for (std::size_t i = 0; i < csv.rows.size(); ++i)
    if (!number_at(csv, i, column)) return false;
  return true;
}

}  // namespace

Result<WorkRows> read_work(const Csv& csv, const std::vector<std::string>& columns,
                           const std::string& group_column, const std::vector<std::string>& groups,
                           const std::vector<std::string>& kinds) {
  const std::size_t n = csv.rows.size();
  const auto where = [&](std::size_t row) { return csv.where + ":" + std::to_string(csv.lines[row]); };
  WorkRows out;
  NAS_TRY(names, csv.column(group_column));
  std::vector<std::string> kind;
  for (std::size_t i = 0; i < n; ++i) {
    out.group.push_back(csv.rows[i][names]);
    if (!groups.empty()) {
      NAS_TRY(group, first_of(groups, csv.rows[i][names], "group", where(i)));
      out.group.back() = std::move(group);
    }
    if (kinds.empty()) continue;
    NAS_TRY(one, first_of(kinds, csv.rows[i][names], "kind", where(i)));
    kind.push_back(std::move(one));
  }
  std::vector<std::size_t> numbers;
  for (const std::string& name : columns) {
    NAS_TRY(column, csv.column(name));
    if (all_numbers(csv, column)) {
      numbers.push_back(column);
      continue;
    }
    std::vector<std::string> texts;
    for (const auto& row : csv.rows) texts.push_back(row[column]);
    out.words.push_back(as_word(texts));
  }
  if (!kinds.empty()) out.words.push_back(as_word(kind));
  out.work = learn::Matrix(n, numbers.size());
  for (std::size_t j = 0; j < numbers.size(); ++j) {
    for (std::size_t i = 0; i < n; ++i) {
      NAS_TRY(value, number_at(csv, i, numbers[j]));
      if (value < 0)
        return usage_error("an amount of work cannot be negative: '" + csv.header[numbers[j]] + "' is " +
                               csv.rows[i][numbers[j]],
                           where(i));
      out.work(i, j) = value;
    }
  }
  return out;
}

}  // namespace nas::latency
