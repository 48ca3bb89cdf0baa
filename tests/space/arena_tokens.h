#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "space/network.h"

// What layers compute in the arena machine: tokens, 32-bit numbers that depend on every element a layer
// reads.
namespace nas::oracle {

using Token = std::uint32_t;
using Tokens = std::vector<Token>;  // a tensor in HWC order
using Read = std::function<Token(std::int32_t y, std::int32_t x, std::int32_t c)>;

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
inline std::size_t element(const Shape& s, std::int32_t y, std::int32_t x, std::int32_t c) {
  return at((std::int64_t{y} * s.width + x) * s.channels + c);
}

Token weight(std::int64_t i);
bool per_channel(const Layer& l);  // a pooling window
std::int32_t groups_of(const Layer& l);
// What a window at output pixel (y, x) of the whole picture reads of one group's channels; padding is 0.
Token window(const Layer& l, std::int32_t y, std::int32_t x, std::int32_t group, const Read& in);
Token channel_of(Token sum, std::int32_t channel);  // an output channel from the sum of its group
Token unary(const Layer& l, Token v);               // batch norm, activation
Token sum_of(Token a, Token b);                     // add
Tokens pooled(const Shape& s, const Read& in);
Tokens gates(const Layer& l, const Tokens& pooled);  // squeeze-excite's

// The whole output of a layer from its inputs.
Tokens layer_tokens(const Layer& l, const Tokens& a, const Tokens& b);

// Tokens of every layer's whole output, each in memory of its own.
std::vector<Tokens> reference(const Network& network);

}  // namespace nas::oracle
