#include <algorithm>

#include "devices/codegen/emit.h"

namespace nas::devices::codegen {
namespace {

int inner_size(const KernelSpec& spec) { return spec.kernel * spec.kernel * spec.input.channels; }

int round_up(int value, int to) { return (value + to - 1) / to * to; }

bool is_point(const KernelSpec& spec) { return spec.kernel == 1 && spec.padding == 0; }

// A pointer to the window of one output pixel as $INNER$ bytes in a row: the input itself for a 1x1 kernel.
constexpr const char* kPointWindow = R"(
NAS_HELPER const int8_t *$NAME$_window(const int8_t *in, int32_t pixel, int8_t *window) {
  (void)window;
  return in + (pixel / $OW$ * $STRIDE$ * $W$ + pixel % $OW$ * $STRIDE$) * $C$;
}
)";

constexpr const char* kGatheredPoint = R"(
NAS_HELPER const int8_t *$NAME$_window(const int8_t *in, int32_t pixel, int8_t *window) {
  memcpy(window, in + (pixel / $OW$ * $STRIDE$ * $W$ + pixel % $OW$ * $STRIDE$) * $C$, $C$);
  return window;
}
)";

constexpr const char* kGatheredWindow = R"(
NAS_HELPER const int8_t *$NAME$_window(const int8_t *in, int32_t pixel, int8_t *window) {
  const int32_t y = pixel / $OW$ * $STRIDE$ - $PAD$, x = pixel % $OW$ * $STRIDE$ - $PAD$;
  const int32_t x0 = x < 0 ? 0 : x, x1 = x + $KERNEL$ > $W$ ? $W$ : x + $KERNEL$;
  int32_t row;
  if (y < 0 || x < 0 || y > $H$ - $KERNEL$ || x > $W$ - $KERNEL$) memset(window, $ZX$, $INNER$);
  for (row = y < 0 ? 0 : y; row < y + $KERNEL$ && row < $H$; ++row)
    if (x1 > x0) memcpy(window + ((row - y) * $KERNEL$ + x0 - x) * $C$, in + (row * $W$ + x0) * $C$, (uint32_t)((x1 - x0) * $C$));
  return window;
}
)";

constexpr const char* kPortable = R"(
void $NAME$(const int8_t *input, int8_t *output, void *scratch) {
  int32_t p, c, k;
  for (p = 0; p < $PIXELS$; ++p) {
    const int8_t *const x = $NAME$_window(input, p, (int8_t *)scratch);
    const int8_t *w = $NAME$_weights;
    for (c = 0; c < $FULL$; c += 4, w += 4 * $INNER$) {
      int32_t a0 = $NAME$_bias[c], a1 = $NAME$_bias[c + 1], a2 = $NAME$_bias[c + 2], a3 = $NAME$_bias[c + 3];
      for (k = 0; k < $INNER$; ++k) {
        const int32_t v = x[k];
        a0 += v * w[k];
        a1 += v * w[$INNER$ + k];
        a2 += v * w[2 * $INNER$ + k];
        a3 += v * w[3 * $INNER$ + k];
      }
      *output++ = $NAME$_finish(a0, c);
      *output++ = $NAME$_finish(a1, c + 1);
      *output++ = $NAME$_finish(a2, c + 2);
      *output++ = $NAME$_finish(a3, c + 3);
    }
    for (; c < $OC$; ++c, w += $INNER$) {
      int32_t a = $NAME$_bias[c];
      for (k = 0; k < $INNER$; ++k) a += (int32_t)x[k] * w[k];
      *output++ = $NAME$_finish(a, c);
    }
  }
}
)";

// The same with packed weights: a byte of them at a time.
constexpr const char* kPortablePacked = R"(
void $NAME$(const int8_t *input, int8_t *output, void *scratch) {
  int32_t p, c, k;
  for (p = 0; p < $PIXELS$; ++p) {
    const int8_t *const x = $NAME$_window(input, p, (int8_t *)scratch);
    const int8_t *w = $NAME$_weights;
    for (c = 0; c < $OC$; ++c, w += $ROW_BYTES$) {
      int32_t a = $NAME$_bias[c];
      for (k = 0; k + $PER$ <= $INNER$; k += $PER$) {
        const uint32_t b = (uint8_t)w[k / $PER$];
$PRODUCTS$      }
      for (; k < $INNER$; ++k) a += x[k] * nas_code(w, k, $BITS$);
      *output++ = $NAME$_finish(a, c);
    }
  }
}
)";

// Weights in blocks of four channels by four inner indices: what one SDOT by a lane takes. Without SDOT the
// products are widened to 16 bits and added pairwise.
constexpr const char* kNeon = R"(
#if defined(__ARM_FEATURE_DOTPROD)
#define $NAME$_STEP(a, w, x, lane) a = vdotq_laneq_s32(a, w, x, lane)
#else
#define $NAME$_STEP(a, w, x, lane) \
  do { \
    const int8x16_t d_ = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(x), lane)); \
    a = vaddq_s32(a, vpaddq_s32(vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(d_))), \
                                vpaddlq_s16(vmull_high_s8(w, d_)))); \
  } while (0)
#endif
void $NAME$(const int8_t *input, int8_t *output, void *scratch) {
  int32_t p, c, k;
  for (p = 0; p < $PIXELS$; p += $TILE$) {
    const int32_t q = p < $PIXELS$ - $TILE$ ? p : $PIXELS$ - $TILE$;
    const int8_t *const window = (const int8_t *)scratch;
$WINDOWS$    (void)window;
    for (c = 0; c < $OC$; c += 8) {
      const int8_t *w = $NAME$_weights + c / 8 * $BLOCK_BYTES$;
      const int32x4_t b0 = vld1q_s32($NAME$_bias + c), b1 = vld1q_s32($NAME$_bias + c + 4);
$INIT$      for (k = 0; k < $INNER16$; k += 16, w += $STEP_BYTES$) {
$LOADS$$STEPS$      }
$STORES$    }
  }
}
#undef $NAME$_STEP
)";

std::string repeat(int count, auto text) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text(std::to_string(i));
  return result;
}

// Declares the 16 weights of a lane's half `half` as w0 or w1: loaded, or unpacked from where they share
// bytes.
std::string neon_load(int lane, int half, int bits) {
  const int per = 8 / bits, vector = 2 * lane + half, place = vector % per;
  const std::string to = "w" + std::to_string(half);
  std::string value = "vld1q_s8(w + " + std::to_string(vector / per * 16) + ")";
  if (place + 1 < per) value = "vshlq_n_s8(" + value + ", " + std::to_string(8 - bits * (place + 1)) + ")";
  if (bits < 8) value = "vshrq_n_s8(" + value + ", " + std::to_string(8 - bits) + ")";
  return "        const int8x16_t " + to + " = " + value + ";\n";
}

void add_neon_tile(Variables& v, const std::string& name, int tile, bool direct, int bits) {
  v.set("TILE", tile);
  v.set("WINDOWS", repeat(tile, [&](const std::string& i) {
          return "    const int8_t *const x" + i + " = " + name + "_window(input, q + " + i +
                 ", (int8_t *)scratch + " + (direct ? "0" : i + " * " + v.get("INNER16")) + ");\n";
        }));
  v.set("INIT", repeat(tile, [](const std::string& i) {
          return "      int32x4_t a" + i + "0 = b0, a" + i + "1 = b1;\n";
        }));
  v.set("LOADS", repeat(tile, [](const std::string& i) {
          return "        const int8x16_t v" + i + " = vld1q_s8(x" + i + " + k);\n";
        }));
  std::string steps;
  for (int lane = 0; lane < 4; ++lane) {
    const std::string l = std::to_string(lane);
    steps += "        {\n" + neon_load(lane, 0, bits) + neon_load(lane, 1, bits);
    steps += repeat(tile, [&](const std::string& i) {
      return "        " + name + "_STEP(a" + i + "0, w0, v" + i + ", " + l + "); " + name + "_STEP(a" + i +
             "1, w1, v" + i + ", " + l + ");\n";
    });
    steps += "        }\n";
  }
  v.set("STEPS", steps);
  v.set("STORES", repeat(tile, [&](const std::string& i) {
          return "      " + name + "_store(output + (q + " + i + ") * " + v.get("OC") + ", a" + i + "0, a" +
                 i + "1, c);\n";
        }));
}

// Vectors of 16 weights, several of them in the same 16 bytes.
std::vector<std::int8_t> packed_vectors(const std::vector<std::int8_t>& weights, int bits) {
  const std::size_t per = 8 / static_cast<std::size_t>(bits);
  std::vector<std::int8_t> packed(weights.size() / per);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t vector = i / 16;
    std::int8_t& byte = packed[vector / per * 16 + i % 16];
    byte = static_cast<std::int8_t>(static_cast<unsigned>(byte) |
                                    (static_cast<unsigned>(weights[i]) & ((1U << bits) - 1))
                                        << (static_cast<std::size_t>(bits) * (vector % per)));
  }
  return packed;
}

// [channel block of 8][inner block of 16][lane of 4][channel half][4 channels][4 inner]
std::vector<std::int8_t> neon_weights(const Int8Job& job, int inner, int inner16) {
  std::vector<std::int8_t> result;
  for (int block = 0; block < job.out.channels; block += 8)
    for (int k = 0; k < inner16; k += 4)
      for (int c = block; c < block + 8; ++c)
        for (int i = k; i < k + 4; ++i) {
          const bool inside = c < job.out.channels && i < inner;
          result.push_back(inside ? job.params.weights[static_cast<std::size_t>(c) * inner + i]
                                  : std::int8_t{0});
        }
  return result;
}

void add_packed(Variables& v, const KernelSpec& spec) {
  const int bits = spec.weight_bits, per = 8 / bits;
  v.set("BITS", bits).set("PER", per).set("ROW_BYTES", packed_row_bytes(spec));
  v.set("PRODUCTS", repeat(per, [&](const std::string& i) {
          const int shift = 32 - bits * (std::stoi(i) + 1);
          return "        a += x[k + " + i + "] * ((int32_t)(b << " + std::to_string(shift) + ") >> " +
                 std::to_string(32 - bits) + ");\n";
        }));
}

}  // namespace

std::string conv_portable(const Int8Job& job) {
  Variables v = shape_variables(job.name, job.spec, job.out);
  add_int8_variables(v, job.params);
  v.set("FULL", job.out.channels / 4 * 4);
  const bool packed = job.spec.weight_bits < 8;
  if (packed) add_packed(v, job.spec);
  const std::vector<std::int8_t> weights =
      packed ? packed_rows(job.params.weights, static_cast<std::size_t>(inner_size(job.spec)),
                           job.spec.weight_bits)
             : job.params.weights;
  return array_text("int8_t", job.name + "_weights", std::span<const std::int8_t>(weights)) +
         bias_array(job, 1) + multiplier_arrays(job, 1) + table_array(job) + finish_function(job) +
         fill(is_point(job.spec) ? kPointWindow : kGatheredWindow, v) +
         fill(packed ? kPortablePacked : kPortable, v);
}

std::string conv_neon(const Int8Job& job) {
  Variables v = shape_variables(job.name, job.spec, job.out);
  add_int8_variables(v, job.params);
  const int inner = inner_size(job.spec), inner16 = round_up(inner, 16);
  v.set("INNER16", inner16);
  const bool direct = is_point(job.spec) && inner % 16 == 0;
  const std::int64_t pixels = std::int64_t{job.out.height} * job.out.width;
  const int bits = job.spec.weight_bits;
  v.set("STEP_BYTES", 16 * bits).set("BLOCK_BYTES", inner16 * bits);
  add_neon_tile(v, job.name, pixels >= 4 ? 4 : 1, direct, bits);
  const std::vector<std::int8_t> weights = packed_vectors(neon_weights(job, inner, inner16), bits);
  const char* window = direct ? kPointWindow : is_point(job.spec) ? kGatheredPoint : kGatheredWindow;
  return array_text("int8_t", job.name + "_weights", std::span<const std::int8_t>(weights)) +
         bias_array(job, 8) + multiplier_arrays(job, 8) + table_array(job) + neon_store_function(job) +
         fill(window, v) + fill(kNeon, v);
}

std::size_t conv_scratch(const KernelSpec& spec, const Shape& out, Target target,
                         const CodegenOptions& options) {
  const bool direct = is_point(spec);
  const std::size_t portable = direct ? 0 : static_cast<std::size_t>(inner_size(spec));
  if (target == Target::portable) return portable;
  if (target == Target::dsp) return std::max(portable, dsp_conv_scratch(spec, out, options.scratch_limit));
  if (direct && inner_size(spec) % 16 == 0) return 0;
  const std::int64_t pixels = std::int64_t{out.height} * out.width;
  return static_cast<std::size_t>(round_up(inner_size(spec), 16)) * (pixels >= 4 ? 4 : 1);
}

}  // namespace nas::devices::codegen
