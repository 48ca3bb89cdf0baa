#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/search_problem.h"
#include "latency/measure/session.h"

namespace nas::apps {

// What a configuration says of costs: "precision", "energy" (coefficients, docs/cost.md) and "devices", a
// list of {"session": FILE, "profile": NAME, "metric": NAME} or {"measurements": CSV, "column": NAME,
// "metric": NAME}.
struct CostRequest {
  struct Device {
    std::string session, profile, measurements, column, metric;
  };
  std::string precision = "fp32";
  std::string energy;  // empty: none
  std::vector<Device> devices;
};
CostRequest read_cost_request(JsonReader& reader);

// What a session's latencies are called where no name is given: "latency_ms", or "minstr" where instructions
// were counted.
std::string session_metric(const latency::SessionInfo& info);

// Adds macs_m, params_m, ram_kb, flash_kb and energy_uj (modelled; energy where asked) and one metric a
// device (predicted) to a problem, after the metrics that it has; what is a sum over blocks also to `known`.
Result<void> add_network_costs(SearchProblem& problem, const CostRequest& request,
                               const std::filesystem::path& base, const std::filesystem::path& project);

}  // namespace nas::apps
