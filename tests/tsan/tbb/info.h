#pragma once
#include "tbb/global_control.h"

namespace tbb::info {

inline int default_concurrency() { return static_cast<int>(global_control::threads()); }

}  // namespace tbb::info
