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

// Weights in blocks of four channels: [block][inner][4].
constexpr const char* kConv = R"(
void $NAME$(const float *input, float *output, void *scratch) {
  int32_t p, c, k, i;
  for (p = 0; p < $PIXELS$; ++p, output += $OC$) {
    const float *const x = $NAME$_window(input, p, (float *)scratch);
    const float *w = $NAME$_weights;
    for (c = 0; c < $OC$; c += 4) {
      const int32_t n = $OC$ - c < 4 ? $OC$ - c : 4;
      float a[4];
#if NAS_NEON
      float32x4_t v = vld1q_f32($NAME$_bias + c);
      for (k = 0; k < $INNER$; ++k, w += 4) v = vfmaq_n_f32(v, vld1q_f32(w), x[k]);
      vst1q_f32(a, v);
#else
      float a0 = $NAME$_bias[c], a1 = $NAME$_bias[c + 1], a2 = $NAME$_bias[c + 2], a3 = $NAME$_bias[c + 3];
      for (k = 0; k < $INNER$; ++k, w += 4) {
        const float v = x[k];
        a0 += v * w[0]; a1 += v * w[1]; a2 += v * w[2]; a3 += v * w[3];
      }
      a[0] = a0; a[1] = a1; a[2] = a2; a[3] = a3;
#endif
      for (i = 0; i < n; ++i) output[c + i] = $NAME$_activate(a[i]);
    }
  }
}
)";

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

}  // namespace

std::string activate_function(const FloatJob& job) {
  return "\nNAS_HELPER float " + job.name + "_activate(float x) { return " +
         activation_expression(job.spec.activation) + "; }\n";
}

std::string conv_float(const FloatJob& job) {
  const Variables v = shape_variables(job.name, job.spec, job.out);
  const std::size_t inner = job.params.weights.size() / static_cast<std::size_t>(job.out.channels);
  const auto channels = static_cast<std::size_t>(job.out.channels);
  std::vector<float> weights, bias = job.params.bias;
  for (std::size_t block = 0; block < channels; block += 4)
    for (std::size_t k = 0; k < inner; ++k)
      for (std::size_t c = block; c < block + 4; ++c)
        weights.push_back(c < channels ? job.params.weights[c * inner + k] : 0.0f);
  bias.resize((channels + 3) / 4 * 4);
  const bool point = job.spec.kernel == 1 && job.spec.padding == 0;
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
