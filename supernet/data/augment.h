#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "space/base/result.h"
#include "space/base/rng.h"
#include "supernet/data/resample.h"

namespace nas::data {

// What happens to a picture on its way into a batch. The defaults change nothing but the size.
struct Augmentation {
  // The view. Training takes a random one, evaluation the centre.
  bool random_resized_crop = false;
  double smallest_area = 0.08;  // of the picture's area, for the random crop
  double largest_area = 1;
  double widest_ratio = 4.0 / 3;  // width : height, drawn log-uniformly in [1 / widest, widest]
  int pad_crop = 0;         // pixels of the stored picture: shift by up to this in x and y, black outside
  double flip = 0;          // probability of exchanging left and right
  double centre_ratio = 1;  // evaluation: resize to ceil(R / ratio), take the central R x R

  // Colours: the factor is drawn in [max(0, 1 - x), 1 + x]; hue turns by [-x, x] of the circle. 0 disables.
  double brightness = 0;
  double contrast = 0;
  double saturation = 0;
  double hue = 0;  // 0..0.5

  int randaugment_count = 0;        // operations a picture; 0 disables
  double randaugment_strength = 9;  // 0..10

  double erase = 0;  // probability of blanking a rectangle of 2..33 % of the area (to the mean colour)

  // Mixing with another picture of the batch by a share from Beta(a, a); 0 disables. With both, each picture
  // takes one of them by a coin.
  double mixup = 0;
  double cutmix = 0;

  double label_smoothing = 0;  // 0..0.9

  // Output = (value / 255 - mean) / deviation. The defaults are those of ImageNet.
  std::array<double, 3> mean = {0.485, 0.456, 0.406};
  std::array<double, 3> deviation = {0.229, 0.224, 0.225};

  bool soft() const { return mixup > 0 || cutmix > 0 || label_smoothing > 0; }
};

// Every number in its range; the message names the field.
Result<void> check(const Augmentation& options);

// The usual recipe: small pictures (side <= 64) shift by side / 8 and flip, larger ones get random-resized
// crops, flips and light colour jitter, and a centre ratio of 0.875.
Augmentation standard_augmentation(int side);

// The picture resized to `resolution`, augmented and normalised: 3 * resolution^2 floats, channels last.
// Everything random comes from `rng`.
void training_view(Picture picture, const Augmentation& options, int resolution, Rng& rng, float* out);

// The centre crop, normalised; nothing random.
void evaluation_view(Picture picture, const Augmentation& options, int resolution, float* out);

// How a picture is mixed with its partner: out = own * self + (1 - own) * partner, pixel by pixel (mixup) or
// with the partner's pixels inside a rectangle (cutmix; own = the share of pixels kept).
struct Mix {
  double own = 1;
  int top = 0, left = 0, bottom = 0, right = 0;  // the rectangle; empty for mixup
};
Mix draw_mix(const Augmentation& options, int resolution, Rng& rng);
// out may be `self` itself.
void apply_mix(const Mix& mix, int resolution, const float* self, const float* partner, float* out);

// Class probabilities of a mixed and smoothed label.
void soft_target(const Augmentation& options, const Mix& mix, std::int64_t label, std::int64_t partner,
                 std::span<float> out);

}  // namespace nas::data
