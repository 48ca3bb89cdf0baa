#include <charconv>
#include <optional>

#include "space/json/document.h"
#include "space/memory.h"

namespace nas {
namespace {

Error unknown(const std::string& what, std::string_view found, const std::vector<std::string>& known) {
  std::string list;
  for (const std::string& word : known) list += (list.empty() ? "" : ", ") + word;
  const std::string hint = nearest(std::string(found), known);
  return usage_error("memory model: " + what + " must be one of " + list + "; found \"" + std::string(found) +
                     "\"" + (hint.empty() ? "" : "; did you mean \"" + hint + "\"?"));
}

// Index of `word` among `known`.
Result<std::size_t> pick(const std::string& option, std::string_view word,
                         const std::vector<std::string>& known) {
  for (std::size_t i = 0; i < known.size(); ++i)
    if (known[i] == word) return i;
  return unknown(option, word, known);
}

Result<std::int32_t> whole(const std::string& option, std::string_view text, std::int32_t low,
                           std::int32_t high) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    return usage_error("memory model: " + option + " needs a whole number from " + std::to_string(low) +
                       " to " + std::to_string(high) + ", found \"" + std::string(text) + "\"");
  return value;
}

Result<void> set(MemoryOptions& o, const std::string& option, std::string_view value) {
  static const std::vector<std::string> kOptions = {"align", "depthwise", "elementwise", "im2col",
                                                    "input", "overlap",   "padding",     "residual"};
  NAS_TRY(which, pick("an option", option, kOptions));
  if (which == 0) {
    NAS_TRY(bytes, whole(option, value, 1, 4096));
    o.alignment = bytes;
  } else if (which == 1) {
    NAS_TRY(choice, pick(option, value, {"off", "free", "lines", "plane"}));
    o.depthwise = static_cast<DepthwiseInPlace>(choice);
  } else if (which == 2) {
    NAS_TRY(choice, pick(option, value, {"copy", "in-place"}));
    o.in_place_elementwise = choice == 1;
  } else if (which == 3) {
    NAS_TRY(columns, whole(option, value, 0, 4096));
    o.im2col_columns = columns;
  } else if (which == 4) {
    NAS_TRY(choice, pick(option, value, {"outside", "counted"}));
    o.count_input = choice == 1;
  } else if (which == 5) {
    NAS_TRY(choice, pick(option, value, {"off", "rows", "full"}));
    o.overlap = static_cast<ConvOverlap>(choice);
  } else if (which == 6) {
    NAS_TRY(choice, pick(option, value, {"copied", "folded"}));
    o.fold_padding = choice == 1;
  } else {
    NAS_TRY(choice, pick(option, value, {"apart", "fused"}));
    o.fusion.add = choice == 1;
  }
  return {};
}

}  // namespace

std::vector<std::string> memory_preset_names() { return {"plain", "in-place", "overlap", "tinyengine"}; }

Result<MemoryOptions> memory_preset(std::string_view name) {
  MemoryOptions options;
  if (name == "plain") return options;
  options.in_place_elementwise = true;
  options.depthwise = DepthwiseInPlace::free;
  if (name == "in-place") return options;
  if (name == "overlap") {
    options.overlap = ConvOverlap::full;
    return options;
  }
  if (name == "tinyengine") {
    options.depthwise = DepthwiseInPlace::plane;
    options.im2col_columns = 2;
    options.count_input = false;
    return options;
  }
  return unknown("its name", name, memory_preset_names());
}

Result<MemoryOptions> memory_model(std::string_view text) {
  std::size_t end = text.find(',');
  NAS_TRY(options, memory_preset(text.substr(0, end)));
  while (end != std::string_view::npos) {
    text.remove_prefix(end + 1);
    end = text.find(',');
    const std::string_view part = text.substr(0, end);
    const std::size_t equals = part.find('=');
    const std::string_view value = equals == std::string_view::npos ? "" : part.substr(equals + 1);
    NAS_CHECK(set(options, std::string(part.substr(0, equals)), value));
  }
  return options;
}

}  // namespace nas
