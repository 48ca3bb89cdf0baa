#include "supernet/data/procedural.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>

#include "space/base/rng.h"

namespace nas::data {
namespace {

constexpr int kShapes = 8, kSurfaces = 5;
constexpr std::array<const char*, kShapes> kShapeNames = {"disc",  "square", "triangle", "ring",
                                                          "cross", "star",   "bar",      "crescent"};
constexpr std::array<const char*, kSurfaces> kSurfaceNames = {"plain", "stripes", "checks", "dots", "waves"};

struct Kind {
  int shape, surface, band, bands;
};

// Neighbouring classes differ in shape and surface; the pair is unique inside a band of 40 classes.
Kind kind_of(int label, int classes) {
  const int round = label / kShapes % kSurfaces;
  return {label % kShapes, (label + round) % kSurfaces, label / (kShapes * kSurfaces),
          (classes + kShapes * kSurfaces - 1) / (kShapes * kSurfaces)};
}

std::string class_name(int label, int classes) {
  const Kind kind = kind_of(label, classes);
  std::string name = std::string(kSurfaceNames[static_cast<std::size_t>(kind.surface)]) + "-" +
                     kShapeNames[static_cast<std::size_t>(kind.shape)];
  if (kind.bands > 1) name += "-hue" + std::to_string(kind.band);
  return name;
}

// Signed distance-like value, negative inside, for a shape of radius about 1 around the origin.
double outline(int shape, double u, double v) {
  const double r = std::hypot(u, v);
  switch (shape) {
    case 0:
      return r - 0.85;
    case 1:
      return std::max(std::abs(u), std::abs(v)) - 0.75;
    case 2:
      return std::max({v - 0.5, 0.866 * u - 0.5 * v - 0.5, -0.866 * u - 0.5 * v - 0.5});
    case 3:
      return std::abs(r - 0.72) - 0.2;
    case 4:
      return std::min(std::max(std::abs(u) - 0.24, std::abs(v) - 0.95),
                      std::max(std::abs(v) - 0.24, std::abs(u) - 0.95));
    case 5:
      return r - 0.62 - 0.32 * std::cos(5 * std::atan2(v, u));
    case 6:
      return std::max(std::abs(u) - 0.3, std::abs(v) - 1.0);
    default:
      return std::max(r - 0.9, 0.75 - std::hypot(u - 0.5, v));
  }
}

// 0..1 over the shape's surface.
double surface_value(int surface, double u, double v) {
  constexpr double k = 2 * std::numbers::pi * 1.6;
  switch (surface) {
    case 0:
      return 0;
    case 1:
      return std::sin(k * u) > 0 ? 1 : 0;
    case 2:
      return std::sin(k * u) * std::sin(k * v) > 0 ? 1 : 0;
    case 3:
      return std::cos(k * u) + std::cos(k * v) > 0.9 ? 1 : 0;
    default:
      return 0.5 + 0.5 * std::sin(1.4 * k * std::hypot(u, v));
  }
}

using Colour = std::array<double, 3>;

Colour from_hsv(double hue, double saturation, double value) {
  Colour colour;
  for (std::size_t c = 0; c < 3; ++c) {
    const double k = std::fmod(static_cast<double>(5 - 2 * static_cast<int>(c)) + 6 * hue, 6.0);
    colour[c] = value - value * saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0);
  }
  return colour;
}

// Everything random about one picture, drawn in one fixed order.
struct Scene {
  Kind kind;
  double x, y, radius, cosine, sine;
  Colour shape, mark, ground;
  double slope_x, slope_y, noise;
  struct Blob {
    double x, y, radius;
    Colour colour;
  };
  std::vector<Blob> blobs;
  double hide_x, hide_y, hide_size;
};

double hue_of(const Kind& kind, Rng& rng) {
  if (kind.bands <= 1) return rng.uniform();
  return (kind.band + rng.uniform(0.25, 0.75)) / kind.bands;
}

Scene draw_scene(const ProceduralOptions& options, std::size_t index) {
  const double d = options.difficulty, side = options.side;
  Rng rng(options.seed, "procedural", 0, index);
  Scene scene;
  scene.kind = kind_of(static_cast<int>(index % static_cast<std::size_t>(options.classes)), options.classes);
  const double wander = (0.04 + 0.16 * d) * side;
  scene.x = side / 2 + rng.uniform(-wander, wander);
  scene.y = side / 2 + rng.uniform(-wander, wander);
  scene.radius = side * rng.uniform(0.38 - 0.2 * d, 0.44 - 0.06 * d);
  const double angle = rng.uniform(-1, 1) * (0.1 + 0.9 * d) * std::numbers::pi / 2;
  scene.cosine = std::cos(angle);
  scene.sine = std::sin(angle);
  const bool bright = rng.chance(0.5);  // either the shape or the ground is the lighter one
  const double contrast = 0.75 - 0.55 * d;
  const double low = rng.uniform(0.05, 0.95 - contrast), high = low + contrast;
  scene.shape = from_hsv(hue_of(scene.kind, rng), 0.55, bright ? high : low);
  scene.ground = from_hsv(rng.uniform(), 0.35, bright ? low : high);
  for (std::size_t c = 0; c < 3; ++c) scene.mark[c] = 0.4 * scene.shape[c] + 0.6 * scene.ground[c];
  scene.slope_x = rng.uniform(-0.3, 0.3) * d / side;
  scene.slope_y = rng.uniform(-0.3, 0.3) * d / side;
  scene.noise = 0.02 + 0.2 * d;
  scene.blobs.resize(static_cast<std::size_t>(std::lround(6 * d)));
  for (auto& blob : scene.blobs)
    blob = {rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.04, 0.14) * side,
            from_hsv(rng.uniform(), 0.5, rng.uniform(0.1, 0.9))};
  scene.hide_size = std::max(0.0, d - 0.4) * 0.5 * side;
  scene.hide_x = rng.uniform(0, side - scene.hide_size);
  scene.hide_y = rng.uniform(0, side - scene.hide_size);
  return scene;
}

Colour colour_at(const Scene& scene, double x, double y) {
  Colour colour = scene.ground;
  for (const auto& blob : scene.blobs)
    if (std::hypot(x - blob.x, y - blob.y) < blob.radius) colour = blob.colour;
  const double dx = (x - scene.x) / scene.radius, dy = (y - scene.y) / scene.radius;
  const double u = scene.cosine * dx + scene.sine * dy, v = scene.cosine * dy - scene.sine * dx;
  // The edge is one pixel wide, so that small pictures are not ragged.
  const double cover = std::clamp(0.5 - outline(scene.kind.shape, u, v) * scene.radius, 0.0, 1.0);
  const bool hidden = x >= scene.hide_x && x < scene.hide_x + scene.hide_size && y >= scene.hide_y &&
                      y < scene.hide_y + scene.hide_size;
  if (cover > 0 && !hidden) {
    const double t = surface_value(scene.kind.surface, u, v);
    for (std::size_t c = 0; c < 3; ++c) {
      const double paint = (1 - t) * scene.shape[c] + t * scene.mark[c];
      colour[c] += cover * (paint - colour[c]);
    }
  }
  const double light = scene.slope_x * x + scene.slope_y * y;
  for (double& c : colour) c += light;
  return colour;
}

template <class T>
bool parse_number(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [at, failed] = std::from_chars(text.data(), end, value);
  return failed == std::errc{} && at == end;
}

Result<void> check(const ProceduralOptions& o) {
  const auto outside = [](const char* key, const auto& found, const char* range) {
    return usage_error(std::string("procedural data: ") + key + " must be in " + range + ", found " +
                       std::to_string(found));
  };
  if (o.classes < 2 || o.classes > 1000) return outside("classes", o.classes, "2..1000");
  if (o.count < 1 || o.count > 10'000'000) return outside("count", o.count, "1..10000000");
  if (o.side < 8 || o.side > 512) return outside("side", o.side, "8..512");
  if (!(o.difficulty >= 0 && o.difficulty <= 1)) return outside("difficulty", o.difficulty, "0..1");
  return {};
}

}  // namespace

Image render_procedural(const ProceduralOptions& options, std::size_t index) {
  const Scene scene = draw_scene(options, index);
  Rng noise(options.seed, "procedural-noise", 0, index);
  Image image{options.side, options.side, {}};
  image.pixels.reserve(3 * static_cast<std::size_t>(options.side) * static_cast<std::size_t>(options.side));
  for (int y = 0; y < options.side; ++y)
    for (int x = 0; x < options.side; ++x) {
      const Colour colour = colour_at(scene, x + 0.5, y + 0.5);
      // Three nearly normal draws from one word: sums of three 7-bit uniforms, unit variance after scaling.
      std::uint64_t word = noise.next();
      for (const double c : colour) {
        const auto sum = static_cast<double>((word & 127) + ((word >> 7) & 127) + ((word >> 14) & 127));
        word >>= 21;
        const double value = c + scene.noise * (sum - 190.5) / 64.0;
        image.pixels.push_back(static_cast<std::uint8_t>(std::clamp(255 * value + 0.5, 0.0, 255.0)));
      }
    }
  return image;
}

Result<ProceduralOptions> parse_procedural(const std::string& text) {
  ProceduralOptions options;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string pair = text.substr(at, end - at);
    const std::size_t equal = std::min(pair.find('='), pair.size());
    const std::string key = pair.substr(0, equal), value = pair.substr(std::min(equal + 1, pair.size()));
    const bool read = key == "classes"      ? parse_number(value, options.classes)
                      : key == "count"      ? parse_number(value, options.count)
                      : key == "side"       ? parse_number(value, options.side)
                      : key == "difficulty" ? parse_number(value, options.difficulty)
                      : key == "seed"       ? parse_number(value, options.seed)
                                            : false;
    if (!read)
      return usage_error("procedural data: '" + pair +
                         "' is none of classes=N, count=N, side=N, difficulty=X, seed=N");
    at = end + 1;
  }
  NAS_CHECK(check(options));
  return options;
}

Result<Source> procedural_source(const ProceduralOptions& options) {
  NAS_CHECK(check(options));
  Source source;
  char spec[160];
  std::snprintf(spec, sizeof spec, "classes=%d,count=%d,side=%d,difficulty=%.17g,seed=%llu", options.classes,
                options.count, options.side, options.difficulty,
                static_cast<unsigned long long>(options.seed));
  source.where = std::string("procedural:") + spec;
  source.description = "generated shapes and surfaces (" + source.where.substr(11) + ")";
  for (int c = 0; c < options.classes; ++c) source.classes.push_back(class_name(c, options.classes));
  for (int i = 0; i < options.count; ++i)
    source.items.push_back(
        {"procedural#" + std::to_string(i), static_cast<std::uint32_t>(i % options.classes), {}});
  source.image = [options](std::size_t i, int) -> Result<Image> { return render_procedural(options, i); };
  source.size = [side = options.side](std::size_t) -> Result<ImageSize> { return ImageSize{side, side}; };
  const Hash128 key = hash_text(source.where);
  source.content = [key](std::size_t i) -> Result<Hash128> { return Hash128{key.high ^ mix64(i), key.low}; };
  return source;
}

}  // namespace nas::data
