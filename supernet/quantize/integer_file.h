#pragma once
#include <string>
#include <string_view>

#include "space/network.h"
#include "space/quantized_network.h"

namespace nas::supernet {

// An integer network as bytes: a header (JSON: grids and a SHA-256 of what follows) and the weights. Of every
// operation row by row, one row an output channel: its codes packed at the operation's bits, lowest bits
// first, filled up to whole bytes; its bias, 32 bits; its scale, a float. So the weights' part takes exactly
// what weight_bytes(network, {8, 8}) says, for a network whose layers all have a deployed form.
// Little-endian.
std::string integer_bytes(const QuantizedNetwork& network);
// Bytes of the weights' part.
std::int64_t integer_payload(const QuantizedNetwork& network);

// Back, for the network that it was made of. Fails on bytes that are not such a file, whose sum differs, or
// that belong to another network. `where` is used in messages.
Result<QuantizedNetwork> integers_from_bytes(std::string_view bytes, const Network& network,
                                             const std::string& where);

}  // namespace nas::supernet
