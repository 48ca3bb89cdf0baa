#include "space/family.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace nas {

int GeneList::add(std::string name, std::string family, std::vector<Choice> choices) {
  genes_.push_back({std::move(name), std::move(family), std::move(choices), parent_, low_, 255});
  return static_cast<int>(genes_.size()) - 1;
}

std::string number_label(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

std::vector<Choice> number_choices(const std::vector<double>& values) {
  std::vector<Choice> choices;
  for (const double v : values) choices.push_back({number_label(v), v});
  return choices;
}

std::vector<double> read_values(JsonReader& reader, const std::string& key, double low, double high,
                                bool whole, std::optional<std::vector<double>> fallback) {
  const nlohmann::json& found = reader.raw(key);
  const std::size_t errors = reader.errors();
  std::vector<double> values;
  if (found.is_null()) {
    if (!fallback) reader.fail("", "lacks the key \"" + key + "\"");
    return fallback.value_or(std::vector<double>{low});
  }
  if (found.is_object()) {
    JsonReader range = reader.object(key);
    const double from = range.number("from", low, high), to = range.number("to", low, high);
    const double step = range.number("step", whole ? 1 : 1e-6, high);
    range.done();
    for (int i = 0; i < 257 && from + i * step <= to + step * 1e-9; ++i) values.push_back(from + i * step);
  } else if (found.is_number()) {
    values = {reader.number(key, low, high)};
  } else {
    values = reader.numbers(key, low, high);
  }
  // What follows from a wrong value is no second mistake.
  if (reader.errors() > errors) return fallback.value_or(std::vector<double>{low});
  std::sort(values.begin(), values.end());
  if (values.empty()) reader.fail(key, "needs at least one value");
  if (values.size() > 256) reader.fail(key, "has more than 256 choices");
  if (std::adjacent_find(values.begin(), values.end()) != values.end())
    reader.fail(key, "holds a value twice");
  for (const double v : values)
    if (whole && v != std::floor(v)) {
      reader.fail(key, "needs whole numbers, found " + number_label(v));
      break;
    }
  if (values.empty()) values = fallback.value_or(std::vector<double>{low});
  return values;
}

}  // namespace nas
