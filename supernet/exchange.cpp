#include "supernet/exchange.h"

#include <charconv>
#include <cstdio>
#include <utility>

namespace nas::supernet {
namespace {

constexpr std::pair<const char*, Compression> kNames[] = {
    {"none", Compression::none}, {"fp32", Compression::fp32},  {"fp16", Compression::fp16},
    {"bf16", Compression::bf16}, {"topk", Compression::top_k}, {"powersgd", Compression::power}};

}  // namespace

Result<ExchangeOptions> parse_compression(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  const std::string amount = colon == std::string::npos ? "" : text.substr(colon + 1);
  const auto wrong = [&](const char* required) {
    return usage_error("compression \"" + text + "\": required " + required);
  };
  ExchangeOptions options;
  bool known = false;
  for (const auto& [word, kind] : kNames)
    if (name == word) options.compression = kind, known = true;
  if (!known) return wrong("none, fp32, fp16, bf16, topk[:SHARE] or powersgd[:RANK]");
  if (colon == std::string::npos) return options;
  const char* const end = amount.data() + amount.size();
  if (options.compression == Compression::top_k) {
    const auto read = std::from_chars(amount.data(), end, options.share);
    if (read.ec != std::errc() || read.ptr != end || !(options.share > 0 && options.share <= 0.5))
      return wrong("a share above 0 and up to 0.5, as topk:0.01");
    return options;
  }
  if (options.compression != Compression::power) return wrong("no amount: only topk and powersgd have one");
  const auto read = std::from_chars(amount.data(), end, options.rank);
  if (read.ec != std::errc() || read.ptr != end || options.rank < 1 || options.rank > 64)
    return wrong("a rank from 1 to 64, as powersgd:4");
  return options;
}

std::string to_string(const ExchangeOptions& options) {
  char text[64];
  const char* const name = kNames[static_cast<std::size_t>(options.compression)].first;
  if (options.compression == Compression::top_k)
    std::snprintf(text, sizeof text, "%s:%g", name, options.share);
  else if (options.compression == Compression::power)
    std::snprintf(text, sizeof text, "%s:%d", name, options.rank);
  else
    std::snprintf(text, sizeof text, "%s", name);
  return text + (options.local_steps > 1
                     ? ", rounds of " + std::to_string(options.local_steps) + " local steps"
                     : std::string());
}

}  // namespace nas::supernet
