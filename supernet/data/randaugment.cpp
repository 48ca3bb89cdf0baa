#include "supernet/data/randaugment.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace nas::data {
namespace {

constexpr float kFill = 128;

std::ptrdiff_t area(Canvas canvas) { return static_cast<std::ptrdiff_t>(canvas.side) * canvas.side; }
float clamp255(float v) { return std::clamp(v, 0.0F, 255.0F); }
// ITU-R BT.601 luma.
float grey(const float* p) { return 0.299F * p[0] + 0.587F * p[1] + 0.114F * p[2]; }

// values = other + factor * (values - other), where other(p) gives the three channels at pixel p.
template <class Other>
void blend(Canvas canvas, double factor, Other other) {
  const auto f = static_cast<float>(factor);
  for (std::ptrdiff_t p = 0; p < area(canvas); ++p) {
    float* pixel = canvas.values + 3 * p;
    const std::array<float, 3> o = other(p);
    for (std::size_t c = 0; c < 3; ++c) pixel[c] = clamp255(o[c] + f * (pixel[c] - o[c]));
  }
}

// Maps an output place, relative to the centre, to a source place: (a x + b y + tx, c x + d y + ty).
struct Affine {
  double a = 1, b = 0, tx = 0, c = 0, d = 1, ty = 0;
};

void sample_bilinear(const std::vector<float>& source, int side, double x, double y, float* out) {
  const double fx = std::floor(x), fy = std::floor(y);
  const auto wx = static_cast<float>(x - fx), wy = static_cast<float>(y - fy);
  const int x0 = static_cast<int>(fx), y0 = static_cast<int>(fy);
  out[0] = out[1] = out[2] = 0;
  for (int dy = 0; dy < 2; ++dy)
    for (int dx = 0; dx < 2; ++dx) {
      const float w = (dx == 0 ? 1 - wx : wx) * (dy == 0 ? 1 - wy : wy);
      const int sx = x0 + dx, sy = y0 + dy;
      const bool inside = sx >= 0 && sx < side && sy >= 0 && sy < side;
      const float* from =
          inside ? source.data() + 3 * (static_cast<std::ptrdiff_t>(sy) * side + sx) : nullptr;
      for (int c = 0; c < 3; ++c) out[c] += w * (inside ? from[c] : kFill);
    }
  for (int c = 0; c < 3; ++c) out[c] = clamp255(out[c]);  // the weights sum to 1 but for rounding
}

void warp(Canvas canvas, const Affine& m) {
  thread_local std::vector<float> source;
  source.assign(canvas.values, canvas.values + 3 * area(canvas));
  const double centre = (canvas.side - 1) / 2.0;
  // Far outside everything is fill; the bound keeps the places inside what an int can hold.
  const double far = canvas.side + 2;
  for (int y = 0; y < canvas.side; ++y)
    for (int x = 0; x < canvas.side; ++x) {
      const double u = x - centre, v = y - centre;
      const double sx = std::clamp(m.a * u + m.b * v + m.tx + centre, -2.0, far);
      const double sy = std::clamp(m.c * u + m.d * v + m.ty + centre, -2.0, far);
      sample_bilinear(source, canvas.side, sx, sy,
                      canvas.values + 3 * (static_cast<std::ptrdiff_t>(y) * canvas.side + x));
    }
}

Affine rotation(double degrees) {
  const double angle = degrees * std::numbers::pi / 180;
  return {std::cos(angle), -std::sin(angle), 0, std::sin(angle), std::cos(angle), 0};
}

void autocontrast(Canvas canvas) {
  for (int c = 0; c < 3; ++c) {
    float low = 255, high = 0;
    for (std::ptrdiff_t p = 0; p < area(canvas); ++p) {
      low = std::min(low, canvas.values[3 * p + c]);
      high = std::max(high, canvas.values[3 * p + c]);
    }
    if (high - low < 1) continue;
    const float scale = 255 / (high - low);
    for (std::ptrdiff_t p = 0; p < area(canvas); ++p)
      canvas.values[3 * p + c] = clamp255((canvas.values[3 * p + c] - low) * scale);
  }
}

std::size_t level(float v) { return static_cast<std::size_t>(clamp255(v + 0.5F)); }

// Histogram equalisation with the integer table of the Python Imaging Library.
void equalize(Canvas canvas) {
  for (int c = 0; c < 3; ++c) {
    std::array<std::int64_t, 256> histogram{};
    for (std::ptrdiff_t p = 0; p < area(canvas); ++p) ++histogram[level(canvas.values[3 * p + c])];
    std::int64_t last = 0;
    for (const auto n : histogram) last = n > 0 ? n : last;
    const std::int64_t step = (area(canvas) - last) / 255;
    if (step == 0) continue;
    std::array<float, 256> table;
    std::int64_t sum = step / 2;
    for (std::size_t i = 0; i < 256; ++i) {
      table[i] = static_cast<float>(std::min<std::int64_t>(sum / step, 255));
      sum += histogram[i];
    }
    for (std::ptrdiff_t p = 0; p < area(canvas); ++p)
      canvas.values[3 * p + c] = table[level(canvas.values[3 * p + c])];
  }
}

void solarize(Canvas canvas, double threshold) {
  for (std::ptrdiff_t i = 0; i < 3 * area(canvas); ++i)
    if (canvas.values[i] >= threshold) canvas.values[i] = 255 - canvas.values[i];
}

void posterize(Canvas canvas, int bits) {
  const std::size_t mask = 0xFFU & ~((1U << (8 - bits)) - 1U);
  for (std::ptrdiff_t i = 0; i < 3 * area(canvas); ++i)
    canvas.values[i] = static_cast<float>(level(canvas.values[i]) & mask);
}

// Blends with a 3x3 smoothed picture (centre weight 5, others 1); the border stays.
void adjust_sharpness(Canvas canvas, double factor) {
  thread_local std::vector<float> source;
  source.assign(canvas.values, canvas.values + 3 * area(canvas));
  const std::ptrdiff_t row = 3 * static_cast<std::ptrdiff_t>(canvas.side);
  blend(canvas, factor, [&](std::ptrdiff_t p) -> std::array<float, 3> {
    const std::ptrdiff_t x = p % canvas.side, y = p / canvas.side;
    const float* at = source.data() + 3 * p;
    if (x == 0 || y == 0 || x == canvas.side - 1 || y == canvas.side - 1) return {at[0], at[1], at[2]};
    std::array<float, 3> sum = {4 * at[0], 4 * at[1], 4 * at[2]};
    for (std::ptrdiff_t dy = -1; dy <= 1; ++dy)
      for (std::ptrdiff_t dx = -1; dx <= 1; ++dx)
        for (std::size_t c = 0; c < 3; ++c) sum[c] += at[dy * row + 3 * dx + static_cast<std::ptrdiff_t>(c)];
    return {sum[0] / 13, sum[1] / 13, sum[2] / 13};
  });
}

}  // namespace

void adjust_brightness(Canvas canvas, double factor) {
  blend(canvas, factor, [](std::ptrdiff_t) { return std::array<float, 3>{0, 0, 0}; });
}

void adjust_contrast(Canvas canvas, double factor) {
  double sum = 0;
  for (std::ptrdiff_t p = 0; p < area(canvas); ++p) sum += grey(canvas.values + 3 * p);
  const auto mean = static_cast<float>(sum / static_cast<double>(area(canvas)));
  blend(canvas, factor, [mean](std::ptrdiff_t) { return std::array<float, 3>{mean, mean, mean}; });
}

void adjust_saturation(Canvas canvas, double factor) {
  blend(canvas, factor, [&](std::ptrdiff_t p) {
    const float g = grey(canvas.values + 3 * p);
    return std::array<float, 3>{g, g, g};
  });
}

void apply_randaugment(Canvas canvas, std::size_t op, double strength, Rng& rng) {
  const double m = strength / 10;
  const auto either = [&](double value) { return rng.chance(0.5) ? value : -value; };
  switch (op) {
    case 0:
      return;
    case 1:
      return autocontrast(canvas);
    case 2:
      return equalize(canvas);
    case 3:
      return warp(canvas, rotation(either(30 * m)));
    case 4:
      return solarize(canvas, 255 - 255 * m);
    case 5:
      return adjust_saturation(canvas, 1 + either(0.9 * m));
    case 6:
      return posterize(canvas, 8 - static_cast<int>(std::lround(4 * m)));
    case 7:
      return adjust_contrast(canvas, 1 + either(0.9 * m));
    case 8:
      return adjust_brightness(canvas, 1 + either(0.9 * m));
    case 9:
      return adjust_sharpness(canvas, 1 + either(0.9 * m));
    case 10:
      return warp(canvas, {.b = either(0.3 * m)});
    case 11:
      return warp(canvas, {.c = either(0.3 * m)});
    // A share of the side: 150 of 331 pixels at full strength in the paper's code.
    case 12:
      return warp(canvas, {.tx = either(150.0 / 331 * m * canvas.side)});
    default:
      return warp(canvas, {.ty = either(150.0 / 331 * m * canvas.side)});
  }
}

void randaugment(Canvas canvas, int count, double strength, Rng& rng) {
  for (int i = 0; i < count; ++i) apply_randaugment(canvas, rng.below(kRandAugmentOps.size()), strength, rng);
}

}  // namespace nas::data
