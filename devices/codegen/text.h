#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nas::devices::codegen {

// Values for the $NAMES$ of a template.
class Variables {
 public:
  Variables& set(const std::string& name, std::string text) {
    values_[name] = std::move(text);
    return *this;
  }
  Variables& set(const std::string& name, std::int64_t number) { return set(name, std::to_string(number)); }
  const std::string& get(const std::string& name) const;

 private:
  std::map<std::string, std::string> values_;
};

// The template with every $NAME$ replaced; a name without a value is a bug of ours (assert).
std::string fill(std::string_view text, const Variables& values);

// "static const TYPE NAME[] = {...};" in lines of about 100 characters, aligned to 16 bytes.
std::string array_text(const std::string& type, const std::string& name,
                       const std::vector<std::string>& items);
std::string array_text(const std::string& type, const std::string& name, std::span<const std::int8_t> items);
std::string array_text(const std::string& type, const std::string& name, std::span<const std::int32_t> items);
std::string array_text(const std::string& type, const std::string& name, std::span<const float> items);

// A float constant of C99 that reads back as the same bits: hexadecimal notation, "0x1.8p+1f".
std::string float_text(float value);
// INT32_MIN has no literal in C.
std::string int32_text(std::int32_t value);

}  // namespace nas::devices::codegen
