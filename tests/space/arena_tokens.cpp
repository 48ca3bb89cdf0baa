#include "tests/space/arena_tokens.h"

namespace nas::oracle {
namespace {

Token mixed(Token v) {
  v = (v ^ (v >> 16)) * 0x7feb352du;
  v = (v ^ (v >> 15)) * 0x846ca68bu;
  return v ^ (v >> 16);
}

}  // namespace

Token weight(std::int64_t i) { return mixed(static_cast<Token>(i) + 0x9e3779b9u) | 1u; }

bool per_channel(const Layer& l) { return l.kind == LayerKind::max_pool || l.kind == LayerKind::avg_pool; }

std::int32_t groups_of(const Layer& l) { return per_channel(l) ? l.in.channels : l.groups; }

// What a window at output pixel (y, x) of the whole picture reads of one group's channels; padding is 0.
Token window(const Layer& l, std::int32_t y, std::int32_t x, std::int32_t group, const Read& in) {
  Token sum = 0;
  const std::int32_t channels = l.in.channels / groups_of(l);
  for (std::int32_t ky = 0; ky < l.kernel; ++ky)
    for (std::int32_t kx = 0; kx < l.kernel; ++kx)
      for (std::int32_t c = 0; c < channels; ++c)
        sum += weight((std::int64_t{ky} * l.kernel + kx) * channels + c) *
               in(y * l.stride - l.padding + ky, x * l.stride - l.padding + kx, group * channels + c);
  return sum;
}

Token channel_of(Token sum, std::int32_t channel) { return mixed(sum + weight(channel)); }
Token unary(const Layer& l, Token v) { return mixed(v + weight(static_cast<int>(l.kind))); }
Token sum_of(Token a, Token b) { return mixed(mixed(a) + mixed(b)); }

// Squeeze-excite's gates from the pooled channels.
Tokens gates(const Layer& l, const Tokens& pooled) {
  Token all = 0;
  for (std::size_t c = 0; c < pooled.size(); ++c) all += weight(static_cast<std::int64_t>(c)) * pooled[c];
  Token hidden = 0;
  for (std::int32_t h = 0; h < l.hidden; ++h) hidden += weight(h) * mixed(all + weight(h));
  Tokens gate(pooled.size());
  for (std::size_t c = 0; c < gate.size(); ++c) gate[c] = channel_of(hidden, static_cast<std::int32_t>(c));
  return gate;
}

Tokens pooled(const Shape& s, const Read& in) {
  Tokens sums(at(s.channels), 0);
  for (std::int32_t y = 0; y < s.height; ++y)
    for (std::int32_t x = 0; x < s.width; ++x)
      for (std::int32_t c = 0; c < s.channels; ++c) sums[at(c)] += weight(y * s.width + x) * in(y, x, c);
  return sums;
}

Tokens layer_tokens(const Layer& l, const Tokens& a, const Tokens& b) {
  Tokens out(at(l.out.elements()));
  const Read in = [&](std::int32_t y, std::int32_t x, std::int32_t c) -> Token {
    return y < 0 || x < 0 || y >= l.in.height || x >= l.in.width ? 0 : a[element(l.in, y, x, c)];
  };
  Tokens per_group;
  if (l.kind == LayerKind::global_pool) per_group = pooled(l.in, in);
  if (l.kind == LayerKind::squeeze_excite) per_group = gates(l, pooled(l.in, in));
  for (std::int32_t y = 0; y < l.out.height; ++y)
    for (std::int32_t x = 0; x < l.out.width; ++x) {
      Tokens sums;
      if (l.kind == LayerKind::conv || per_channel(l) || l.kind == LayerKind::linear)
        for (std::int32_t g = 0; g < groups_of(l); ++g) sums.push_back(window(l, y, x, g, in));
      for (std::int32_t c = 0; c < l.out.channels; ++c) {
        Token& o = out[element(l.out, y, x, c)];
        switch (l.kind) {
          case LayerKind::input:
            o = mixed(static_cast<Token>(element(l.out, y, x, c)) + 1);
            break;
          case LayerKind::zero:
            o = 0;
            break;
          case LayerKind::global_pool:
            o = per_group[at(c)];
            break;
          case LayerKind::squeeze_excite:
            o = in(y, x, c) * per_group[at(c)];
            break;
          case LayerKind::add:
            o = sum_of(in(y, x, c), b[element(l.out, y, x, c)]);
            break;
          case LayerKind::batch_norm:
          case LayerKind::activation:
            o = unary(l, in(y, x, c));
            break;
          default:
            o = channel_of(sums[at(c / (l.out.channels / groups_of(l)))], c);
            break;
        }
      }
    }
  return out;
}

std::vector<Tokens> reference(const Network& network) {
  std::vector<Tokens> all;
  const Tokens none;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    const auto of = [&](std::int32_t from) -> const Tokens& { return from < 0 ? none : all[at(from)]; };
    Tokens made = layer_tokens(l, of(l.inputs[0]), of(l.inputs[1]));
    all.push_back(std::move(made));
  }
  return all;
}

}  // namespace nas::oracle
