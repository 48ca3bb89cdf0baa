#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/result.h"

namespace nas::learn {

// A model as text that any program can read: a first line "hwnas-model VERSION KIND", then one entry a line
// ("key numbers N v v v …" or "key text N" followed by N bytes), and last "sha256 <hex of all before>".
// Numbers are written shortest-exact, so a model read back predicts the same bits.
class ModelWriter {
 public:
  explicit ModelWriter(std::string_view kind, int version = 1);
  void number(std::string_view key, double value) { numbers(key, {&value, 1}); }
  void numbers(std::string_view key, std::span<const double> values);
  void numbers(std::string_view key, std::span<const float> values);
  void text(std::string_view key, std::string_view value);
  std::string finish() &&;

 private:
  std::string out_;
};

// Reads what ModelWriter wrote. Every accessor fails with the key's name when an entry is missing, of another
// kind or size, or not finite.
class ModelReader {
 public:
  // Fails on a wrong checksum, another kind or version, or a line that does not parse.
  static Result<ModelReader> open(std::string_view content, std::string where, std::string_view kind,
                                  int version = 1);
  Result<double> number(const std::string& key) const;
  // A whole number in [low, high].
  Result<std::size_t> count(const std::string& key, std::size_t low, std::size_t high) const;
  Result<std::vector<double>> numbers(const std::string& key) const;
  Result<std::vector<double>> numbers(const std::string& key, std::size_t size) const;
  Result<std::string> text(const std::string& key) const;
  Error error(std::string message) const { return usage_error(std::move(message), where_); }

 private:
  Result<void> parse(std::string_view body);
  std::string where_;
  std::map<std::string, std::vector<double>> numbers_;
  std::map<std::string, std::string> texts_;
};

}  // namespace nas::learn
