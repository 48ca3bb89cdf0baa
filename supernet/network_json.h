#pragma once
#include <string>

#include "space/base/result.h"
#include "space/network.h"

namespace nas::supernet {

// A network as JSON text: one array of whole numbers a layer, in the order of Layer's members.
std::string network_to_json(const Network& network);
// Checked with validate(); `where` is used in messages.
Result<Network> network_from_json(const std::string& text, const std::string& where);

}  // namespace nas::supernet
