#include "space/json/document.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "space/base/file.h"
#include "space/json/key_facts.h"

namespace nas {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
constexpr int kMaxDepth = 64;

// Line and column (both from 1, columns in bytes) of an offset.
std::string place(std::string_view text, std::size_t offset) {
  offset = std::min(offset, text.size());
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t start = before.rfind('\n');
  const std::size_t column = offset - (start == std::string_view::npos ? 0 : start + 1) + 1;
  return std::to_string(line) + ":" + std::to_string(column);
}

std::string escaped(const std::string& key) {
  std::string out;
  for (const char c : key)
    out += c == '~' ? std::string("~0") : c == '/' ? std::string("~1") : std::string(1, c);
  return out;
}

// Skips white space and comments, then returns the offset of the next token.
std::size_t skip_space(std::string_view text, std::size_t i) {
  while (i < text.size()) {
    if (std::string_view(" \t\r\n").find(text[i]) != std::string_view::npos) {
      ++i;
    } else if (text.substr(i, 2) == "//") {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.substr(i, 2) == "/*") {
      const std::size_t end = text.find("*/", i + 2);
      i = end == std::string_view::npos ? text.size() : end + 2;
    } else {
      return i;
    }
  }
  return i;
}

std::size_t skip_string(std::string_view text, std::size_t i) {
  for (++i; i < text.size() && text[i] != '"'; ++i)
    if (text[i] == '\\') ++i;
  return std::min(i + 1, text.size());
}

bool too_deep(std::string_view text) {
  int depth = 0;
  for (std::size_t i = skip_space(text, 0); i < text.size(); i = skip_space(text, i)) {
    const char c = text[i];
    if (c == '"') {
      i = skip_string(text, i);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (depth > kMaxDepth) return true;
    ++i;
  }
  return false;
}

// Walks text that nlohmann has accepted and notes where every key and array element stands.
class PlaceScanner {
 public:
  PlaceScanner(std::string_view text, std::unordered_map<std::string, std::size_t>& offsets)
      : text_(text), offsets_(offsets) {}

  void run() { value(""); }
  const std::optional<std::pair<std::string, std::size_t>>& duplicate() const { return duplicate_; }

 private:
  void value(const std::string& pointer) {
    at_ = skip_space(text_, at_);
    if (text_[at_] == '{') return object(pointer);
    if (text_[at_] == '[') return array(pointer);
    if (text_[at_] == '"') {
      at_ = skip_string(text_, at_);
      return;
    }
    while (at_ < text_.size() && std::string_view(",]} \t\r\n/").find(text_[at_]) == std::string_view::npos)
      ++at_;
  }

  void object(const std::string& pointer) {
    std::set<std::string> seen;
    at_ = skip_space(text_, at_ + 1);
    while (text_[at_] != '}') {
      const std::size_t start = at_;
      at_ = skip_string(text_, at_);
      const std::string key = json::parse(text_.substr(start, at_ - start)).get<std::string>();
      if (!seen.insert(key).second && !duplicate_) duplicate_ = {key, start};
      const std::string child = pointer + "/" + escaped(key);
      offsets_[child] = start;
      at_ = skip_space(text_, at_) + 1;  // the colon
      value(child);
      next();
    }
    ++at_;
  }

  void array(const std::string& pointer) {
    at_ = skip_space(text_, at_ + 1);
    for (std::size_t i = 0; text_[at_] != ']'; ++i) {
      const std::string child = pointer + "/" + std::to_string(i);
      offsets_[child] = at_;
      value(child);
      next();
    }
    ++at_;
  }

  void next() {
    at_ = skip_space(text_, at_);
    if (text_[at_] == ',') at_ = skip_space(text_, at_ + 1);
  }

  std::string_view text_;
  std::unordered_map<std::string, std::size_t>& offsets_;
  std::size_t at_ = 0;
  std::optional<std::pair<std::string, std::size_t>> duplicate_;
};

// "/search/limits/0/max" -> "search.limits[0].max".
std::string dotted(const std::string& pointer) {
  std::string out;
  std::size_t i = 0;
  while (i < pointer.size()) {
    const std::size_t end = std::min(pointer.find('/', i + 1), pointer.size());
    std::string part = pointer.substr(i + 1, end - i - 1);
    for (const auto& [from, to] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}})
      for (std::size_t p = part.find(from); p != std::string::npos; p = part.find(from, p + 1))
        part.replace(p, 2, to);
    const bool index = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    out += index ? "[" + part + "]" : (out.empty() ? "" : ".") + part;
    i = end;
  }
  return out;
}

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

// Set by keys_asked() only: where to note the keys of which document.
thread_local std::vector<KeyFact>* t_noted = nullptr;
thread_local std::string t_document;

// An empty kind: optional, and what it is follows.
void note(const JsonDocument& document, const std::string& pointer, const std::string& key,
          const std::string& kind, const std::optional<json>& fallback) {
  if (t_noted == nullptr || document.name() != t_document) return;
  std::string path;
  bool index = false;  // "targets[].name" of "/targets/0/name"
  for (const char c : dotted(pointer + "/" + escaped(key))) {
    if (!index || c == ']') path += c;
    index = c == '[' || (index && c != ']');
  }
  const auto known =
      std::find_if(t_noted->begin(), t_noted->end(), [&](const KeyFact& f) { return f.path == path; });
  if (known == t_noted->end())
    t_noted->push_back({path, kind, fallback ? fallback->dump() : "", !fallback && !kind.empty()});
  else if (known->kind.empty())
    known->kind = kind;
}

}  // namespace

std::vector<KeyFact> keys_asked(const std::string& document, const std::function<void()>& reading) {
  std::vector<KeyFact> facts;
  t_noted = &facts;
  t_document = document;
  reading();
  t_noted = nullptr;
  return facts;
}

Result<JsonDocument> JsonDocument::parse(std::string_view text, std::string name) {
  if (text.size() > kMaxBytes)
    return usage_error("JSON text of " + std::to_string(text.size()) + " bytes; at most 64 MiB are read",
                       name);
  if (too_deep(text))
    return usage_error("JSON nested deeper than " + std::to_string(kMaxDepth) + " levels", name);
  JsonDocument document;
  document.name_ = std::move(name);
  try {
    document.root_ = json::parse(text, nullptr, true, true);
  } catch (const json::parse_error& e) {
    std::string what = e.what();
    if (const auto colon = what.find(": "); colon != std::string::npos) what = what.substr(colon + 2);
    return usage_error("not valid JSON: " + what,
                       document.name_ + ":" + place(text, e.byte > 0 ? e.byte - 1 : 0));
  } catch (const json::exception& e) {
    return usage_error(std::string("not valid JSON: ") + e.what(), document.name_);
  }
  std::unordered_map<std::string, std::size_t> offsets;
  PlaceScanner scanner(text, offsets);
  scanner.run();
  if (const auto& twice = scanner.duplicate())
    return usage_error("key \"" + twice->first + "\" stands twice in one object",
                       document.name_ + ":" + place(text, twice->second));
  // Lines are found once for all offsets, in order, so that large files stay linear.
  std::vector<std::pair<std::size_t, const std::string*>> order;
  for (const auto& [pointer, offset] : offsets) order.emplace_back(offset, &pointer);
  std::sort(order.begin(), order.end());
  std::size_t line = 1, start = 0, at = 0;
  for (const auto& [offset, pointer] : order) {
    for (; at < offset; ++at)
      if (text[at] == '\n') ++line, start = at + 1;
    document.places_[*pointer] = std::to_string(line) + ":" + std::to_string(offset - start + 1);
  }
  return document;
}

Result<JsonDocument> JsonDocument::load(const std::string& path) {
  auto text = read_file(path, kMaxBytes);
  if (!text) return usage_error(text.error().message, text.error().where);
  return parse(*text, path);
}

std::string JsonDocument::where(const std::string& pointer) const {
  for (std::string p = pointer; !p.empty(); p = p.substr(0, p.rfind('/')))
    if (const auto found = places_.find(p); found != places_.end()) return name_ + ":" + found->second;
  return name_ + ":1:1";
}

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
  note(*document_, pointer_, key, "", {});  // optional; what it is follows
  return find(key, false) != nullptr;
}

std::string JsonReader::text(const std::string& key, std::optional<std::string> fallback) {
  note(*document_, pointer_, key, "a string", fallback);
  const json* value = find(key, !fallback);
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  if (value != nullptr) fail(key, "needs a string, found " + shown(*value));
  return fallback.value_or("");
}

std::string JsonReader::word(const std::string& key, const std::vector<std::string>& allowed,
                             std::optional<std::string> fallback) {
  std::string choices;
  for (const std::string& word : allowed) choices += (choices.empty() ? "" : ", ") + word;
  note(*document_, pointer_, key, "one of " + choices, fallback);
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
  note(*document_, pointer_, key,
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
  note(*document_, pointer_, key, "a number" + range_text(low, high), fallback);
  const json* value = find(key, !fallback);
  const double otherwise = fallback.value_or(low);
  if (value == nullptr) return otherwise;
  if (value->is_number())
    if (const double x = value->get<double>(); std::isfinite(x) && x >= low && x <= high) return x;
  fail(key, "needs a number" + range_text(low, high) + ", found " + shown(*value));
  return otherwise;
}

bool JsonReader::flag(const std::string& key, std::optional<bool> fallback) {
  note(*document_, pointer_, key, "true or false", fallback);
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
  note(*document_, pointer_, key, "a list of strings", fallback);
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
  note(*document_, pointer_, key, "an object", required ? std::optional<json>() : json::object());
  const json* value = find(key, required);
  if (value != nullptr && !value->is_object()) {
    fail(key, "needs an object, found " + shown(*value));
    value = nullptr;
  }
  return {*document_, *errors_, pointer_ + "/" + escaped(key), value};
}

std::vector<JsonReader> JsonReader::objects(const std::string& key, bool required) {
  note(*document_, pointer_, key, "a list of objects", required ? std::optional<json>() : json::array());
  std::vector<JsonReader> list;
  const json* value = find(key, required);
  if (value == nullptr) return list;
  if (!value->is_array()) {
    fail(key, "needs a list of objects, found " + shown(*value));
    return list;
  }
  for (std::size_t i = 0; i < value->size(); ++i) {
    const std::string item = pointer_ + "/" + escaped(key) + "/" + std::to_string(i);
    if ((*value)[i].is_object())
      list.push_back({*document_, *errors_, item, &(*value)[i]});
    else
      errors_->push_back(usage_error(dotted(item) + ": needs an object, found " + shown((*value)[i]),
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
  const std::string pointer = key.empty() ? pointer_ : pointer_ + "/" + escaped(key);
  const std::string path = dotted(pointer);
  Error error = usage_error((path.empty() ? "" : path + ": ") + message, document_->where(pointer));
  // A key that is read once per block is wrong once.
  const auto same = [&](const Error& e) { return e.message == error.message && e.where == error.where; };
  if (std::none_of(errors_->begin(), errors_->end(), same)) errors_->push_back(std::move(error));
}

std::string JsonReader::where(const std::string& key) const {
  return document_->where(key.empty() ? pointer_ : pointer_ + "/" + escaped(key));
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
