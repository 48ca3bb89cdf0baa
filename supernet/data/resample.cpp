#include "supernet/data/resample.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

namespace nas::data {
namespace {

// For each output place: `taps` weights starting at source place `first`.
struct Axis {
  int taps = 0;
  std::vector<int> first;
  std::vector<float> weights;
};

struct Span1 {
  int low, high;
};

// Source pixels with a weight above 0 around `centre`, inside [low, high); at least one.
Span1 touched(double centre, double support, Span1 bounds) {
  const int low =
      std::clamp(static_cast<int>(std::floor(centre - support - 0.5)) + 1, bounds.low, bounds.high - 1);
  const int high = std::clamp(static_cast<int>(std::ceil(centre + support - 0.5)), low + 1, bounds.high);
  return {low, high};
}

void fill_weights(double centre, double support, int first, int taps, Span1 inside, float* weights) {
  double total = 0;
  for (int t = 0; t < taps; ++t) {
    const int at = first + t;
    const double distance = std::abs(at + 0.5 - centre) / support;
    const double w = at >= inside.low && at < inside.high ? std::max(0.0, 1 - distance) : 0.0;
    weights[t] = static_cast<float>(w);
    total += w;
  }
  if (total <= 0) {  // the centre lies outside the bounds: the nearest pixel
    weights[inside.low - first] = 1;
    total = 1;
  }
  const auto scale = static_cast<float>(1 / total);
  for (int t = 0; t < taps; ++t) weights[t] *= scale;
}

// `axis` is reused: no allocation once it has grown.
void make_axis(double start, double length, int count, Span1 bounds, bool mirror, Axis& axis) {
  const double scale = length / count;
  const double support = std::max(scale, 1.0);
  const auto centre = [&](int i) { return start + ((mirror ? count - 1 - i : i) + 0.5) * scale; };
  axis.taps = 1;
  for (int i = 0; i < count; ++i) {
    const Span1 range = touched(centre(i), support, bounds);
    axis.taps = std::max(axis.taps, range.high - range.low);
  }
  axis.first.resize(static_cast<std::size_t>(count));
  axis.weights.resize(static_cast<std::size_t>(count) * static_cast<std::size_t>(axis.taps));
  for (int i = 0; i < count; ++i) {
    const Span1 range = touched(centre(i), support, bounds);
    const int first = std::min(range.low, bounds.high - axis.taps);
    axis.first[static_cast<std::size_t>(i)] = first;
    fill_weights(centre(i), support, first, axis.taps, range,
                 axis.weights.data() + static_cast<std::ptrdiff_t>(i) * axis.taps);
  }
}

// row[k] = sum over taps of weight * source byte; contiguous, so that the compiler vectorises it.
void mix_rows(const std::uint8_t* source, std::ptrdiff_t stride, const float* weights, int taps,
              std::ptrdiff_t count, float* row) {
  for (std::ptrdiff_t k = 0; k < count; ++k) row[k] = weights[0] * static_cast<float>(source[k]);
  for (int t = 1; t < taps; ++t) {
    const std::uint8_t* from = source + t * stride;
    const float w = weights[t];
    for (std::ptrdiff_t k = 0; k < count; ++k) row[k] += w * static_cast<float>(from[k]);
  }
}

// One pixel's three channels and the next float in one register; the fourth lane is overwritten by the next
// pixel, so `row` and `out` need one float of slack.
typedef float Lanes __attribute__((vector_size(16), aligned(4), may_alias));

void mix_columns(const float* row, int origin, const Axis& axis, int count, float* out) {
  for (int x = 0; x < count; ++x) {
    const float* from = row + 3 * (axis.first[static_cast<std::size_t>(x)] - origin);
    const float* weights = axis.weights.data() + static_cast<std::ptrdiff_t>(x) * axis.taps;
    Lanes sum = weights[0] * *reinterpret_cast<const Lanes*>(from);
    for (int t = 1; t < axis.taps; ++t) sum += weights[t] * *reinterpret_cast<const Lanes*>(from + 3 * t);
    *reinterpret_cast<Lanes*>(out + 3 * x) = sum;
  }
}

Span1 bounds_of(double start, double length, int size, bool isolate) {
  if (!isolate) return {0, size};
  const int low = std::clamp(static_cast<int>(std::floor(start)), 0, size - 1);
  return {low, std::clamp(static_cast<int>(std::ceil(start + length)), low + 1, size)};
}

struct Scratch {
  Axis rows, columns;
  std::vector<float> row, line;
};

}  // namespace

void resample(Picture source, Box box, int out_height, int out_width, ResampleOptions options, float* out) {
  assert(source.height > 0 && source.width > 0 && out_height > 0 && out_width > 0);
  thread_local Scratch scratch;
  auto& [rows, columns, row, line] = scratch;
  make_axis(box.top, box.height, out_height, bounds_of(box.top, box.height, source.height, options.isolate),
            false, rows);
  make_axis(box.left, box.width, out_width, bounds_of(box.left, box.width, source.width, options.isolate),
            options.mirror, columns);
  const auto [lowest, highest] = std::minmax_element(columns.first.begin(), columns.first.end());
  const int origin = *lowest;
  const std::ptrdiff_t used = 3 * static_cast<std::ptrdiff_t>(*highest + columns.taps - origin);
  const std::ptrdiff_t stride = 3 * static_cast<std::ptrdiff_t>(source.width);
  const std::ptrdiff_t out_stride = 3 * static_cast<std::ptrdiff_t>(out_width);
  row.assign(static_cast<std::size_t>(used) + 1, 0.0F);
  line.resize(static_cast<std::size_t>(out_stride) + 1);
  for (int y = 0; y < out_height; ++y) {
    const auto i = static_cast<std::size_t>(y);
    mix_rows(source.pixels + rows.first[i] * stride + 3 * static_cast<std::ptrdiff_t>(origin), stride,
             rows.weights.data() + static_cast<std::ptrdiff_t>(y) * rows.taps, rows.taps, used, row.data());
    mix_columns(row.data(), origin, columns, out_width, line.data());
    std::copy_n(line.data(), out_stride, out + y * out_stride);
  }
}

void resize_and_crop(Picture source, int side, std::span<std::uint8_t> out) {
  assert(out.size() == 3 * static_cast<std::size_t>(side) * static_cast<std::size_t>(side));
  thread_local std::vector<float> buffer;
  buffer.resize(out.size());
  resample(source, centre_box(source.height, source.width, side, 1), side, side, {.isolate = false},
           buffer.data());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::uint8_t>(std::clamp(buffer[i] + 0.5F, 0.0F, 255.0F));
}

Box centre_box(int height, int width, int resolution, double ratio) {
  assert(ratio > 0 && ratio <= 1);
  // The resized picture's sides, rounded down like the usual image libraries do for the longer one.
  const double shorter = std::ceil(resolution / ratio - 1e-9);
  const double scale = std::min(height, width) / shorter;  // source pixels per resized pixel
  const auto one = [&](int length, double& start, double& extent) {
    const double resized = std::floor(length / scale + 1e-9);
    const double step = length / resized;
    start = std::floor((resized - resolution) / 2) * step;
    extent = resolution * step;
  };
  Box box;
  one(height, box.top, box.height);
  one(width, box.left, box.width);
  return box;
}

}  // namespace nas::data
