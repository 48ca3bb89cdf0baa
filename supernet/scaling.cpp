#include "supernet/scaling.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "supernet/parts.h"

namespace nas::supernet {
namespace {

constexpr double kBucketValues = 1 << 18;

// Bytes that leave while gradients are still made, and those that can leave only after them.
struct Bytes {
  double early = 0, late = 0;
};

Bytes bytes_of(const WeightShapes& shapes, const ScalingQuestion& q) {
  const double w = q.ranks, ring = 2 * (w - 1) / w, n = shapes.values();
  if (q.exchange.local_steps > 1) return {0, ring * 4 * n * (1 + q.optimizer_slots) / q.exchange.local_steps};
  switch (q.exchange.compression) {
    case Compression::none:
      return {ring * 8 * n, 0};
    case Compression::fp32:
      return {ring * 4 * n, 0};
    case Compression::fp16:
    case Compression::bf16:  // scattered, then gathered
      return {ring * n, ring * n};
    case Compression::top_k:
      return {(w - 1) * 8 * std::ceil(q.exchange.share * n), 0};
    case Compression::power:
      break;
  }
  Bytes bytes;
  const double rank = q.exchange.rank;
  for (const auto& m : shapes.matrices) {
    const bool low = (m.rows + m.columns) * rank < m.rows * m.columns;
    bytes.early += ring * 4 * (low ? m.rows * rank : m.rows * m.columns);
    bytes.late += low ? ring * 4 * m.columns * rank : 0;
  }
  return bytes;
}

}  // namespace

double WeightShapes::values() const {
  double sum = 0;
  for (const Matrix& m : matrices) sum += m.rows * m.columns;
  return sum;
}

WeightShapes weight_shapes(const Network& largest) {
  WeightShapes shapes;
  for (const Layer& layer : largest.layers)
    for (const PartShape& part : parts_of(layer)) {
      double all = 1;
      for (const std::int64_t d : part.shape) all *= static_cast<double>(d);
      const double rows = part.shape.empty() ? 1 : static_cast<double>(part.shape[0]);
      shapes.matrices.push_back({rows, all / rows});
    }
  return shapes;
}

double bytes_a_step(const WeightShapes& shapes, const ScalingQuestion& question) {
  const Bytes bytes = bytes_of(shapes, question);
  return question.ranks < 2 ? 0 : bytes.early + bytes.late;
}

StepTime step_time(const WeightShapes& shapes, const ScalingQuestion& q) {
  StepTime time;
  time.compute = q.compute_seconds / q.ranks;
  if (q.ranks < 2) return time;
  const Bytes bytes = bytes_of(shapes, q);
  time.bytes_sent = bytes.early + bytes.late;
  const double buckets = std::max(1.0, std::ceil(shapes.values() / kBucketValues));
  const bool local = q.exchange.local_steps > 1;
  // Messages wait for each other around the ring; two small sums a step (losses, requests to stop) do as
  // well.
  const double messages = 2 * (q.ranks - 1) * (local ? 1.0 / q.exchange.local_steps + 2 : buckets + 2);
  const double early = bytes.early / q.link_bytes_per_second, late = bytes.late / q.link_bytes_per_second;
  time.exchange = early + late + messages * q.latency_seconds;
  const double window = time.compute / std::max(1.0, q.waves) * 2 / 3;
  const double hidden = std::min(window, early * (buckets - 1) / buckets);
  time.exposed = time.exchange - hidden;
  return time;
}

Result<double> parse_link(const std::string& text) {
  double amount = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, amount);
  const std::string unit(read.ptr, end);
  const auto scale = [&]() -> double {
    if (unit == "kbit") return 1e3 / 8;
    if (unit == "mbit") return 1e6 / 8;
    if (unit == "gbit") return 1e9 / 8;
    if (unit == "mbyte") return 1e6;
    return unit == "gbyte" ? 1e9 : 0;
  }();
  if (read.ec != std::errc() || !(amount > 0) || !std::isfinite(amount) || scale == 0)
    return usage_error("link \"" + text + "\": required like 100mbit, 10gbit or 1gbyte (a second)");
  return amount * scale;
}

}  // namespace nas::supernet
