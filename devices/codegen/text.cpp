#include "devices/codegen/text.h"

#include <cassert>
#include <cstdio>
#include <limits>

namespace nas::devices::codegen {
namespace {

template <class T, class Format>
std::string formatted(const std::string& type, const std::string& name, std::span<const T> items,
                      Format format) {
  std::vector<std::string> texts;
  texts.reserve(items.size());
  for (const T& item : items) texts.push_back(format(item));
  return array_text(type, name, texts);
}

}  // namespace

const std::string& Variables::get(const std::string& name) const {
  const auto found = values_.find(name);
  assert(found != values_.end());
  return found->second;
}

std::string fill(std::string_view text, const Variables& values) {
  std::string result;
  result.reserve(text.size() * 2);
  while (!text.empty()) {
    const std::size_t begin = text.find('$');
    result += text.substr(0, begin);
    if (begin == std::string_view::npos) break;
    const std::size_t end = text.find('$', begin + 1);
    assert(end != std::string_view::npos);
    result += values.get(std::string(text.substr(begin + 1, end - begin - 1)));
    text.remove_prefix(end + 1);
  }
  return result;
}

std::string array_text(const std::string& type, const std::string& name,
                       const std::vector<std::string>& items) {
  std::string result = "static const " + type + " " + name + "[] NAS_ALIGNED = {\n";
  std::size_t column = 0;
  for (const std::string& item : items) {
    if (column + item.size() > 100) result += "\n", column = 0;
    result += item + ",";
    column += item.size() + 1;
  }
  return result + "};\n";
}

std::string array_text(const std::string& type, const std::string& name, std::span<const std::int8_t> items) {
  return formatted(type, name, items, [](std::int8_t v) { return std::to_string(v); });
}

std::string array_text(const std::string& type, const std::string& name,
                       std::span<const std::int32_t> items) {
  return formatted(type, name, items, int32_text);
}

std::string array_text(const std::string& type, const std::string& name, std::span<const float> items) {
  return formatted(type, name, items, float_text);
}

std::string float_text(float value) {
  char text[48];
  std::snprintf(text, sizeof text, "%af", static_cast<double>(value));
  return text;
}

std::string int32_text(std::int32_t value) {
  if (value == std::numeric_limits<std::int32_t>::min()) return "-2147483647-1";
  return std::to_string(value);
}

}  // namespace nas::devices::codegen
