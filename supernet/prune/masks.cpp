#include "supernet/prune/masks.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace nas::supernet {
namespace {

bool is_masked(const Layer& l) {
  return (l.kind == LayerKind::conv && l.groups == 1) || l.kind == LayerKind::linear;
}

// The places of the `count` largest magnitudes of values[from, to), ties to the first.
void keep_largest(const std::vector<float>& values, std::size_t from, std::size_t to, std::size_t count,
                  std::vector<std::uint8_t>& stays) {
  std::vector<std::size_t> order(to - from);
  std::iota(order.begin(), order.end(), from);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::fabs(values[a]) > std::fabs(values[b]); });
  for (std::size_t i = 0; i < std::min(count, order.size()); ++i) stays[order[i]] = 1;
}

}  // namespace

Result<MaskPattern> parse_mask(std::string_view text) {
  const auto bad = [&] {
    return usage_error(
        "a mask must be a share in [0, 1) such as 0.5 or a pattern such as 2:4 (n < m <= 16), found \"" +
        std::string(text) + "\"");
  };
  MaskPattern p;
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    const std::string word(text);
    char* end = nullptr;
    p.share = std::strtod(word.c_str(), &end);
    if (word.empty() || *end != '\0' || !(p.share >= 0 && p.share < 1)) return bad();
    return p;
  }
  const auto number = [](std::string_view word, std::int32_t& value) {
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    return error == std::errc{} && end == word.data() + word.size();
  };
  if (!number(text.substr(0, colon), p.n) || !number(text.substr(colon + 1), p.m) || p.n < 1 || p.n >= p.m ||
      p.m > 16)
    return bad();
  return p;
}

Mask make_mask(const TrainedNetwork& trained, const MaskPattern& pattern) {
  Mask mask{pattern, {}};
  for (std::size_t i = 0; i < trained.network.layers.size(); ++i) {
    if (!is_masked(trained.network.layers[i])) continue;
    const NamedTensor& w = *trained.find(i, "weight");
    std::vector<std::uint8_t> stays(w.values.size(), 0);
    if (pattern.m == 0) {
      const auto gone = static_cast<std::size_t>(pattern.share * static_cast<double>(w.values.size()));
      keep_largest(w.values, 0, w.values.size(), w.values.size() - gone, stays);
    } else {
      const std::size_t row = w.values.size() / static_cast<std::size_t>(w.shape[0]);
      const auto m = static_cast<std::size_t>(pattern.m);
      for (std::size_t r = 0; r < w.values.size(); r += row)
        for (std::size_t k = 0; k < row; k += m)
          keep_largest(w.values, r + k, r + std::min(k + m, row), static_cast<std::size_t>(pattern.n), stays);
    }
    mask.stays.emplace_back(w.name, std::move(stays));
  }
  return mask;
}

void apply(const Mask& mask, TrainedNetwork& trained) {
  for (const auto& [name, stays] : mask.stays) {
    auto w = std::ranges::find(trained.tensors, name, &NamedTensor::name);
    if (w == trained.tensors.end()) continue;
    for (std::size_t i = 0; i < stays.size(); ++i)
      if (stays[i] == 0) w->values[i] = 0;
  }
}

MaskedSize masked_size(const Mask& mask) {
  MaskedSize size;
  std::int64_t stay = 0;
  for (const auto& [name, stays] : mask.stays) {
    const auto here = static_cast<std::int64_t>(std::count(stays.begin(), stays.end(), std::uint8_t{1}));
    const auto all = static_cast<std::int64_t>(stays.size());
    size.weights += all;
    stay += here;
    const std::int64_t index_bits =
        mask.pattern.m > 0 ? here * std::bit_width(static_cast<std::uint32_t>(mask.pattern.m - 1)) : all;
    size.masked_bytes += here + (index_bits + 7) / 8;
  }
  size.zeros = size.weights - stay;
  size.dense_bytes = size.weights;
  return size;
}

}  // namespace nas::supernet
