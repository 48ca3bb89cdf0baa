#include <algorithm>

#include "devices/codegen/emit.h"
#include "devices/codegen/gemm_dsp.h"

namespace nas::devices::codegen {
namespace {

// How one column of activations is laid out: whole groups of four bytes of each of the window's rows as two
// words (bytes 0 2, bytes 1 3), then the rows' left-over bytes, two to a word.
struct ColumnLayout {
  int rows = 1;    // rows of the window
  int length = 0;  // bytes of one row
  int groups = 0;  // of four bytes, per row
  int rest = 0;    // bytes left over, per row
  int pairs = 0;   // words of a column
};

ColumnLayout column_layout(const KernelSpec& spec) {
  ColumnLayout layout;
  layout.rows = spec.kernel;
  layout.length = spec.kernel * spec.input.channels;
  layout.groups = layout.length / 4;
  layout.rest = layout.length % 4;
  layout.pairs = layout.rows * layout.groups * 2 + (layout.rows * layout.rest + 1) / 2;
  return layout;
}

// The inner index (OHWI order) that each half of each word holds.
std::vector<std::int32_t> column_order(const ColumnLayout& layout) {
  std::vector<std::int32_t> order;
  for (int row = 0; row < layout.rows; ++row)
    for (int group = 0; group < layout.groups; ++group)
      for (const int byte : {0, 2, 1, 3}) order.push_back(row * layout.length + 4 * group + byte);
  for (int row = 0; row < layout.rows; ++row)
    for (int byte = 0; byte < layout.rest; ++byte)
      order.push_back(row * layout.length + 4 * layout.groups + byte);
  if (order.size() % 2 != 0) order.push_back(-1);
  return order;
}

std::string at(const std::string& base, int offset) { return base + "[" + std::to_string(offset) + "]"; }

// C statements that unpack one row of the window: `d` points at the row's first word, `s` at its first byte.
std::string unpack_row(const ColumnLayout& layout, int pixels) {
  constexpr int kWrittenOut = 16;
  const auto group = [&](int g) {
    return "    v = nas_load4(s + " + std::to_string(4 * g) + "); " + at("d", 2 * g * pixels) +
           " = nas_even(v); " + at("d", (2 * g + 1) * pixels) + " = nas_odd(v);\n";
  };
  std::string text;
  if (layout.groups <= kWrittenOut) {
    for (int g = 0; g < layout.groups; ++g) text += group(g);
    return text + "    d += " + std::to_string(2 * layout.groups * pixels) + ";\n";
  }
  constexpr int kTurn = 8;
  const int turns = layout.groups / kTurn, left = layout.groups % kTurn;
  text +=
      "    {\n    const int8_t *const row = s;\n    for (i = 0; i < " + std::to_string(turns) + "; ++i) {\n";
  for (int g = 0; g < kTurn; ++g) text += group(g);
  text +=
      "    s += " + std::to_string(4 * kTurn) + "; d += " + std::to_string(2 * kTurn * pixels) + ";\n    }\n";
  for (int g = 0; g < left; ++g) text += group(g);
  return text + "    s = row; d += " + std::to_string(2 * left * pixels) + ";\n    }\n";
}

std::string unpack_rest(const ColumnLayout& layout, int pixels) {
  std::string text;
  for (int byte = 0; byte < layout.rest; ++byte)
    text += "    *(int16_t *)(void *)((char *)rest + (n >> 1) * " + std::to_string(4 * pixels) +
            " + (n & 1) * 2) = s[" + std::to_string(4 * layout.groups + byte) + "]; ++n;\n";
  return text;
}

constexpr const char* kUnpack = R"(
NAS_HELPER void $NAME$_unpack(uint32_t *d, const int8_t *s, int32_t pitch) {
  uint32_t v;
  int32_t row, i;
$REST_BEGIN$  for (row = 0; row < $ROWS$; ++row, s += pitch) {
$ROW$$REST$  }
  (void)v; (void)i;
}
)";

constexpr const char* kPointColumn = R"(
NAS_HELPER void $NAME$_column(uint32_t *d, const int8_t *in, int32_t pixel, int8_t *window) {
  (void)window;
  $NAME$_unpack(d, in + $POSITION$, 0);
}
)";

constexpr const char* kWindowColumn = R"(
NAS_HELPER void $NAME$_column(uint32_t *d, const int8_t *in, int32_t pixel, int8_t *window) {
  const int32_t y = pixel / $OW$ * $STRIDE$ - $PAD$, x = pixel % $OW$ * $STRIDE$ - $PAD$;
  if (y >= 0 && x >= 0 && y <= $H$ - $KERNEL$ && x <= $W$ - $KERNEL$) {
    $NAME$_unpack(d, in + (y * $W$ + x) * $C$, $W$ * $C$);
  } else {
    const int32_t x0 = x < 0 ? 0 : x, x1 = x + $KERNEL$ > $W$ ? $W$ : x + $KERNEL$;
    int32_t row;
    memset(window, $ZX$, $INNER$);
    for (row = y < 0 ? 0 : y; row < y + $KERNEL$ && row < $H$; ++row)
      if (x1 > x0) memcpy(window + ((row - y) * $KERNEL$ + x0 - x) * $C$, in + (row * $W$ + x0) * $C$, (uint32_t)(x1 - x0) * $C$);
    $NAME$_unpack(d, window, $KERNEL$ * $C$);
  }
}
)";

constexpr const char* kFunction = R"(
void $NAME$(const int8_t *input, int8_t *output, void *scratch) {
  uint32_t *const columns = (uint32_t *)scratch;
  int8_t *const window = (int8_t *)(columns + $COLUMN_WORDS$);
  int32_t p;
  for (p = 0; p < $PIXELS$; p += $TILE$) {
    const int32_t q = p < $PIXELS$ - $TILE$ ? p : $PIXELS$ - $TILE$; /* the last tile may overlap */
$COLUMNS$    $GEMM$((const int32_t *)(const void *)columns, $NAME$_words, output + q * $OC$, $TABLE$);
  }
}
)";

std::string column_function(const KernelSpec& spec, Variables& variables) {
  const bool point = spec.kernel == 1 && spec.padding == 0;
  variables.set("POSITION",
                spec.stride == 1
                    ? fill("pixel * $C$", variables)
                    : fill("(pixel / $OW$ * $STRIDE$ * $W$ + pixel % $OW$ * $STRIDE$) * $C$", variables));
  return fill(point ? kPointColumn : kWindowColumn, variables);
}

}  // namespace

std::string conv_dsp(const Int8Job& job) {
  const auto plan = plan_requant(job.spec, job.params);
  if (!plan) return {};
  const ColumnLayout layout = column_layout(job.spec);
  const std::int64_t out_pixels = std::int64_t{job.out.height} * job.out.width;
  DspGemm gemm{.pairs = layout.pairs,
               .channels = job.out.channels,
               .requant = *plan,
               .bits = job.spec.weight_bits,
               .table = job.params.table.has_value(),
               .zero = job.params.output_zero,
               .clamp_low = job.params.clamp_low,
               .clamp_high = job.params.clamp_high};
  gemm.pixels = dsp_gemm_pixels(out_pixels, 2 * layout.pairs, job.out.channels, job.options.scratch_limit);

  Variables variables = shape_variables(job.name, job.spec, job.out);
  add_int8_variables(variables, job.params);
  std::string columns;
  for (int i = 0; i < gemm.pixels; ++i)
    columns += "    " + job.name + "_column(columns + " + std::to_string(i) + ", input, q + " +
               std::to_string(i) + ", window);\n";
  variables.set("ROWS", layout.rows).set("ROW", unpack_row(layout, gemm.pixels));
  variables.set("REST", unpack_rest(layout, gemm.pixels));
  variables.set("REST_BEGIN", layout.rest == 0
                                  ? std::string()
                                  : "  uint32_t *const rest = d + " +
                                        std::to_string(layout.rows * layout.groups * 2 * gemm.pixels) +
                                        ";\n  int32_t n = 0;\n");
  variables.set("COLUMN_WORDS", layout.pairs * gemm.pixels).set("TILE", gemm.pixels).set("COLUMNS", columns);
  variables.set("GEMM", dsp_gemm_name(gemm));
  variables.set("TABLE", gemm.table ? job.name + "_table + 128" : "0");
  return array_text("int32_t", job.name + "_words",
                    dsp_gemm_weights(gemm, column_order(layout), job.params.weights,
                                     folded_bias(job.spec, job.params))) +
         table_array(job) + dsp_gemm_function(gemm) + fill(kUnpack, variables) +
         column_function(job.spec, variables) + fill(kFunction, variables);
}

std::size_t dsp_conv_scratch(const KernelSpec& spec, const Shape& out, std::size_t limit) {
  const ColumnLayout layout = column_layout(spec);
  const int pixels =
      dsp_gemm_pixels(std::int64_t{out.height} * out.width, 2 * layout.pairs, out.channels, limit);
  const bool point = spec.kernel == 1 && spec.padding == 0;
  const int window = point ? 0 : layout.rows * layout.length;
  return static_cast<std::size_t>(layout.pairs * pixels * 4 + window);
}

}  // namespace nas::devices::codegen
