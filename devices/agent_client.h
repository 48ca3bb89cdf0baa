#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "devices/byte_stream.h"
#include "space/base/result.h"

namespace nas::devices {

// What an agent says about itself when it is greeted.
struct AgentInfo {
  int pointer_bytes = 0;
  int kernels = 0;
  std::uint32_t sample_limit = 0;  // most samples of one request
  std::uint64_t tick_hz = 0;       // 0: it has no clock that can be trusted (an emulator)
  std::uint64_t timer_step = 0;    // ticks
  std::uint32_t arena_bytes = 0;
  std::string platform;  // "linux aarch64"
  std::string build;     // identifies the kernels that were linked in
};

struct AgentKernel {
  std::string signature;
  std::uint32_t arena_bytes = 0;
  std::uint32_t input_bytes = 0;
  std::uint32_t output_bytes = 0;
};

struct RunRequest {
  int kernel = 0;
  std::uint32_t inner = 1;    // runs inside one sample
  std::uint32_t samples = 1;  // at most AgentInfo::sample_limit
  std::uint32_t warmups = 0;
  bool cold = false;  // evict the caches before each sample
};

// The host's side of the protocol (devices/agent/hw_protocol.h). Damaged answers are asked for again (three
// times at most); every other trouble is a device failure with its own words.
class AgentClient {
 public:
  // Greets the agent; garbage before the greeting (a boot banner) is skipped.
  static Result<AgentClient> connect(ByteStream stream,
                                     std::chrono::milliseconds timeout = std::chrono::seconds(5));

  const AgentInfo& info() const { return info_; }
  Result<AgentKernel> kernel(int index);
  // Ticks of each sample; one sample is `inner` runs.
  Result<std::vector<std::uint64_t>> run(const RunRequest& request, std::chrono::milliseconds timeout);
  // CRC-32 of the kernel's output for the input of `seed`.
  Result<std::uint32_t> check(int kernel, std::uint32_t seed, std::chrono::milliseconds timeout);
  // What the device says about its state now: governor, frequency, temperatures, load.
  Result<std::map<std::string, std::string>> probe();
  // Says goodbye and lets the agent end by itself.
  void finish();
  ByteStream& stream() { return stream_; }

 private:
  explicit AgentClient(ByteStream stream) : stream_(std::move(stream)) {}
  Result<std::vector<std::uint8_t>> ask(std::uint8_t type, const std::vector<std::uint8_t>& payload,
                                        std::chrono::milliseconds timeout);
  Result<std::vector<std::uint8_t>> await(std::uint8_t type, std::uint16_t sequence,
                                          std::chrono::milliseconds timeout);
  Result<void> greet(std::chrono::milliseconds timeout);

  ByteStream stream_;
  AgentInfo info_;
  std::uint16_t sequence_ = 0;
  std::vector<std::uint8_t> unread_;  // bytes received after the last answer
};

}  // namespace nas::devices
