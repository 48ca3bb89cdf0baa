#include <gtest/gtest.h>
#include <zlib.h>

#include <vector>

#include "devices/agent/hw_protocol.h"
#include "space/base/rng.h"

namespace nas::devices {
namespace {

using Bytes8 = std::vector<std::uint8_t>;

Bytes8 encoded(std::uint8_t type, std::uint16_t sequence, const Bytes8& payload) {
  Bytes8 frame(HW_HEADER_BYTES + payload.size() + HW_TRAILER_BYTES);
  EXPECT_EQ(frame.size(), hw_encode(frame.data(), static_cast<std::uint32_t>(frame.size()), type, sequence,
                                    payload.data(), static_cast<std::uint32_t>(payload.size())));
  return frame;
}

struct Seen {
  std::vector<hw_event> events;
  std::vector<Bytes8> payloads;
  std::uint32_t dropped = 0;
};

Seen push_all(const Bytes8& bytes, std::uint32_t limit = 64) {
  Bytes8 buffer(HW_HEADER_BYTES + limit + HW_TRAILER_BYTES);
  hw_parser parser;
  hw_parser_init(&parser, buffer.data(), static_cast<std::uint32_t>(buffer.size()));
  Seen seen;
  for (const std::uint8_t byte : bytes) {
    hw_frame frame{};
    const hw_event event = hw_parser_push(&parser, byte, &frame);
    EXPECT_LT(parser.filled, parser.capacity + 1);
    if (event == HW_MORE) continue;
    seen.events.push_back(event);
    if (event == HW_FRAME) seen.payloads.emplace_back(frame.payload, frame.payload + frame.length);
  }
  seen.dropped = parser.dropped;
  return seen;
}

TEST(Protocol, ChecksumIsThatOfZlib) {
  Rng rng(1, "crc");
  for (std::size_t size = 0; size < 200; ++size) {
    Bytes8 bytes(size);
    for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(rng.next());
    EXPECT_EQ(hw_crc32(0, bytes.data(), size), crc32(0, bytes.data(), static_cast<unsigned>(size)));
  }
}

TEST(Protocol, FramesComeThroughGarbageBetweenThem) {
  Bytes8 line{'b', 'o', 'o', 't', ' ', 'H', 'H', 'W', 'x', '\n'};
  const Bytes8 first = encoded(HW_RUN, 7, {1, 2, 3}), second = encoded(HW_BYE, 8, {});
  line.insert(line.end(), first.begin(), first.end());
  line.push_back('H');
  line.insert(line.end(), second.begin(), second.end());
  const Seen seen = push_all(line);
  ASSERT_FALSE(seen.payloads.empty());
  EXPECT_EQ(seen.payloads.back(), Bytes8{});
  EXPECT_EQ(std::count(seen.payloads.begin(), seen.payloads.end(), Bytes8({1, 2, 3})), 1);
}

TEST(Protocol, EveryDamagedBitIsNoticed) {
  const Bytes8 good = encoded(HW_RUN, 300, {9, 8, 7, 6, 5});
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes8 bad = good;
    bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1u << (bit % 8)));
    EXPECT_TRUE(push_all(bad).payloads.empty()) << "bit " << bit;
  }
}

TEST(Protocol, TooLongAFrameAndAnotherVersionAreTold) {
  EXPECT_EQ(push_all(encoded(HW_RUN, 1, Bytes8(65))).events.front(), HW_BAD_LENGTH);
  Bytes8 other = encoded(HW_RUN, 1, {});
  other[2] = HW_PROTOCOL_VERSION + 1;
  hw_put16(&other[10], static_cast<std::uint16_t>(hw_crc32(0, other.data(), 10)));
  EXPECT_EQ(push_all(other).events.front(), HW_BAD_VERSION);
}

TEST(Protocol, MutatedStreamsNeverBreakTheParserAndSoundFramesAfterThemArrive) {
  for (std::uint64_t round = 0; round < 3000; ++round) {
    Rng rng(2, "fuzz", round);
    Bytes8 line;
    for (int f = 0; f < 5; ++f) {
      Bytes8 payload(rng.below(60));
      for (std::uint8_t& b : payload) b = static_cast<std::uint8_t>(rng.next());
      const Bytes8 frame =
          encoded(static_cast<std::uint8_t>(rng.next()), static_cast<std::uint16_t>(f), payload);
      line.insert(line.end(), frame.begin(), frame.end());
    }
    for (int m = 0; m < 6; ++m) {
      const std::size_t at = rng.below(line.size());
      if (rng.chance(0.5))
        line[at] = static_cast<std::uint8_t>(rng.next());
      else
        line.erase(line.begin() + static_cast<std::ptrdiff_t>(at));
    }
    // Enough silence-filler to end any frame that a damaged length left open, then a good one.
    line.insert(line.end(), HW_HEADER_BYTES + 64 + HW_TRAILER_BYTES, 0);
    const Bytes8 last = encoded(HW_HELLO, 99, {42});
    line.insert(line.end(), last.begin(), last.end());
    ASSERT_FALSE(push_all(line).payloads.empty()) << round;
    EXPECT_EQ(push_all(line).payloads.back(), Bytes8{42}) << round;
  }
}

}  // namespace
}  // namespace nas::devices
