#pragma once
#include <nlohmann/json.hpp>

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "space/base/result.h"

namespace nas {

// JSON with // and /* */ comments whose values remember where they stood in the text.
class JsonDocument {
 public:
  // `name` is the file's name for messages. Fails with name:line:column on a syntax error, a duplicate key,
  // nesting beyond 64, or a text over 64 MiB.
  static Result<JsonDocument> parse(std::string_view text, std::string name);
  static Result<JsonDocument> load(const std::string& path);

  const nlohmann::json& root() const { return root_; }
  const std::string& name() const { return name_; }
  // "file:line:column" of the key (or array element) at a JSON pointer; of its nearest parent if unknown.
  std::string where(const std::string& pointer) const;

 private:
  std::string name_;
  nlohmann::json root_;
  std::unordered_map<std::string, std::string> places_;  // pointer -> "line:column"
};

// Reads one object strictly. Ask for every key that is allowed, then call done(): keys nobody asked for
// become errors with a suggestion. Errors collect in the shared list, so that a user sees all of them at
// once; after an error the readers return the fallback. A reader of an absent object returns fallbacks.
class JsonReader {
 public:
  JsonReader(const JsonDocument& document, std::vector<Error>& errors);

  bool has(const std::string& key);
  // Required when `fallback` is empty.
  std::string text(const std::string& key, std::optional<std::string> fallback = {});
  // One of `allowed`; the message lists them and suggests the nearest.
  std::string word(const std::string& key, const std::vector<std::string>& allowed,
                   std::optional<std::string> fallback = {});
  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = {});
  double number(const std::string& key, double low, double high, std::optional<double> fallback = {});
  bool flag(const std::string& key, std::optional<bool> fallback = {});
  std::vector<std::int64_t> integers(const std::string& key, std::int64_t low, std::int64_t high,
                                     std::optional<std::vector<std::int64_t>> fallback = {});
  std::vector<double> numbers(const std::string& key, double low, double high,
                              std::optional<std::vector<double>> fallback = {});
  std::vector<std::string> texts(const std::string& key,
                                 std::optional<std::vector<std::string>> fallback = {});
  // A nested object; absent and not required: an empty one.
  JsonReader object(const std::string& key, bool required = false);
  std::vector<JsonReader> objects(const std::string& key, bool required = false);
  // The raw value, null when absent; counts as read.
  const nlohmann::json& raw(const std::string& key);
  // Every key of the object, in file order of names; for maps with free names.
  std::vector<std::string> keys() const;

  // An error at `key` (or at the object itself when empty).
  void fail(const std::string& key, std::string message);
  std::string where(const std::string& key = {}) const;
  void done();
  // Errors collected so far, of this and all other readers of the list.
  std::size_t errors() const { return errors_->size(); }

 private:
  JsonReader(const JsonDocument& document, std::vector<Error>& errors, std::string pointer,
             const nlohmann::json* object);
  const nlohmann::json* find(const std::string& key, bool required);
  const JsonDocument* document_;
  std::vector<Error>* errors_;
  std::string pointer_;
  const nlohmann::json* object_;  // null: absent
  std::vector<std::string> asked_;
};

// All collected errors as one: their lines joined, the first one's place and kind.
Error join_errors(const std::vector<Error>& errors);

// The candidate with the smallest edit distance if it is near enough to be a typing error, else empty.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace nas
