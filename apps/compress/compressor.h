#pragma once
#include "apps/compress/compressed_folder.h"
#include "apps/compress/costs.h"
#include "apps/trained_run.h"

namespace nas::apps {

// Prunes, masks, factors, assigns bits, codes and rounds the network that the options name, in this order,
// each where it is asked for. compression.json's "stages" has what every step left: accuracy on validation
// images, MACs, bytes of the weights, predicted latency. Fails (infeasible) when a limit is broken at the
// end.
Result<CompressedNetwork> compress_network(const Context& context, const CompressOptions& options);

}  // namespace nas::apps
