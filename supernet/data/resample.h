#pragma once
#include <cstdint>
#include <span>

#include "supernet/data/image.h"

namespace nas::data {

// A borrowed RGB picture, 3 * height * width bytes, channels last.
struct Picture {
  const std::uint8_t* pixels = nullptr;
  int height = 0;
  int width = 0;
};

inline Picture view(const Image& image) { return {image.pixels.data(), image.height, image.width}; }

// A rectangle in source pixels; edges may lie between pixels.
struct Box {
  double top = 0;
  double left = 0;
  double height = 0;
  double width = 0;
};

struct ResampleOptions {
  bool mirror = false;  // left and right exchanged in the output
  bool isolate = true;  // pixels outside the box do not bleed in (crop, then resize); else resize, then crop
};

// Resizes the box to out_height x out_width by the triangle filter whose support grows with the reduction
// (antialiased bilinear, as Pillow's BILINEAR); weights cut off at the border are renormalised.
// `out` receives 3 * out_height * out_width floats in 0..255, channels last.
void resample(Picture source, Box box, int out_height, int out_width, ResampleOptions options, float* out);

// Shorter side to `side`, then the central side x side pixels, rounded to 8 bits; `out` holds 3 * side *
// side.
void resize_and_crop(Picture source, int side, std::span<std::uint8_t> out);

// The box of "resize the shorter side to ceil(resolution / ratio), take the central resolution x resolution".
// 0 < ratio <= 1.
Box centre_box(int height, int width, int resolution, double ratio);

}  // namespace nas::data
