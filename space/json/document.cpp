#include "space/json/document.h"

#include <algorithm>
#include <set>

#include "space/base/file.h"
#include "space/json/pointer.h"

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
      const std::string child = pointer + "/" + escaped_key(key);
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

}  // namespace

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

}  // namespace nas
