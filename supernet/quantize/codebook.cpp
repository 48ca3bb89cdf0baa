#include "supernet/quantize/codebook.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>

namespace nas::supernet {
namespace {

// Prefix sums of different sorted values with their counts: cost of one centre for a stretch of them.
struct Stretches {
  std::vector<double> n{0}, sum{0}, squares{0};

  double cost(std::size_t from, std::size_t to) const {  // [from, to)
    const double m = n[to] - n[from], s = sum[to] - sum[from];
    return std::max(0.0, squares[to] - squares[from] - s * s / m);
  }
  double mean(std::size_t from, std::size_t to) const { return (sum[to] - sum[from]) / (n[to] - n[from]); }
};

// One row of the dynamic programme: best[j] for j in [low, high), whose last stretch begins in [first, last].
// The best beginning never falls as j grows, so halves share the work.
void fill_row(const Stretches& s, const std::vector<double>& before, std::vector<double>& best,
              std::vector<std::uint32_t>& begin, std::size_t low, std::size_t high, std::size_t first,
              std::size_t last) {
  if (low >= high) return;
  const std::size_t j = (low + high) / 2;
  best[j] = std::numeric_limits<double>::infinity();
  for (std::size_t b = first; b <= std::min(last, j - 1); ++b)
    if (const double cost = before[b] + s.cost(b, j); cost < best[j]) {
      best[j] = cost;
      begin[j] = static_cast<std::uint32_t>(b);
    }
  fill_row(s, before, best, begin, low, j, first, begin[j]);
  fill_row(s, before, best, begin, j + 1, high, begin[j], last);
}

std::uint16_t nearest(const std::vector<float>& centres, float value) {
  const auto above = std::lower_bound(centres.begin(), centres.end(), value);
  if (above == centres.begin()) return 0;
  const auto at = static_cast<std::size_t>(above - centres.begin());
  if (above == centres.end()) return static_cast<std::uint16_t>(at - 1);
  return static_cast<std::uint16_t>(value - centres[at - 1] <= centres[at] - value ? at - 1 : at);
}

}  // namespace

Codebook share_weights(std::span<const float> values, std::size_t k) {
  std::vector<float> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  Stretches s;
  std::size_t different = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i == 0 || sorted[i] != sorted[i - 1]) {
      ++different;
      for (auto* v : {&s.n, &s.sum, &s.squares}) v->push_back(v->back());
    }
    const auto x = static_cast<double>(sorted[i]);
    s.n.back() += 1;
    s.sum.back() += x;
    s.squares.back() += x * x;
  }
  k = std::min(k, different);
  std::vector<double> best(different + 1, std::numeric_limits<double>::infinity()), next(best);
  best[0] = 0;
  std::vector<std::vector<std::uint32_t>> begin(k, std::vector<std::uint32_t>(different + 1, 0));
  for (std::size_t c = 0; c < k; ++c) {
    std::fill(next.begin(), next.end(), std::numeric_limits<double>::infinity());
    fill_row(s, best, next, begin[c], c + 1, different + 1, c, different);
    best.swap(next);
  }
  Codebook book;
  for (std::size_t c = k, end = different; c-- > 0;) {
    book.centres.push_back(static_cast<float>(s.mean(begin[c][end], end)));
    end = begin[c][end];
  }
  std::reverse(book.centres.begin(), book.centres.end());
  book.stored = book.centres.size();
  for (const float v : values) book.codes.push_back(nearest(book.centres, v));
  return book;
}

Codebook ternary(std::span<const float> values, double threshold) {
  double most = 0;
  for (const float v : values) most = std::max(most, std::fabs(static_cast<double>(v)));
  double sums[2] = {0, 0};
  std::size_t counts[2] = {0, 0};
  Codebook book;
  for (const float v : values) {
    const bool zero = std::fabs(static_cast<double>(v)) <= threshold * most;
    book.codes.push_back(zero ? 1 : v < 0 ? 0 : 2);
    if (zero) continue;
    sums[v < 0 ? 0 : 1] += v;
    ++counts[v < 0 ? 0 : 1];
  }
  const auto mean = [&](int side) {
    return counts[side] > 0 ? static_cast<float>(sums[side] / static_cast<double>(counts[side])) : 0.0F;
  };
  book.centres = {mean(0), 0.0F, mean(1)};
  book.stored = 2;
  return book;
}

Codebook binary(std::span<const float> values) {
  double sum = 0;
  Codebook book;
  for (const float v : values) {
    sum += std::fabs(static_cast<double>(v));
    book.codes.push_back(v < 0 ? 0 : 1);
  }
  const auto scale = static_cast<float>(sum / static_cast<double>(std::max<std::size_t>(values.size(), 1)));
  book.centres = {-scale, scale};
  book.stored = 1;
  return book;
}

std::vector<std::uint8_t> huffman_lengths(std::span<const std::uint64_t> counts) {
  struct Node {
    std::uint64_t count;
    std::size_t id;
    bool operator>(const Node& o) const { return count != o.count ? count > o.count : id > o.id; }
  };
  std::priority_queue<Node, std::vector<Node>, std::greater<>> open;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) open.push({counts[i], i});
  std::vector<std::uint8_t> lengths(counts.size(), 0);
  if (open.size() == 1) lengths[open.top().id] = 1;
  std::vector<std::size_t> parent(2 * counts.size(), 0);
  std::size_t next = counts.size();
  while (open.size() > 1) {
    const Node a = open.top();
    open.pop();
    const Node b = open.top();
    open.pop();
    parent[a.id] = parent[b.id] = next;
    open.push({a.count + b.count, next++});
  }
  for (std::size_t i = 0; i < counts.size() && next > counts.size(); ++i)
    for (std::size_t at = i; counts[i] > 0 && at + 1 < next; at = parent[at]) ++lengths[i];
  return lengths;
}

CodedSize coded_size(const Codebook& book) {
  std::vector<std::uint64_t> counts(book.centres.size(), 0);
  for (const std::uint16_t code : book.codes) ++counts[code];
  const std::vector<std::uint8_t> lengths = huffman_lengths(counts);
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) bits += counts[i] * lengths[i];
  const auto centres = static_cast<std::int64_t>(book.centres.size());
  const auto width = std::max<std::int64_t>(1, std::bit_width(static_cast<std::uint64_t>(centres - 1)));
  const auto numbers = static_cast<std::int64_t>(4 * book.stored);
  return {numbers + (static_cast<std::int64_t>(book.codes.size()) * width + 7) / 8,
          numbers + centres + static_cast<std::int64_t>((bits + 7) / 8)};
}

namespace {

// The place of weight k of channel c: channels are innermost for depthwise.
struct ChannelPlaces {
  std::size_t channels, per;
  bool last;
  ChannelPlaces(const DeployedOp& op, const FoldedWeights& w)
      : channels(w.bias.size()), per(w.values.size() / channels), last(op.kind == DeployedKind::depthwise) {}
  std::size_t operator()(std::size_t c, std::size_t k) const { return last ? k * channels + c : c * per + k; }
};

// The size of what has no code: biases, which stay floats.
void begin_op(CodedNetwork& coded, const FoldedWeights& w) {
  const auto biases = static_cast<std::int64_t>(4 * w.bias.size());
  coded.float_bytes += static_cast<std::int64_t>(4 * w.values.size()) + biases;
  coded.size.fixed += biases;
  coded.size.huffman += biases;
}

void add_size(CodedNetwork& coded, const Codebook& book) {
  const CodedSize size = coded_size(book);
  coded.size.fixed += size.fixed;
  coded.size.huffman += size.huffman;
}

}  // namespace

TernaryWeights ternary_weights(const DeployedOp& op, const FoldedWeights& weights) {
  const ChannelPlaces at(op, weights);
  TernaryWeights t{{}, std::vector<float>(at.channels, 0)};
  std::vector<float> relative = weights.values;
  for (std::size_t c = 0; c < at.channels; ++c) {
    float& most = t.magnitudes[c];
    for (std::size_t k = 0; k < at.per; ++k) most = std::max(most, std::fabs(weights.values[at(c, k)]));
    if (!(most > 0)) most = 1;
    for (std::size_t k = 0; k < at.per; ++k) relative[at(c, k)] /= most;
  }
  t.book = ternary(relative);
  return t;
}

CodedNetwork with_ternary(FoldedNetwork folded, const std::vector<TernaryWeights>& weights) {
  CodedNetwork coded;
  for (std::size_t i = 0; i < folded.weights.size(); ++i) {
    FoldedWeights& w = folded.weights[i];
    if (folded.deployment.ops[i].part == DeployedPart::none) continue;
    begin_op(coded, w);
    const TernaryWeights& t = weights[i];
    const ChannelPlaces at(folded.deployment.ops[i], w);
    for (std::size_t c = 0; c < at.channels; ++c)
      for (std::size_t k = 0; k < at.per; ++k)
        w.values[at(c, k)] = t.magnitudes[c] * t.book.centres[t.book.codes[at(c, k)]];
    add_size(coded, t.book);
    const auto magnitudes = static_cast<std::int64_t>(4 * t.magnitudes.size());
    coded.size.fixed += magnitudes;
    coded.size.huffman += magnitudes;
  }
  coded.folded = std::move(folded);
  return coded;
}

CodedNetwork code_weights(FoldedNetwork folded, Coding how, std::size_t centres) {
  if (how == Coding::ternary) {
    std::vector<TernaryWeights> weights;
    for (std::size_t i = 0; i < folded.weights.size(); ++i)
      weights.push_back(folded.deployment.ops[i].part == DeployedPart::none
                            ? TernaryWeights{}
                            : ternary_weights(folded.deployment.ops[i], folded.weights[i]));
    return with_ternary(std::move(folded), weights);
  }
  CodedNetwork coded;
  for (std::size_t i = 0; i < folded.weights.size(); ++i) {
    FoldedWeights& w = folded.weights[i];
    if (folded.deployment.ops[i].part == DeployedPart::none) continue;
    begin_op(coded, w);
    const auto code = [&](std::span<float> values) {
      const Codebook book = how == Coding::shared ? share_weights(values, centres) : binary(values);
      for (std::size_t k = 0; k < values.size(); ++k) values[k] = book.centres[book.codes[k]];
      add_size(coded, book);
    };
    if (how == Coding::shared) {
      code(w.values);
      continue;
    }
    const ChannelPlaces at(folded.deployment.ops[i], w);
    std::vector<float> row(at.per);
    for (std::size_t c = 0; c < at.channels; ++c) {
      for (std::size_t k = 0; k < at.per; ++k) row[k] = w.values[at(c, k)];
      code(row);
      for (std::size_t k = 0; k < at.per; ++k) w.values[at(c, k)] = row[k];
    }
  }
  coded.folded = std::move(folded);
  return coded;
}

}  // namespace nas::supernet
