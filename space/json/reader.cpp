#include <algorithm>
#include <cmath>
#include <cstdio>

#include "space/json/document.h"
#include "space/json/key_note.h"
#include "space/json/pointer.h"

namespace nas {
namespace {

using nlohmann::json;

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

std::string number_text(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", x);
  return text;
}

std::string range_text(double low, double high) {
  const bool open_low = low <= std::numeric_limits<double>::lowest();
  const bool open_high = high >= std::numeric_limits<double>::max();
  if (open_low && open_high) return "";
  if (open_high) return " of at least " + number_text(low);
  if (open_low) return " of at most " + number_text(high);
  return " from " + number_text(low) + " to " + number_text(high);
}

const json kNull;

}  // namespace

JsonReader::JsonReader(const JsonDocument& document, std::vector<Error>& errors)
    : JsonReader(document, errors, "", &document.root()) {
  if (!document.root().is_object()) {
    fail("", "needs a JSON object, found " + shown(document.root()));
    object_ = nullptr;
  }
}

JsonReader::JsonReader(const JsonDocument& document, std::vector<Error>& errors, std::string pointer,
                       const json* object)
    : document_(&document), errors_(&errors), pointer_(std::move(pointer)), object_(object) {}

const json* JsonReader::find(const std::string& key, bool required) {
  asked_.push_back(key);
  if (object_ != nullptr)
    if (const auto found = object_->find(key); found != object_->end()) return &*found;
  if (required) fail("", "lacks the key \"" + key + "\"");
  return nullptr;
}

bool JsonReader::has(const std::string& key) {
  note_key(*document_, pointer_, key, "", {});  // optional; what it is follows
  return find(key, false) != nullptr;
}

std::string JsonReader::text(const std::string& key, std::optional<std::string> fallback) {
  note_key(*document_, pointer_, key, "a string", fallback);
  const json* value = find(key, !fallback);
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  if (value != nullptr) fail(key, "needs a string, found " + shown(*value));
  return fallback.value_or("");
}

std::string JsonReader::word(const std::string& key, const std::vector<std::string>& allowed,
                             std::optional<std::string> fallback) {
  std::string choices;
  for (const std::string& word : allowed) choices += (choices.empty() ? "" : ", ") + word;
  note_key(*document_, pointer_, key, "one of " + choices, fallback);
  std::string found = text(key, fallback);
  if (std::find(allowed.begin(), allowed.end(), found) != allowed.end()) return found;
  if (object_ != nullptr && object_->contains(key) && (*object_)[key].is_string()) {
    std::string list;
    for (const auto& word : allowed) list += (list.empty() ? "" : ", ") + word;
    const std::string hint = nearest(found, allowed);
    fail(key, "\"" + found + "\" is not one of " + list +
                  (hint.empty() ? "" : "; did you mean \"" + hint + "\"?"));
  }
  return fallback.value_or(allowed.empty() ? "" : allowed.front());
}

std::int64_t JsonReader::integer(const std::string& key, std::int64_t low, std::int64_t high,
                                 std::optional<std::int64_t> fallback) {
  note_key(
      *document_, pointer_, key,
      "a whole number from " + std::to_string(low) + (high < INT64_MAX ? " to " + std::to_string(high) : ""),
      fallback);
  const json* value = find(key, !fallback);
  const std::int64_t otherwise = fallback.value_or(low);
  if (value == nullptr) return otherwise;
  const bool fits =
      value->is_number_unsigned()
          ? value->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::max<std::int64_t>(high, 0))
          : value->is_number_integer();
  if (fits && value->get<std::int64_t>() >= low && value->get<std::int64_t>() <= high)
    return value->get<std::int64_t>();
  fail(key, "needs a whole number from " + std::to_string(low) + " to " + std::to_string(high) + ", found " +
                shown(*value));
  return otherwise;
}

double JsonReader::number(const std::string& key, double low, double high, std::optional<double> fallback) {
  note_key(*document_, pointer_, key, "a number" + range_text(low, high), fallback);
  const json* value = find(key, !fallback);
  const double otherwise = fallback.value_or(low);
  if (value == nullptr) return otherwise;
  if (value->is_number())
    if (const double x = value->get<double>(); std::isfinite(x) && x >= low && x <= high) return x;
  fail(key, "needs a number" + range_text(low, high) + ", found " + shown(*value));
  return otherwise;
}

bool JsonReader::flag(const std::string& key, std::optional<bool> fallback) {
  note_key(*document_, pointer_, key, "true or false", fallback);
  const json* value = find(key, !fallback);
  if (value != nullptr && value->is_boolean()) return value->get<bool>();
  if (value != nullptr) fail(key, "needs true or false, found " + shown(*value));
  return fallback.value_or(false);
}

std::vector<std::int64_t> JsonReader::integers(const std::string& key, std::int64_t low, std::int64_t high,
                                               std::optional<std::vector<std::int64_t>> fallback) {
  const json* value = find(key, !fallback);
  if (value == nullptr) return fallback.value_or(std::vector<std::int64_t>{});
  std::vector<std::int64_t> list;
  bool good = value->is_array();
  if (good)
    for (const json& item : *value) {
      good = good && item.is_number_integer() &&
             !(item.is_number_unsigned() && item.get<std::uint64_t>() > std::uint64_t{1} << 62) &&
             item.get<std::int64_t>() >= low && item.get<std::int64_t>() <= high;
      if (good) list.push_back(item.get<std::int64_t>());
    }
  if (good) return list;
  fail(key, "needs a list of whole numbers from " + std::to_string(low) + " to " + std::to_string(high) +
                ", found " + shown(*value));
  return fallback.value_or(std::vector<std::int64_t>{});
}

std::vector<double> JsonReader::numbers(const std::string& key, double low, double high,
                                        std::optional<std::vector<double>> fallback) {
  const json* value = find(key, !fallback);
  if (value == nullptr) return fallback.value_or(std::vector<double>{});
  std::vector<double> list;
  bool good = value->is_array();
  if (good)
    for (const json& item : *value) {
      good = good && item.is_number() && item.get<double>() >= low && item.get<double>() <= high;
      if (good) list.push_back(item.get<double>());
    }
  if (good) return list;
  fail(key, "needs a list of numbers" + range_text(low, high) + ", found " + shown(*value));
  return fallback.value_or(std::vector<double>{});
}

std::vector<std::string> JsonReader::texts(const std::string& key,
                                           std::optional<std::vector<std::string>> fallback) {
  note_key(*document_, pointer_, key, "a list of strings", fallback);
  const json* value = find(key, !fallback);
  if (value == nullptr) return fallback.value_or(std::vector<std::string>{});
  std::vector<std::string> list;
  bool good = value->is_array();
  if (good)
    for (const json& item : *value) {
      good = good && item.is_string();
      if (good) list.push_back(item.get<std::string>());
    }
  if (good) return list;
  fail(key, "needs a list of strings, found " + shown(*value));
  return fallback.value_or(std::vector<std::string>{});
}

JsonReader JsonReader::object(const std::string& key, bool required) {
  note_key(*document_, pointer_, key, "an object", required ? std::optional<json>() : json::object());
  const json* value = find(key, required);
  if (value != nullptr && !value->is_object()) {
    fail(key, "needs an object, found " + shown(*value));
    value = nullptr;
  }
  return {*document_, *errors_, pointer_ + "/" + escaped_key(key), value};
}

std::vector<JsonReader> JsonReader::objects(const std::string& key, bool required) {
  note_key(*document_, pointer_, key, "a list of objects", required ? std::optional<json>() : json::array());
  std::vector<JsonReader> list;
  const json* value = find(key, required);
  if (value == nullptr) return list;
  if (!value->is_array()) {
    fail(key, "needs a list of objects, found " + shown(*value));
    return list;
  }
  for (std::size_t i = 0; i < value->size(); ++i) {
    const std::string item = pointer_ + "/" + escaped_key(key) + "/" + std::to_string(i);
    if ((*value)[i].is_object())
      list.push_back({*document_, *errors_, item, &(*value)[i]});
    else
      errors_->push_back(usage_error(dotted_path(item) + ": needs an object, found " + shown((*value)[i]),
                                     document_->where(item)));
  }
  return list;
}

const json& JsonReader::raw(const std::string& key) {
  const json* value = find(key, false);
  return value == nullptr ? kNull : *value;
}

std::vector<std::string> JsonReader::keys() const {
  std::vector<std::string> names;
  if (object_ != nullptr)
    for (const auto& [key, value] : object_->items()) names.push_back(key);
  return names;
}

void JsonReader::fail(const std::string& key, std::string message) {
  const std::string pointer = key.empty() ? pointer_ : pointer_ + "/" + escaped_key(key);
  const std::string path = dotted_path(pointer);
  Error error = usage_error((path.empty() ? "" : path + ": ") + message, document_->where(pointer));
  // A key that is read once per block is wrong once.
  const auto same = [&](const Error& e) { return e.message == error.message && e.where == error.where; };
  if (std::none_of(errors_->begin(), errors_->end(), same)) errors_->push_back(std::move(error));
}

std::string JsonReader::where(const std::string& key) const {
  return document_->where(key.empty() ? pointer_ : pointer_ + "/" + escaped_key(key));
}

void JsonReader::done() {
  if (object_ == nullptr) return;
  for (const auto& [key, value] : object_->items()) {
    if (key == "$schema" || std::find(asked_.begin(), asked_.end(), key) != asked_.end()) continue;
    const std::string hint = nearest(key, asked_);
    fail(key, "unknown key" + (hint.empty() ? "" : "; did you mean \"" + hint + "\"?"));
  }
}

Error join_errors(const std::vector<Error>& errors) {
  Error joined = errors.front();
  for (std::size_t i = 1; i < errors.size() && i < 20; ++i) joined.message += "\n" + to_string(errors[i]);
  if (errors.size() > 20) joined.message += "\nand " + std::to_string(errors.size() - 20) + " more errors";
  return joined;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j < row.size(); ++j) {
        const std::size_t above = row[j];
        row[j] =
            std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] == candidate[j - 1] ? 0u : 1u)});
        diagonal = above;
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace nas
