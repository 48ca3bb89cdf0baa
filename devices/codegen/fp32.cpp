#include "devices/codegen/emit.h"

namespace nas::devices::codegen {
namespace {

constexpr const char* kWindow = R"(
NAS_HELPER const float *$NAME$_window(const float *in, int32_t pixel, float *window) {
  const int32_t y = pixel / $OW$ * $STRIDE$ - $PAD$, x = pixel % $OW$ * $STRIDE$ - $PAD$;
  const int32_t x0 = x < 0 ? 0 : x, x1 = x + $KERNEL$ > $W$ ? $W$ : x + $KERNEL$;
  int32_t row, i;
  if (y < 0 || x < 0 || y > $H$ - $KERNEL$ || x > $W$ - $KERNEL$)
    for (i = 0; i < $INNER$; ++i) window[i] = 0.0f;
  for (row = y < 0 ? 0 : y; row < y + $KERNEL$ && row < $H$; ++row)
    if (x1 > x0) memcpy(window + ((row - y) * $KERNEL$ + x0 - x) * $C$, in + (row * $W$ + x0) * $C$, (uint32_t)((x1 - x0) * $C$) * sizeof(float));
  return window;
}
)";

constexpr const char* kPointWindow = R"(
NAS_HELPER const float *$NAME$_window(const float *in, int32_t pixel, float *window) {
  (void)window;
  return in + (pixel / $OW$ * $STRIDE$ * $W$ + pixel % $OW$ * $STRIDE$) * $C$;
}
)";

// Weights in blocks of four channels: [block][inner][4]. A tile of pixels shares every weight that is loaded.
constexpr const char* kConv = R"(
NAS_HELPER void $NAME$_store(float *pixel, const float *a, int32_t c) {
  int32_t i;
  const int32_t n = $OC$ - c < 4 ? $OC$ - c : 4;
  for (i = 0; i < n; ++i) pixel[c + i] = $NAME$_activate(a[i]);
}
void $NAME$(const float *input, float *output, void *scratch) {
  int32_t p, c, k;
  for (p = 0; p < $PIXELS$; p += $TILE$) {
    const int32_t q = p < $PIXELS$ - $TILE$ ? p : $PIXELS$ - $TILE$; /* the last tile may overlap */
    const float *w = $NAME$_weights;
$WINDOWS$    for (c = 0; c < $OC$; c += 4) {
      float a[4];
#if NAS_NEON
      const float32x4_t b = vld1q_f32($NAME$_bias + c);
$NEON_INIT$      for (k = 0; k + 4 <= $INNER$; k += 4, w += 16) {
        const float32x4_t w0 = vld1q_f32(w), w1 = vld1q_f32(w + 4), w2 = vld1q_f32(w + 8), w3 = vld1q_f32(w + 12);
$NEON_STEPS$      }
      for (; k < $INNER$; ++k, w += 4) {
$NEON_REST$      }
$NEON_STORE$#else
      const float *const b = $NAME$_bias + c;
$INIT$      for (k = 0; k < $INNER$; ++k, w += 4) {
        const float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
$STEPS$      }
$STORE$#endif
    }
  }
}
)";

// One line per pixel of the tile; # stands for its number.
std::string per_pixel(int tile, const std::string& line) {
  std::string text;
  for (int i = 0; i < tile; ++i)
    for (const char c : line) text += c == '#' ? std::to_string(i) : std::string(1, c);
  return text;
}

void add_tile(Variables& v, const std::string& name, int tile, bool point) {
  v.set("TILE", tile);
  const std::string window = point ? "0" : "# * " + v.get("INNER");
  v.set("WINDOWS", per_pixel(tile, "    const float *const x# = " + name +
                                       "_window(input, q + #, (float *)scratch + " + window + ");\n"));
  const std::string store = name + "_store(output + (q + #) * " + v.get("OC") + ", a, c);\n";
  v.set("NEON_INIT", per_pixel(tile, "      float32x4_t a# = b;\n"));
  v.set("NEON_STEPS",
        per_pixel(tile,
                  "        { const float32x4_t x = vld1q_f32(x# + k);\n"
                  "          a# = vfmaq_laneq_f32(a#, w0, x, 0); a# = vfmaq_laneq_f32(a#, w1, x, 1);\n"
                  "          a# = vfmaq_laneq_f32(a#, w2, x, 2); a# = vfmaq_laneq_f32(a#, w3, x, 3); }\n"));
  v.set("NEON_REST", per_pixel(tile, "        a# = vfmaq_n_f32(a#, vld1q_f32(w), x#[k]);\n"));
  v.set("NEON_STORE", per_pixel(tile, "      vst1q_f32(a, a#); " + store));
  v.set("INIT", per_pixel(tile, "      float a#0 = b[0], a#1 = b[1], a#2 = b[2], a#3 = b[3];\n"));
  v.set("STEPS",
        per_pixel(tile,
                  "        { const float x = x#[k]; a#0 += x * w0; a#1 += x * w1; a#2 += x * w2; a#3 += x * "
                  "w3; }\n"));
  v.set("STORE", per_pixel(tile, "      a[0] = a#0; a[1] = a#1; a[2] = a#2; a[3] = a#3; " + store));
}

constexpr const char* kElements = R"(
void $NAME$(const float *input, $SECOND$float *output, void *scratch) {
  int32_t p, c;
  (void)scratch;
  for (p = 0; p < $PIXELS$; ++p)
    for (c = 0; c < $C$; ++c) output[p * $C$ + c] = $NAME$_activate($VALUE$);
}
)";

const char* activation_expression(Activation activation) {
  switch (activation) {
    case Activation::relu:
      return "x > 0.0f ? x : 0.0f";
    case Activation::relu6:
      return "x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x";
    case Activation::hard_swish:
      return "x * nas_hard_sigmoid(x)";
    case Activation::hard_sigmoid:
      return "nas_hard_sigmoid(x)";
    case Activation::swish:
      return "x * nas_sigmoid(x)";
    case Activation::sigmoid:
      return "nas_sigmoid(x)";
    case Activation::none:
    case Activation::gelu:
      break;
  }
  return "x";
}

bool is_point(const KernelSpec& spec) { return spec.kernel == 1 && spec.padding == 0; }

int inner_size(const KernelSpec& spec) { return spec.kernel * spec.kernel * spec.input.channels; }

// Four pixels at once while their windows fit: floats may take four times the scratch of int8.
int float_tile(const KernelSpec& spec, const Shape& out, const CodegenOptions& options) {
  const std::size_t windows = is_point(spec) ? 0 : 16 * static_cast<std::size_t>(inner_size(spec));
  return out.height * out.width >= 4 && windows <= 4 * options.scratch_limit ? 4 : 1;
}

}  // namespace

std::size_t float_conv_scratch(const KernelSpec& spec, const Shape& out, const CodegenOptions& options) {
  if (is_point(spec)) return 0;
  return sizeof(float) * static_cast<std::size_t>(inner_size(spec) * float_tile(spec, out, options));
}

std::string activate_function(const FloatJob& job) {
  return "\nNAS_HELPER float " + job.name + "_activate(float x) { return " +
         activation_expression(job.spec.activation) + "; }\n";
}

std::string conv_float(const FloatJob& job) {
  Variables v = shape_variables(job.name, job.spec, job.out);
  const std::size_t inner = job.params.weights.size() / static_cast<std::size_t>(job.out.channels);
  const auto channels = static_cast<std::size_t>(job.out.channels);
  std::vector<float> weights, bias = job.params.bias;
  for (std::size_t block = 0; block < channels; block += 4)
    for (std::size_t k = 0; k < inner; ++k)
      for (std::size_t c = block; c < block + 4; ++c)
        weights.push_back(c < channels ? job.params.weights[c * inner + k] : 0.0f);
  bias.resize((channels + 3) / 4 * 4);
  const bool point = is_point(job.spec);
  add_tile(v, job.name, float_tile(job.spec, job.out, job.options), point);
  return array_text("float", job.name + "_weights", std::span<const float>(weights)) +
         array_text("float", job.name + "_bias", std::span<const float>(bias)) + activate_function(job) +
         fill(point ? kPointWindow : kWindow, v) + fill(kConv, v);
}

std::string elementwise_float(const FloatJob& job) {
  Variables v = shape_variables(job.name, job.spec, job.out);
  const bool two = job.spec.kind != KernelKind::lookup;
  v.set("SECOND", two ? "const float *second, " : "");
  std::string value = fill("input[p * $C$ + c]", v);
  if (job.spec.kind == KernelKind::add) value += fill(" + second[p * $C$ + c]", v);
  if (job.spec.kind == KernelKind::scale_channels) value += " * second[c]";
  v.set("VALUE", value);
  return activate_function(job) + fill(kElements, v);
}

}  // namespace nas::devices::codegen
