#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nas::latency {

// How a device was at one moment of a session. What the device does not tell is absent.
struct DeviceState {
  double time = 0;  // seconds since 1970
  // Reference kernels -> median of their visits since the state before, in the session's unit.
  std::map<std::string, double> references = {};
  std::optional<double> clock_mhz = {};
  std::optional<double> celsius = {};  // of the hottest zone of the processor, or of all zones
  std::optional<double> load = {};     // processes that want to run, mean of the last minute
};

// Words of an agent's probe ("frequency_khz" -> "1800000", "temperature.3" -> "45000 cpu-thermal", "load" ->
// "0.5 …") as a state without time and references. Numbers that are none are absent.
DeviceState read_state(const std::map<std::string, std::string>& probe);

// Makes a time series of states from the visits to reference kernels: at first every 0.2 s, later every
// thousandth of the time gone, and so seldom that probing takes at most half a percent of the time.
class StateRecorder {
 public:
  using Probe = std::function<std::optional<std::map<std::string, std::string>>()>;
  // `now`: seconds that only grow; `today`: seconds since 1970. `keep` gets every state.
  StateRecorder(std::function<double()> now, std::function<double()> today, Probe probe,
                std::function<void(const DeviceState&)> keep);

  // A reference kernel was visited: its median in the session's unit.
  void visited(const std::string& kernel, double value);
  // Keeps what was not kept yet.
  void finish();

 private:
  void record();

  std::function<double()> now_, today_;
  Probe probe_;
  std::function<void(const DeviceState&)> keep_;
  std::map<std::string, std::vector<double>> pending_;
  double begin_ = 0;
  double last_ = -std::numeric_limits<double>::infinity();
  double probing_ = 0;  // seconds that the last probe took
};

}  // namespace nas::latency
