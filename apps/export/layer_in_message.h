#pragma once
#include "space/base/result.h"
#include "space/network.h"

namespace nas::apps {

// What writers and kernels say of "operation N" of a network's deployment (or of generated C's net_opN), with
// the name of the layer that it comes from before it.
Error with_layer_name(Error error, const Network& network);

}  // namespace nas::apps
