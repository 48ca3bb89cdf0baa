#include <array>
#include <bit>

#include "results/exchange.h"
#include "results/runs.h"
#include "space/base/file.h"

namespace nas::results {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

template <class Word>
void put_little(std::string& out, Word word) {
  for (std::size_t i = 0; i < sizeof word; ++i)
    out += static_cast<char>(static_cast<std::uint64_t>(word) >> (8 * i));
}

// TFRecord: length, its checksum, the content, its checksum.
void put_record(std::string& out, const std::string& content) {
  std::string length;
  put_little(length, std::uint64_t{content.size()});
  out += length;
  put_little(out, masked_crc32c(length));
  out += content;
  put_little(out, masked_crc32c(content));
}

// ---- protocol buffers, the wire format of the five fields that are needed ----

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void put_bytes(std::string& out, int field, const std::string& bytes) {
  put_varint(out, static_cast<std::uint64_t>(field << 3 | 2));
  put_varint(out, bytes.size());
  out += bytes;
}
void put_double(std::string& out, int field, double value) {
  put_varint(out, static_cast<std::uint64_t>(field << 3 | 1));
  put_little(out, std::bit_cast<std::uint64_t>(value));
}
void put_float(std::string& out, int field, float value) {
  put_varint(out, static_cast<std::uint64_t>(field << 3 | 5));
  put_little(out, std::bit_cast<std::uint32_t>(value));
}

// tensorflow.Event: wall_time = 1, step = 2, file_version = 3, summary = 5 { value = 1 { tag = 1,
// simple_value = 2 } }.
std::string first_event(double wall_time) {
  std::string event;
  put_double(event, 1, wall_time);
  put_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string scalar_event(const CurvePoint& point) {
  std::string value, summary, event;
  put_bytes(value, 1, point.name);
  put_float(value, 2, static_cast<float>(point.value));
  put_bytes(summary, 1, value);
  put_double(event, 1, static_cast<double>(point.created) / 1000);
  put_varint(event, 2 << 3);
  put_varint(event, static_cast<std::uint64_t>(point.step));
  put_bytes(event, 5, summary);
  return event;
}

// The candidates' metrics as curves over their numbers.
Result<std::vector<CurvePoint>> candidate_points(Store& store, Id run) {
  std::vector<CurvePoint> points;
  for (std::int64_t first = 0;;) {
    NAS_TRY(page, list_candidates(store, run, first, 1000));
    if (page.empty()) return points;
    for (const Candidate& candidate : page)
      for (const char* name :
           {"accuracy", "latency_ms", "ram_bytes", "flash_bytes", "energy_mj", "macs", "violation"})
        if (const auto value = metric(candidate, name))
          points.push_back({.name = std::string("candidate/") + name,
                            .step = candidate.number,
                            .value = *value,
                            .created = candidate.created});
    first = page.back().number + 1;
  }
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

Result<std::int64_t> export_tensorboard(Store& store, std::optional<Id> run,
                                        const std::filesystem::path& folder) {
  std::vector<results::Run> runs;
  if (run) {
    NAS_TRY(one, get_run(store, *run));
    runs.push_back(std::move(one));
  } else {
    NAS_TRY(all, list_runs(store));
    runs = std::move(all);
  }
  std::int64_t n = 0;
  for (const results::Run& one : runs) {
    NAS_TRY(points, list_curve(store, CurveOwner::run, one.id));
    NAS_TRY(more, candidate_points(store, one.id));
    points.insert(points.end(), more.begin(), more.end());
    if (points.empty()) continue;
    std::string content;
    put_record(content, first_event(static_cast<double>(one.created) / 1000));
    for (const CurvePoint& point : points) put_record(content, scalar_event(point));
    NAS_CHECK(write_file(
        folder / one.name / ("events.out.tfevents." + std::to_string(one.created / 1000) + ".hwnas"),
        content));
    n += static_cast<std::int64_t>(points.size());
  }
  return n;
}

}  // namespace nas::results
