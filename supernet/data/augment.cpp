#include "supernet/data/augment.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "supernet/data/randaugment.h"

namespace nas::data {
namespace {

// Area and shape drawn until the rectangle fits, ten times; then the whole picture.
Box random_box(Picture picture, const Augmentation& o, Rng& rng) {
  const double area = static_cast<double>(picture.height) * picture.width, widest = std::log(o.widest_ratio);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double wanted = area * rng.uniform(o.smallest_area, o.largest_area);
    const double ratio = std::exp(rng.uniform(-widest, widest));
    const auto width = std::lround(std::sqrt(wanted * ratio)),
               height = std::lround(std::sqrt(wanted / ratio));
    if (width < 1 || height < 1 || width > picture.width || height > picture.height) continue;
    const auto top = rng.below(static_cast<std::uint64_t>(picture.height - height + 1));
    const auto left = rng.below(static_cast<std::uint64_t>(picture.width - width + 1));
    return {static_cast<double>(top), static_cast<double>(left), static_cast<double>(height),
            static_cast<double>(width)};
  }
  return {0, 0, static_cast<double>(picture.height), static_cast<double>(picture.width)};
}

// The picture moved by up to `pad` pixels each way, black where nothing is left; lives until the next call.
Picture shifted(Picture picture, int pad, Rng& rng) {
  thread_local std::vector<std::uint8_t> moved;
  const auto draw = [&] {
    return static_cast<int>(rng.below(2 * static_cast<std::uint64_t>(pad) + 1)) - pad;
  };
  const int dy = draw(), dx = draw();
  moved.assign(3 * static_cast<std::size_t>(picture.height) * static_cast<std::size_t>(picture.width), 0);
  const int wide = picture.width - std::abs(dx);
  if (wide <= 0) return {moved.data(), picture.height, picture.width};
  for (int y = std::max(0, -dy); y < std::min(picture.height, picture.height - dy); ++y) {
    const auto at = [&](int row, int column) {
      return 3 * (static_cast<std::ptrdiff_t>(row) * picture.width + column);
    };
    std::memcpy(moved.data() + at(y, std::max(0, -dx)), picture.pixels + at(y + dy, std::max(0, dx)),
                3 * static_cast<std::size_t>(wide));
  }
  return {moved.data(), picture.height, picture.width};
}

// Turns the colours around the grey axis by `turn` of the circle (rotation in the YIQ plane).
void turn_hue(Canvas canvas, double turn) {
  const double angle = 2 * std::numbers::pi * turn;
  const auto cosine = static_cast<float>(std::cos(angle)), sine = static_cast<float>(std::sin(angle));
  for (std::ptrdiff_t p = 0; p < static_cast<std::ptrdiff_t>(canvas.side) * canvas.side; ++p) {
    float* v = canvas.values + 3 * p;
    const float y = 0.299F * v[0] + 0.587F * v[1] + 0.114F * v[2];
    const float i = 0.596F * v[0] - 0.274F * v[1] - 0.322F * v[2];
    const float q = 0.211F * v[0] - 0.523F * v[1] + 0.312F * v[2];
    const float i2 = cosine * i - sine * q, q2 = sine * i + cosine * q;
    v[0] = std::clamp(y + 0.956F * i2 + 0.621F * q2, 0.0F, 255.0F);
    v[1] = std::clamp(y - 0.272F * i2 - 0.647F * q2, 0.0F, 255.0F);
    v[2] = std::clamp(y - 1.106F * i2 + 1.703F * q2, 0.0F, 255.0F);
  }
}

void jitter_colours(Canvas canvas, const Augmentation& o, Rng& rng) {
  const auto factor = [&](double range) { return rng.uniform(std::max(0.0, 1 - range), 1 + range); };
  if (o.brightness > 0) adjust_brightness(canvas, factor(o.brightness));
  if (o.contrast > 0) adjust_contrast(canvas, factor(o.contrast));
  if (o.saturation > 0) adjust_saturation(canvas, factor(o.saturation));
  if (o.hue > 0) turn_hue(canvas, rng.uniform(-o.hue, o.hue));
}

void normalise(Canvas canvas, const Augmentation& o) {
  std::array<float, 3> scale, shift;
  for (std::size_t c = 0; c < 3; ++c) {
    scale[c] = static_cast<float>(1 / (255 * o.deviation[c]));
    shift[c] = static_cast<float>(-o.mean[c] / o.deviation[c]);
  }
  float* v = canvas.values;
  for (std::ptrdiff_t p = 0; p < static_cast<std::ptrdiff_t>(canvas.side) * canvas.side; ++p, v += 3) {
    v[0] = v[0] * scale[0] + shift[0];
    v[1] = v[1] * scale[1] + shift[1];
    v[2] = v[2] * scale[2] + shift[2];
  }
}

void erase_rectangle(Canvas canvas, Rng& rng) {
  const double area = static_cast<double>(canvas.side) * canvas.side, widest = std::log(3.3);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double wanted = area * rng.uniform(0.02, 0.33), ratio = std::exp(rng.uniform(-widest, widest));
    const auto width = static_cast<int>(std::lround(std::sqrt(wanted * ratio)));
    const auto height = static_cast<int>(std::lround(std::sqrt(wanted / ratio)));
    if (width < 1 || height < 1 || width >= canvas.side || height >= canvas.side) continue;
    const auto top =
        static_cast<std::ptrdiff_t>(rng.below(static_cast<std::uint64_t>(canvas.side - height + 1)));
    const auto left =
        static_cast<std::ptrdiff_t>(rng.below(static_cast<std::uint64_t>(canvas.side - width + 1)));
    for (std::ptrdiff_t y = top; y < top + height; ++y)
      std::fill_n(canvas.values + 3 * (y * canvas.side + left), 3 * width, 0.0F);
    return;
  }
}

// Gamma(shape, 1) by Marsaglia and Tsang (2000); shapes below 1 by the power of a uniform.
double draw_gamma(double shape, Rng& rng) {
  if (shape < 1) return draw_gamma(shape + 1, rng) * std::pow(1 - rng.uniform(), 1 / shape);
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = rng.normal(), root = 1 + c * x, v = root * root * root;
    if (v > 0 && std::log(1 - rng.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double draw_beta(double a, Rng& rng) {
  const double x = draw_gamma(a, rng), y = draw_gamma(a, rng);
  return x + y > 0 ? x / (x + y) : 0.5;
}

Mix draw_cut(double alpha, int resolution, Rng& rng) {
  const double share = std::sqrt(1 - draw_beta(alpha, rng));  // of the side
  const auto edge = static_cast<int>(std::lround(share * resolution));
  const auto r = static_cast<std::uint64_t>(resolution);
  const int y = static_cast<int>(rng.below(r)), x = static_cast<int>(rng.below(r));
  Mix mix;
  mix.top = std::clamp(y - edge / 2, 0, resolution);
  mix.left = std::clamp(x - edge / 2, 0, resolution);
  mix.bottom = std::clamp(y - edge / 2 + edge, 0, resolution);
  mix.right = std::clamp(x - edge / 2 + edge, 0, resolution);
  const double cut = static_cast<double>(mix.bottom - mix.top) * (mix.right - mix.left);
  mix.own = 1 - cut / (static_cast<double>(resolution) * resolution);
  return mix;
}

}  // namespace

Result<void> check(const Augmentation& o) {
  struct Field {
    const char* name;
    double value, low, high;
  };
  const Field fields[] = {{"smallest_area", o.smallest_area, 1e-4, 1},
                          {"largest_area", o.largest_area, o.smallest_area, 1},
                          {"widest_ratio", o.widest_ratio, 1, 10},
                          {"pad_crop", static_cast<double>(o.pad_crop), 0, 512},
                          {"flip", o.flip, 0, 1},
                          {"centre_ratio", o.centre_ratio, 0.1, 1},
                          {"brightness", o.brightness, 0, 10},
                          {"contrast", o.contrast, 0, 10},
                          {"saturation", o.saturation, 0, 10},
                          {"hue", o.hue, 0, 0.5},
                          {"randaugment_count", static_cast<double>(o.randaugment_count), 0, 16},
                          {"randaugment_strength", o.randaugment_strength, 0, 10},
                          {"erase", o.erase, 0, 1},
                          {"mixup", o.mixup, 0, 100},
                          {"cutmix", o.cutmix, 0, 100},
                          {"label_smoothing", o.label_smoothing, 0, 0.9}};
  for (const Field& f : fields)
    if (!(f.value >= f.low && f.value <= f.high))
      return usage_error(std::string("augmentation: ") + f.name + " must be in " + std::to_string(f.low) +
                         ".." + std::to_string(f.high) + ", found " + std::to_string(f.value));
  for (std::size_t c = 0; c < 3; ++c)
    if (!std::isfinite(o.mean[c]) || !(o.deviation[c] > 1e-6))
      return usage_error("augmentation: mean must be finite and deviation above 0.000001 in every channel");
  return {};
}

Augmentation standard_augmentation(int side) {
  Augmentation o;
  o.flip = 0.5;
  if (side <= 64) {
    o.pad_crop = side / 8;
    return o;
  }
  o.random_resized_crop = true;
  o.centre_ratio = 0.875;
  o.brightness = 32.0 / 255;
  o.saturation = 0.5;
  return o;
}

void training_view(Picture picture, const Augmentation& o, int resolution, Rng& rng, float* out) {
  if (o.pad_crop > 0) picture = shifted(picture, o.pad_crop, rng);
  Box box{0, 0, static_cast<double>(picture.height), static_cast<double>(picture.width)};
  if (o.random_resized_crop) box = random_box(picture, o, rng);
  const bool mirror = o.flip > 0 && rng.chance(o.flip);
  resample(picture, box, resolution, resolution, {.mirror = mirror}, out);
  const Canvas canvas{out, resolution};
  if (o.randaugment_count > 0) randaugment(canvas, o.randaugment_count, o.randaugment_strength, rng);
  jitter_colours(canvas, o, rng);
  normalise(canvas, o);
  if (o.erase > 0 && rng.chance(o.erase)) erase_rectangle(canvas, rng);
}

void evaluation_view(Picture picture, const Augmentation& o, int resolution, float* out) {
  const Box box = centre_box(picture.height, picture.width, resolution, o.centre_ratio);
  resample(picture, box, resolution, resolution, {.isolate = false}, out);
  normalise({out, resolution}, o);
}

Mix draw_mix(const Augmentation& o, int resolution, Rng& rng) {
  if (o.mixup <= 0 && o.cutmix <= 0) return {};
  const bool cut = o.cutmix > 0 && (o.mixup <= 0 || rng.chance(0.5));
  if (cut) return draw_cut(o.cutmix, resolution, rng);
  return {.own = draw_beta(o.mixup, rng)};
}

void apply_mix(const Mix& mix, int resolution, const float* self, const float* partner, float* out) {
  const std::ptrdiff_t row = 3 * static_cast<std::ptrdiff_t>(resolution);
  if (mix.bottom > mix.top) {
    if (out != self) std::copy_n(self, row * resolution, out);
    for (std::ptrdiff_t y = mix.top; y < mix.bottom; ++y)
      std::copy_n(partner + y * row + 3 * mix.left, 3 * (mix.right - mix.left), out + y * row + 3 * mix.left);
    return;
  }
  const auto own = static_cast<float>(mix.own);
  for (std::ptrdiff_t i = 0; i < row * resolution; ++i) out[i] = own * self[i] + (1 - own) * partner[i];
}

void soft_target(const Augmentation& o, const Mix& mix, std::int64_t label, std::int64_t partner,
                 std::span<float> out) {
  const double off = o.label_smoothing / static_cast<double>(out.size());
  std::fill(out.begin(), out.end(), static_cast<float>(off));
  const double weight = 1 - o.label_smoothing;
  out[static_cast<std::size_t>(label)] += static_cast<float>(weight * mix.own);
  out[static_cast<std::size_t>(partner)] += static_cast<float>(weight * (1 - mix.own));
}

}  // namespace nas::data
