#include "devices/codegen/emit.h"

namespace nas::devices::codegen {
namespace {

// $CHANNEL$ turns the window of one output pixel, rows y0..y1 and columns x0..x1, into all its channels.
constexpr const char* kWindows = R"(
void $NAME$(const $T$ *input, $T$ *output, void *scratch) {
  int32_t oy, ox, c, y, x;
  (void)scratch;
  for (oy = 0; oy < $OH$; ++oy)
    for (ox = 0; ox < $OW$; ++ox, output += $C$) {
      const int32_t top = oy * $STRIDE$ - $PAD$, left = ox * $STRIDE$ - $PAD$;
      const int32_t y0 = top < 0 ? 0 : top, y1 = top + $KH$ < $H$ ? top + $KH$ : $H$;
      const int32_t x0 = left < 0 ? 0 : left, x1 = left + $KW$ < $W$ ? left + $KW$ : $W$;
$COUNT$      for (c = 0; c < $C$; ++c) {
        $SUM$ sum = $START$;
        for (y = y0; y < y1; ++y)
          for (x = x0; x < x1; ++x) {
            const $SUM$ v = input[(y * $W$ + x) * $C$ + c];
            $ADD$;
          }
        output[c] = $RESULT$;
      }
    }
}
)";

// Four channels at once in two pairs of 16-bit sums: at most 255 values of 8 bits.
constexpr const char* kAverageDsp = R"(
void $NAME$(const int8_t *input, int8_t *output, void *scratch) {
  int32_t oy, ox, c, y, x;
  (void)scratch;
  for (oy = 0; oy < $OH$; ++oy)
    for (ox = 0; ox < $OW$; ++ox)
      for (c = 0; c < $C$; c += 4, output += 4) {
        const int8_t *s = input + (oy * $STRIDE$ * $W$ + ox * $STRIDE$) * $C$ + c;
        uint32_t even = 0, odd = 0;
        for (y = 0; y < $KH$; ++y, s += $W$ * $C$)
          for (x = 0; x < $KW$; ++x) {
            const uint32_t v = nas_load4(s + x * $C$);
            even = nas_add_even(even, v);
            odd = nas_add_odd(odd, v);
          }
        output[0] = (int8_t)nas_mean((int16_t)even, $N$, $ZX$);
        output[1] = (int8_t)nas_mean((int16_t)odd, $N$, $ZX$);
        output[2] = (int8_t)nas_mean((int32_t)even >> 16, $N$, $ZX$);
        output[3] = (int8_t)nas_mean((int32_t)odd >> 16, $N$, $ZX$);
      }
}
)";

Variables window_variables(const std::string& name, const KernelSpec& spec, const Shape& out) {
  Variables v = shape_variables(name, spec, out);
  const int kh = spec.kernel == 0 ? spec.input.height : spec.kernel;
  const int kw = spec.kernel == 0 ? spec.input.width : spec.kernel;
  v.set("KH", kh).set("KW", kw);
  const bool clipped = (out.height - 1) * spec.stride + kh > spec.input.height + spec.padding ||
                       (out.width - 1) * spec.stride + kw > spec.input.width + spec.padding;
  const bool counts = spec.kind == KernelKind::average_pool && clipped;
  v.set("N", counts ? "n" : std::to_string(kh * kw));
  v.set("COUNT", counts ? "      const int32_t n = (y1 - y0) * (x1 - x0);\n" : "");
  return v;
}

}  // namespace

std::string pool_kernel(const Int8Job& job) {
  Variables v = window_variables(job.name, job.spec, job.out);
  const bool average = job.spec.kind == KernelKind::average_pool;
  v.set("ZX", job.params.input_zero);
  v.set("T", "int8_t").set("SUM", "int32_t").set("START", average ? "0" : "-128");
  v.set("ADD", average ? "sum += v" : "sum = v > sum ? v : sum");
  v.set("RESULT", average ? fill("(int8_t)nas_mean(sum, $N$, $ZX$)", v) : "(int8_t)sum");
  std::string portable = fill(kWindows, v);
  const bool short_sums =
      v.get("N") != "n" && std::stoll(v.get("N")) <= 255 && job.spec.input.channels % 4 == 0;
  if (!job.options.dsp || !average || !short_sums) return portable;
  return "#if NAS_DSP" + fill(kAverageDsp, v) + "#else" + portable + "#endif\n";
}

std::string pool_float(const FloatJob& job) {
  Variables v = window_variables(job.name, job.spec, job.out);
  const bool average = job.spec.kind == KernelKind::average_pool;
  v.set("T", "float").set("SUM", "float").set("START", average ? "0.0f" : "-3.402823466e38f");
  v.set("ADD", average ? "sum += v" : "sum = v > sum ? v : sum");
  v.set("RESULT", job.name + (average ? "_activate(sum / (float)" + v.get("N") + ")" : "_activate(sum)"));
  return activate_function(job) + fill(kWindows, v);
}

}  // namespace nas::devices::codegen
