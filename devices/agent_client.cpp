#include "devices/agent_client.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "devices/agent/hw_protocol.h"
#include "devices/failure.h"

namespace nas::devices {
namespace {

using Bytes8 = std::vector<std::uint8_t>;
using std::chrono::milliseconds;

constexpr int kTries = 3;

// A damaged answer: the only trouble that asking again can cure.
constexpr std::string_view kDamaged = "the answer arrived damaged";

void add16(Bytes8& bytes, std::uint32_t value) {
  bytes.resize(bytes.size() + 2);
  hw_put16(bytes.data() + bytes.size() - 2, static_cast<std::uint16_t>(value));
}

void add32(Bytes8& bytes, std::uint32_t value) {
  bytes.resize(bytes.size() + 4);
  hw_put32(bytes.data() + bytes.size() - 4, value);
}

std::string text_of(std::span<const std::uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

Error refusal(const hw_frame& frame, const std::string& where) {
  if (frame.length < 2) return device_failure(Failure::rejected, "the agent refused without a reason", where);
  const std::uint16_t code = hw_get16(frame.payload);
  const std::string text = text_of({frame.payload + 2, frame.length - 2});
  if (code == HW_REFUSED_DAMAGED) return device_failure(Failure::rejected, std::string(kDamaged), where);
  if (code == HW_REFUSED_FAULT) return device_failure(Failure::crashed, text, where);
  return device_failure(Failure::rejected, text + " (code " + std::to_string(code) + ")", where);
}

Error bad_frame(hw_event event, const hw_frame& frame, const std::string& where) {
  if (event == HW_BAD_VERSION)
    return device_failure(Failure::rejected,
                          "the agent must speak protocol version " + std::to_string(HW_PROTOCOL_VERSION) +
                              ", found version " + std::to_string(frame.version),
                          where);
  if (event == HW_BAD_LENGTH)
    return device_failure(Failure::rejected,
                          "an answer may have " + std::to_string(HW_REPLY_LIMIT) + " bytes, found one of " +
                              std::to_string(frame.length),
                          where);
  return device_failure(Failure::rejected, std::string(kDamaged), where);
}

bool is_damaged(const Error& error) { return error.message.ends_with(kDamaged); }

Error wrong_length(const std::string& where) {
  return device_failure(Failure::rejected, "the answer's length is wrong for its type", where);
}

}  // namespace

Result<AgentClient> AgentClient::connect(ByteStream stream, milliseconds timeout) {
  AgentClient client(std::move(stream));
  NAS_CHECK(client.greet(timeout));
  return client;
}

// Over a serial line the first bytes may be lost while the board starts: the greeting is repeated, each try
// with a third of the time.
Result<void> AgentClient::greet(milliseconds timeout) {
  const Bytes8 versions{HW_PROTOCOL_VERSION, HW_PROTOCOL_VERSION};
  Result<Bytes8> answer = Bytes8{};
  for (int attempt = 0; attempt < kTries; ++attempt) {
    answer = ask(HW_HELLO, versions, timeout / kTries);
    if (answer || failure_of(answer.error()) != Failure::timed_out) break;
  }
  if (!answer && failure_of(answer.error()) == Failure::timed_out)
    return device_failure(Failure::not_responding,
                          "no agent answered in " + std::to_string(timeout.count()) + " ms", stream_.name());
  if (!answer) return answer.error();
  const Bytes8& a = *answer;
  const auto end = a.size() < 28 ? a.end() : std::find(a.begin() + 28, a.end(), std::uint8_t{0});
  if (end == a.end()) return wrong_length(stream_.name());
  info_.pointer_bytes = a[1];
  info_.kernels = hw_get16(&a[2]);
  info_.sample_limit = std::min<std::uint32_t>(hw_get32(&a[4]), HW_SAMPLE_LIMIT);
  info_.tick_hz = hw_get64(&a[8]);
  info_.timer_step = hw_get64(&a[16]);
  info_.arena_bytes = hw_get32(&a[24]);
  info_.platform.assign(a.begin() + 28, end);
  info_.build.assign(end + 1, a.end());
  return {};
}

Result<Bytes8> AgentClient::ask(std::uint8_t type, const Bytes8& payload, milliseconds timeout) {
  std::array<std::uint8_t, HW_HEADER_BYTES + HW_REQUEST_LIMIT + HW_TRAILER_BYTES> frame;
  Result<Bytes8> answer = Bytes8{};
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const std::uint16_t sequence = ++sequence_;
    const std::uint32_t size = hw_encode(frame.data(), frame.size(), type, sequence, payload.data(),
                                         static_cast<std::uint32_t>(payload.size()));
    NAS_CHECK(stream_.write(std::span(frame).first(size), milliseconds(2000)));
    answer = await(type, sequence, timeout);
    if (answer || !is_damaged(answer.error())) break;
  }
  return answer;
}

// Reads frames until the one that answers `sequence`; late answers to earlier requests are passed over.
Result<Bytes8> AgentClient::await(std::uint8_t type, std::uint16_t sequence, milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::array<std::uint8_t, HW_HEADER_BYTES + HW_REPLY_LIMIT + HW_TRAILER_BYTES> buffer;
  std::array<std::uint8_t, 4096> chunk;
  hw_parser parser;
  hw_parser_init(&parser, buffer.data(), buffer.size());
  for (;;) {
    while (!unread_.empty()) {
      hw_frame frame{};
      std::size_t used = 0;
      hw_event event = HW_MORE;
      while (used < unread_.size() && event == HW_MORE)
        event = hw_parser_push(&parser, unread_[used++], &frame);
      unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(used));
      if (event == HW_MORE) break;
      if (event != HW_FRAME) return bad_frame(event, frame, stream_.name());
      if (frame.sequence != sequence) continue;
      if (frame.type == HW_REFUSED) return refusal(frame, stream_.name());
      if (frame.type == (type | HW_REPLY)) return Bytes8(frame.payload, frame.payload + frame.length);
      return device_failure(Failure::rejected, "the answer has another type than the request",
                            stream_.name());
    }
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return device_failure(Failure::timed_out, "no answer in " + std::to_string(timeout.count()) + " ms",
                            stream_.name());
    NAS_TRY(got, stream_.read(chunk, left));
    unread_.assign(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got));
  }
}

Result<AgentKernel> AgentClient::kernel(int index) {
  Bytes8 request;
  add16(request, static_cast<std::uint32_t>(index));
  NAS_TRY(a, ask(HW_KERNEL, request, milliseconds(5000)));
  if (a.size() < 12) return wrong_length(stream_.name());
  return AgentKernel{text_of(std::span(a).subspan(12)), hw_get32(&a[0]), hw_get32(&a[4]), hw_get32(&a[8])};
}

Result<std::vector<std::uint64_t>> AgentClient::run(const RunRequest& request, milliseconds timeout) {
  Bytes8 bytes;
  add16(bytes, static_cast<std::uint32_t>(request.kernel));
  add16(bytes, request.cold ? HW_RUN_COLD : 0);
  add32(bytes, request.inner);
  add32(bytes, request.samples);
  add32(bytes, request.warmups);
  NAS_TRY(a, ask(HW_RUN, bytes, timeout));
  if (a.size() != 4 + std::size_t{8} * request.samples || hw_get32(a.data()) != request.samples)
    return wrong_length(stream_.name());
  std::vector<std::uint64_t> ticks(request.samples);
  for (std::size_t i = 0; i < ticks.size(); ++i) ticks[i] = hw_get64(&a[4 + 8 * i]);
  return ticks;
}

Result<std::uint32_t> AgentClient::check(int kernel, std::uint32_t seed, milliseconds timeout) {
  Bytes8 request;
  add16(request, static_cast<std::uint32_t>(kernel));
  add32(request, seed);
  NAS_TRY(a, ask(HW_CHECK, request, timeout));
  if (a.size() != 4) return wrong_length(stream_.name());
  return hw_get32(a.data());
}

Result<std::map<std::string, std::string>> AgentClient::probe() {
  NAS_TRY(a, ask(HW_PROBE, {}, milliseconds(5000)));
  std::istringstream lines(text_of(a));
  std::map<std::string, std::string> state;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t space = line.find(' ');
    if (space != std::string::npos) state[line.substr(0, space)] = line.substr(space + 1);
  }
  return state;
}

void AgentClient::finish() {
  // The agent may be gone already: nothing is lost then.
  static_cast<void>(ask(HW_BYE, {}, milliseconds(500)));
  stream_.close(milliseconds(500));
}

}  // namespace nas::devices
