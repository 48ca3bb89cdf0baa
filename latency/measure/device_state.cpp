#include "latency/measure/device_state.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "latency/measure/statistics.h"

namespace nas::latency {
namespace {

constexpr double kShortestPause = 0.2;     // seconds between two states
constexpr double kShareOfElapsed = 0.001;  // so an hour makes some four thousand lines
constexpr double kProbingShare = 0.005;

// The number that a word begins with.
std::optional<double> leading_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !std::isfinite(value)) return {};
  return value;
}

std::optional<double> word(const std::map<std::string, std::string>& probe, const std::string& key) {
  const auto found = probe.find(key);
  return found == probe.end() ? std::nullopt : leading_number(found->second);
}

bool is_of_processor(const std::string& text) {
  return std::ranges::any_of(std::array{"cpu", "CPU", "pkg", "soc", "core", "k10temp", "Tctl"},
                             [&](const char* name) { return text.find(name) != std::string::npos; });
}

// Zones tell thousandths of a degree. Some tell nonsense when their sensor sleeps.
std::optional<double> hottest(const std::map<std::string, std::string>& probe) {
  constexpr std::string_view kZone = "temperature.";
  std::optional<double> processor, any;
  for (auto it = probe.lower_bound(std::string(kZone)); it != probe.end() && it->first.starts_with(kZone);
       ++it) {
    const auto value = leading_number(it->second);
    if (!value || *value <= 0 || *value > 150000) continue;
    any = std::max(any.value_or(0), *value / 1000);
    if (is_of_processor(it->second)) processor = std::max(processor.value_or(0), *value / 1000);
  }
  return processor ? processor : any;
}

}  // namespace

DeviceState read_state(const std::map<std::string, std::string>& probe) {
  DeviceState state;
  if (const auto khz = word(probe, "frequency_khz"); khz && *khz > 0) state.clock_mhz = *khz / 1000;
  if (const auto load = word(probe, "load"); load && *load >= 0) state.load = load;
  state.celsius = hottest(probe);
  return state;
}

StateRecorder::StateRecorder(std::function<double()> now, std::function<double()> today, Probe probe,
                             std::function<void(const DeviceState&)> keep)
    : now_(std::move(now)),
      today_(std::move(today)),
      probe_(std::move(probe)),
      keep_(std::move(keep)),
      begin_(now_()) {}

void StateRecorder::visited(const std::string& kernel, double value) {
  pending_[kernel].push_back(value);
  const double at = now_();
  if (at - last_ >= std::max({kShortestPause, kShareOfElapsed * (at - begin_), probing_ / kProbingShare}))
    record();
}

void StateRecorder::finish() {
  if (!pending_.empty()) record();
}

void StateRecorder::record() {
  const double before = now_();
  const auto probe = probe_();
  last_ = now_();
  probing_ = last_ - before;
  DeviceState state = probe ? read_state(*probe) : DeviceState{};
  state.time = today_();
  for (const auto& [kernel, values] : std::exchange(pending_, {}))
    state.references[kernel] = median_of(values);
  keep_(state);
}

}  // namespace nas::latency
