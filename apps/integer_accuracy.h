#pragma once
#include <cstdint>

#include "apps/export/subject.h"
#include "apps/trained_run.h"
#include "space/quantized_network.h"

namespace nas::apps {

// Top-1 of an integer network, as the exported C computes it (IntegerRunner, whose errors it has).
Result<double> integer_accuracy(const QuantizedNetwork& network, const LabelledImages& images);

// Top-1 of a sub-network's integer form at its layers' bits on `images` validation images, spread over the
// split: extracted, calibrated on 32 images of the recalibration split (mse), nothing trained.
Result<double> integer_accuracy(const TrainedRun& run, const Network& network, std::int64_t images);

}  // namespace nas::apps
