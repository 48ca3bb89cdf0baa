#include "space/learn/model_file.h"

#include <charconv>
#include <cmath>

#include "space/base/file.h"

namespace nas::learn {
namespace {

constexpr std::string_view kMagic = "hwnas-model ";

template <class T>
void append(std::string& out, std::span<const T> values) {
  char buffer[32];
  for (const T value : values) {
    out += ' ';
    out.append(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr);
  }
}

// Cuts the text up to `separator` off the front; false when there is none.
bool cut(std::string_view& rest, char separator, std::string_view& head) {
  const std::size_t at = rest.find(separator);
  if (at == std::string_view::npos) return false;
  head = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  return true;
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}

bool parse_values(std::string_view line, std::size_t count, std::vector<double>& values) {
  if (line.size() < count)
    return false;  // each takes a character at least: no huge allocation from a bad count
  values.reserve(count);
  while (!line.empty()) {
    const std::size_t at = line.find(' ');
    double value = 0;
    if (!parse_number(line.substr(0, at), value) || !std::isfinite(value)) return false;
    values.push_back(value);
    line = at == std::string_view::npos ? std::string_view{} : line.substr(at + 1);
  }
  return values.size() == count;
}

}  // namespace

ModelWriter::ModelWriter(std::string_view kind, int version)
    : out_(std::string(kMagic) + std::to_string(version) + " " + std::string(kind) + "\n") {}

void ModelWriter::numbers(std::string_view key, std::span<const double> values) {
  out_ += std::string(key) + " numbers " + std::to_string(values.size());
  append(out_, values);
  out_ += '\n';
}

void ModelWriter::numbers(std::string_view key, std::span<const float> values) {
  out_ += std::string(key) + " numbers " + std::to_string(values.size());
  append(out_, values);
  out_ += '\n';
}

void ModelWriter::text(std::string_view key, std::string_view value) {
  out_ += std::string(key) + " text " + std::to_string(value.size()) + "\n";
  out_ += value;
  out_ += '\n';
}

std::string ModelWriter::finish() && {
  out_ += "sha256 " + sha256(out_) + "\n";
  return std::move(out_);
}

Result<ModelReader> ModelReader::open(std::string_view content, std::string where, std::string_view kind,
                                      int version) {
  ModelReader reader;
  reader.where_ = std::move(where);
  if (!content.starts_with(kMagic)) return reader.error("not a model file: it must start with 'hwnas-model'");
  constexpr std::size_t kTail = 7 + 64 + 1;
  if (content.size() < kTail || content.back() != '\n' ||
      content.substr(content.size() - kTail, 7) != "sha256 ") {
    return reader.error("model file ends without its checksum: it was cut off");
  }
  std::string_view body = content.substr(0, content.size() - kTail);
  if (content.substr(content.size() - kTail + 7, 64) != sha256(body)) {
    return reader.error("model file's checksum does not match: it was changed after writing");
  }
  const std::string wanted = std::string(kMagic) + std::to_string(version) + " " + std::string(kind);
  std::string_view head;
  if (!cut(body, '\n', head) || head != wanted) {
    return reader.error("model file must start with '" + wanted + "', found '" +
                        std::string(head.substr(0, 60)) + "'");
  }
  NAS_CHECK(reader.parse(body));
  return reader;
}

Result<void> ModelReader::parse(std::string_view body) {
  const auto broken = [&](std::string_view key) {
    return error("model entry '" + std::string(key.substr(0, 40)) + "' is damaged");
  };
  while (!body.empty()) {
    std::string_view line;
    std::string_view key;
    std::string_view type;
    std::string_view count_text;
    if (!cut(body, '\n', line)) return broken(body);
    if (!cut(line, ' ', key) || !cut(line, ' ', type)) return broken(line);
    const bool more = cut(line, ' ', count_text);
    if (!more) count_text = line;
    std::size_t count = 0;
    if (!parse_number(count_text, count)) return broken(key);
    if (type == "numbers") {
      if (!parse_values(more ? line : std::string_view{}, count, numbers_[std::string(key)]))
        return broken(key);
    } else if (type == "text" && count < body.size() && body[count] == '\n') {
      texts_[std::string(key)] = std::string(body.substr(0, count));
      body.remove_prefix(count + 1);
    } else {
      return broken(key);
    }
  }
  return {};
}

Result<std::vector<double>> ModelReader::numbers(const std::string& key) const {
  const auto found = numbers_.find(key);
  if (found == numbers_.end()) return error("model file lacks the entry '" + key + "'");
  return found->second;
}

Result<std::vector<double>> ModelReader::numbers(const std::string& key, std::size_t size) const {
  NAS_TRY(values, numbers(key));
  if (values.size() != size) {
    return error("model entry '" + key + "' needs " + std::to_string(size) + " numbers, found " +
                 std::to_string(values.size()));
  }
  return values;
}

Result<double> ModelReader::number(const std::string& key) const {
  NAS_TRY(values, numbers(key, 1));
  return values[0];
}

Result<std::size_t> ModelReader::count(const std::string& key, std::size_t low, std::size_t high) const {
  NAS_TRY(value, number(key));
  if (value != std::floor(value) || value < static_cast<double>(low) || value > static_cast<double>(high)) {
    return error("model entry '" + key + "' must be a whole number from " + std::to_string(low) + " to " +
                 std::to_string(high));
  }
  return static_cast<std::size_t>(value);
}

Result<std::string> ModelReader::text(const std::string& key) const {
  const auto found = texts_.find(key);
  if (found == texts_.end()) return error("model file lacks the entry '" + key + "'");
  return found->second;
}

}  // namespace nas::learn
