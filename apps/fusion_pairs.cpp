#include "apps/fusion_pairs.h"

#include <algorithm>
#include <map>

#include "latency/measure/fusion_test.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using latency::KernelRecord;

}  // namespace

Result<int> test_fusion_pairs(const Context& context, const devices::DeviceProfile& device,
                              const latency::ProfileOptions& base, latency::SessionInfo info) {
  const std::string bits = info.precision == "int8" ? " w8a8 i8" : " w32a32 i32";
  std::vector<Record> rows;
  for (const std::string& second : {std::string("relu"), std::string("hard_swish"), std::string("sigmoid")})
    for (const std::string& anchor : {std::string("conv k1 s1 p0 g1 32x28x28->64x28x28"),
                                      std::string("conv k3 s1 p1 g64 64x28x28->64x28x28")}) {
      NAS_TRY(first, parse_signature(anchor + bits));
      NAS_TRY(alone, parse_signature("activation 64x28x28->64x28x28 f:" + second + bits));
      NAS_TRY(both, parse_signature(anchor + " " + second + bits));
      std::map<std::string, std::vector<double>> times;
      latency::ProfileHooks hooks;
      hooks.done = [&](const KernelRecord& r) -> Result<void> {
        if (!r.failure.empty()) return Error{r.failure, r.signature, ErrorKind::device};
        times[r.signature] = r.visit_medians.empty() ? std::vector<double>(10, r.median) : r.visit_medians;
        return {};
      };
      // Every round visits the three in turn; no kernel may be finished before the others.
      latency::ProfileOptions options = base;
      options.measure.half_width = 0;
      options.measure.max_secs = std::max(10.0, options.measure.max_secs);
      options.measure.reference_every = 0;
      NAS_CHECK(latency::profile_kernels(device, std::vector{first, alone, both}, options, info, hooks));
      NAS_TRY(test, latency::test_fusion_rounds(times[signature(first)], times[signature(alone)],
                                                times[signature(both)]));
      rows.push_back({{"first", anchor},
                      {"second", second},
                      {"statistic", test.statistic},
                      {"low", test.interval.low},
                      {"high", test.interval.high},
                      {"outcome", latency::to_string(test.outcome)}});
    }
  print_records(context,
                {{"first", "first"},
                 {"second", "second"},
                 {"statistic", "statistic"},
                 {"low", "low"},
                 {"high", "high"},
                 {"outcome", "outcome"}},
                rows);
  return 0;
}

}  // namespace nas::apps
