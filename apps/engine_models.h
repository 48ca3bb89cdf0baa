#pragma once
#include "latency/measure/profiler.h"

namespace nas::apps {

// The writers of models and the agent with LibTorch, for the profiler.
latency::EngineParts engine_parts();

// The profile of `device` for another engine: the device itself when that is its engine, else DEVICE-ENGINE.
Result<std::string> device_with_engine(const std::string& device, const std::string& engine,
                                       const std::string& folder);

}  // namespace nas::apps
