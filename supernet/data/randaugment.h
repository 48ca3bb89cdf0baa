#pragma once
#include <array>
#include <string_view>

#include "space/base/rng.h"

namespace nas::data {

// A square float picture in 0..255, channels last, changed in place.
struct Canvas {
  float* values;
  int side;
};

// The fourteen operations of RandAugment (Cubuk et al. 2020).
inline constexpr std::array<std::string_view, 14> kRandAugmentOps = {
    "identity", "autocontrast", "equalize",  "rotate",  "solarize", "color",       "posterize",
    "contrast", "brightness",   "sharpness", "shear_x", "shear_y",  "translate_x", "translate_y"};

// Applies one operation at `strength` 0..10; the sign of those that have one is drawn from `rng`.
void apply_randaugment(Canvas canvas, std::size_t op, double strength, Rng& rng);

// `count` operations drawn with replacement.
void randaugment(Canvas canvas, int count, double strength, Rng& rng);

// The blends that colour jitter shares with RandAugment: factor 1 changes nothing, 0 gives black, the mean
// grey, or the grey picture.
void adjust_brightness(Canvas canvas, double factor);
void adjust_contrast(Canvas canvas, double factor);
void adjust_saturation(Canvas canvas, double factor);

}  // namespace nas::data
