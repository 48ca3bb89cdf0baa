#pragma once
#include <nlohmann/json.hpp>

#include <string>

#include "apps/command.h"
#include "results/store.h"
#include "results/tables.h"

namespace nas::apps {

// A stored record as JSON: one key a column; binary columns are left out.
template <class Stored>
nlohmann::ordered_json to_record(const Stored& stored) {
  nlohmann::ordered_json record;
  const auto put = [&](const std::string& name, const auto& value, const auto& self) -> void {
    using Value = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<Value, results::Bytes8>) {
      return;
    } else if constexpr (std::is_enum_v<Value>) {
      record[name] = results::to_word(value);
    } else if constexpr (std::is_same_v<Value, Hash128>) {
      record[name] = to_string(value);
    } else if constexpr (requires { value.has_value(); }) {
      if (value)
        self(name, *value, self);
      else
        record[name] = nullptr;
    } else {
      record[name] = value;
    }
  };
  results::for_each_field(stored, [&](const std::string& name, const auto& value) { put(name, value, put); });
  return record;
}

// "2026-11-21 02:49:03" in UTC.
std::string time_text(results::Time time);

Result<results::Store> open_to_read(const Context& context);
Result<results::Store> open_to_write(const Context& context);

}  // namespace nas::apps
