#include "apps/compress/compress_options.h"

#include <cstdlib>
#include <sstream>

namespace nas::apps {
namespace {

std::vector<std::string> split(const std::string& text, char mark) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, mark);) parts.push_back(part);
  return parts;
}

// The whole text as a number, with k (1024) or M behind it where `units` says so.
std::optional<double> number(const std::string& text, double k = 0, double m = 0) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const std::string rest(end);
  if (text.empty() || end == text.c_str()) return std::nullopt;
  if (rest.empty()) return value;
  if ((rest == "k" || rest == "K" || rest == "KiB") && k > 0) return value * k;
  if ((rest == "M" || rest == "MiB") && m > 0) return value * m;
  return std::nullopt;
}

}  // namespace

Result<PruneRequest> parse_prune(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos)
    return usage_error(
        "--prune: required IMPORTANCE:RATIO such as l1:0.3, taylor:auto or second:search, found \"" + text +
        "\"");
  NAS_TRY(importance, supernet::importance_named(text.substr(0, colon)));
  PruneRequest request{importance, Choosing::given, 0};
  const std::string how = text.substr(colon + 1);
  if (how == "auto") {
    request.choosing = Choosing::sensitivity;
  } else if (how == "uniform") {
    request.choosing = Choosing::uniform;
  } else if (how == "search") {
    request.choosing = Choosing::search;
  } else {
    const auto ratio = number(how);
    if (!ratio || !(*ratio >= 0 && *ratio < 1))
      return usage_error(
          "--prune: the ratio must be in [0, 1) (the share of channels that go), uniform, auto or search, "
          "found " +
          how);
    request.ratio = *ratio;
  }
  return request;
}

Result<RankRequest> parse_rank(const std::string& text) {
  if (text == "auto") return RankRequest{Choosing::sensitivity, 1};
  const auto share = number(text);
  if (!share || !(*share > 0 && *share < 1))
    return usage_error("--rank: required a share of the full rank in (0, 1) or auto, found " + text);
  return RankRequest{Choosing::given, *share};
}

Result<BitsRequest> parse_bits(const std::string& text) {
  BitsRequest request;
  if (text == "mixed") {
    request.mixed = true;
    return request;
  }
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = part.find('=');
    const std::string name = equals == std::string::npos ? "" : part.substr(0, equals);
    const auto bits = number(equals == std::string::npos ? part : part.substr(equals + 1));
    if (!bits || *bits < 1 || *bits > 32 || *bits != static_cast<std::int32_t>(*bits))
      return usage_error(
          "--bits: required 8, 4, 2, mixed, or a list such as stage3=4,classifier=2, found \"" + part + "\"");
    request.layers.emplace_back(name, static_cast<std::int32_t>(*bits));
  }
  return request;
}

Result<CodesRequest> parse_codes(const std::string& text) {
  if (text == "ternary") return CodesRequest{supernet::Coding::ternary, 3};
  if (text == "binary") return CodesRequest{supernet::Coding::binary, 2};
  const auto centres = text.starts_with("shared:") ? number(text.substr(7)) : std::nullopt;
  if (!centres || *centres < 2 || *centres > 64 || *centres != static_cast<std::int32_t>(*centres))
    return usage_error("--codes: required shared:N with N from 2 to 64, ternary or binary, found \"" + text +
                       "\"");
  return CodesRequest{supernet::Coding::shared, static_cast<std::size_t>(*centres)};
}

Result<Limits> parse_limits(const std::string& text) {
  Limits limits;
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = part.find('=');
    const std::string name = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    std::optional<double>* place = name == "flash"     ? &limits.flash
                                   : name == "macs"    ? &limits.macs
                                   : name == "latency" ? &limits.latency
                                   : name == "energy"  ? &limits.energy
                                                       : nullptr;
    const auto found = name == "flash"  ? number(value, 1024, 1024 * 1024)
                       : name == "macs" ? number(value, 1e3, 1e6)
                                        : number(value);
    if (!place || !found || !(*found > 0))
      return usage_error(
          "--under: required flash=BYTES (40k), macs=N (2M), latency=N (Minstr or ms, as the session "
          "counts) or energy=N (microjoules), found \"" +
          part + "\"");
    *place = *found;
  }
  return limits;
}

}  // namespace nas::apps
