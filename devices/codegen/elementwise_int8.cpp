#include <algorithm>

#include "devices/codegen/emit.h"
#include "devices/codegen/requant_plan.h"

namespace nas::devices::codegen {
namespace {

constexpr const char* kAddPortable = R"(
void $NAME$(const int8_t *input, const int8_t *second, int8_t *output, void *scratch) {
  int32_t i;
  (void)scratch;
  for (i = 0; i < $ELEMENTS$; ++i) {
    const int32_t left = nas_multiply((input[i] - ($ZX$)) * (1 << 20), $M0$, $S0$);
    const int32_t right = nas_multiply((second[i] - ($Z2$)) * (1 << 20), $M1$, $S1$);
    const int32_t y = nas_clamp(nas_multiply(left + right, $M2$, $S2$) + $ZY$, $LOW$, $HIGH$);
    output[i] = $RESULT$;
  }
}
)";

// Each rescaled input has 256 values only: a table for one; the other, being half of the common scale, is a
// shift.
constexpr const char* kAddDsp = R"(
#define $NAME$_STEP(i) \
  do { \
    int32_t y = nas_smmla($ROUND$, $SUM$, $M2$); \
    NAS_SATURATE_SHIFTED(y, y, $K$); \
$CLAMP$    output[i] = $RESULT$; \
  } while (0)
void $NAME$(const int8_t *input, const int8_t *second, int8_t *output, void *scratch) {
  int32_t i;
  (void)scratch;
  for (i = 0; i < $EIGHTS$; ++i) {
    $NAME$_STEP(0); $NAME$_STEP(1); $NAME$_STEP(2); $NAME$_STEP(3);
    $NAME$_STEP(4); $NAME$_STEP(5); $NAME$_STEP(6); $NAME$_STEP(7);
    input += 8; second += 8; output += 8;
  }
  for (i = 0; i < $REST$; ++i) $NAME$_STEP(i);
}
#undef $NAME$_STEP
)";

constexpr const char* kScale = R"(
void $NAME$(const int8_t *input, const int8_t *second, int8_t *output, void *scratch) {
  int32_t p, c;
  (void)scratch;
  for (p = 0; p < $PIXELS$; ++p, input += $C$, output += $C$)
    for (c = 0; c < $C$; ++c) {
      const int32_t product = (input[c] - ($ZX$)) * (second[c] - ($Z2$));
$COMPUTE$      output[c] = $RESULT$;
    }
}
)";

constexpr const char* kLookup = R"(
void $NAME$(const int8_t *input, int8_t *output, void *scratch) {
  int32_t i;
  (void)scratch;
  for (i = 0; i < $ELEMENTS$; ++i) output[i] = $NAME$_table[input[i] + 128];
}
)";

Variables job_variables(const Int8Job& job) {
  Variables v = shape_variables(job.name, job.spec, job.out);
  add_int8_variables(v, job.params);
  v.set("Z2", job.params.second_zero);
  v.set("RESULT", job.params.table ? job.name + "_table[y + 128]" : "(int8_t)y");
  for (std::size_t i = 0; i < job.params.multipliers.size(); ++i) {
    v.set("M" + std::to_string(i), int32_text(job.params.multipliers[i].mantissa));
    v.set("S" + std::to_string(i), job.params.multipliers[i].exponent);
  }
  return v;
}

// A multiplier that SMMLA and a shift by a constant can do, with the output's zero point inside; sums and
// products of two inputs stay below 2^30.
bool short_form(const Multiplier& m) { return m.exponent <= -2 && m.exponent >= -23; }

void add_short_form(Variables& v, const Multiplier& m, std::int32_t zero) {
  const int k = -1 - m.exponent;
  v.set("K", k).set("ROUND", (std::int64_t{1} << (k - 1)) + std::int64_t{zero} * (std::int64_t{1} << k));
}

bool is_half(const Multiplier& m) { return m.mantissa == 1 << 30 && m.exponent == 0; }

std::vector<std::int32_t> rescale_table(std::int32_t zero, const Multiplier& m, std::int32_t offset) {
  std::vector<std::int32_t> table;
  for (int q = -128; q <= 127; ++q)
    table.push_back(multiply((q - zero) * (1 << 20), m, Rounding::single) + offset);
  return table;
}

// Arrays and the expression of the two rescaled inputs' sum.
std::string add_sum(const Int8Job& job, Variables& v) {
  const auto& p = job.params;
  const bool left_half = is_half(p.multipliers[0]), right_half = !left_half && is_half(p.multipliers[1]);
  std::string arrays;
  const auto table = [&](const char* which, std::int32_t zero, const Multiplier& m, std::int32_t offset) {
    arrays += array_text("int32_t", job.name + which,
                         std::span<const std::int32_t>(rescale_table(zero, m, offset)));
  };
  if (!right_half)
    table("_right", p.second_zero, p.multipliers[1], left_half ? -p.input_zero * (1 << 19) : 0);
  if (!left_half) table("_left", p.input_zero, p.multipliers[0], right_half ? -p.second_zero * (1 << 19) : 0);
  const std::string left = left_half ? "input[i] * (1 << 19)" : job.name + "_left[input[i] + 128]";
  const std::string right = right_half ? "second[i] * (1 << 19)" : job.name + "_right[second[i] + 128]";
  v.set("SUM", left + " + " + right);
  return arrays;
}

std::string clamp_statement(const Int8Params& params, const std::string& end) {
  if (params.clamp_low == -128 && params.clamp_high == 127) return {};
  return "    y = nas_clamp(y, " + std::to_string(params.clamp_low) + ", " +
         std::to_string(params.clamp_high) + ");" + end;
}

}  // namespace

std::string add_kernel(const Int8Job& job) {
  Variables v = job_variables(job);
  const std::string portable = fill(kAddPortable, v);
  const std::int64_t zero_room = std::int64_t{1} << 30;
  const Multiplier& last = job.params.multipliers[2];
  const bool possible = short_form(last) && (std::int64_t{129} << (-1 - last.exponent)) < zero_room;
  if (!job.options.dsp || !possible) return table_array(job) + portable;
  add_short_form(v, last, job.params.output_zero);
  v.set("EIGHTS", job.spec.input.elements() / 8).set("REST", job.spec.input.elements() % 8);
  v.set("CLAMP", clamp_statement(job.params, " \\\n"));
  const std::string arrays = add_sum(job, v);
  return table_array(job) + "#if NAS_DSP && !NAS_DOUBLE_ROUNDING\n" + arrays + fill(kAddDsp, v) + "#else" +
         portable + "#endif\n";
}

std::string scale_channels_kernel(const Int8Job& job) {
  Variables v = job_variables(job);
  v.set("COMPUTE",
        fill("      const int32_t y = nas_clamp(nas_multiply(product, $M0$, $S0$) + $ZY$, $LOW$, $HIGH$);\n",
             v));
  const std::string portable = fill(kScale, v);
  const Multiplier& m = job.params.multipliers[0];
  // The product has at most 17 bits, so a left shift by 8 brings M = 2^-1 .. 2^-9 into reach of the short
  // form.
  const Multiplier raised{m.mantissa, m.exponent - 8};
  const bool possible = short_form(raised) && (std::int64_t{129} << (-1 - raised.exponent)) < std::int64_t{1}
                                                                                                  << 30;
  if (!job.options.dsp || !possible) return table_array(job) + portable;
  add_short_form(v, raised, job.params.output_zero);
  v.set("COMPUTE", fill("      int32_t y = nas_smmla($ROUND$, product * 256, $M0$);\n"
                        "      NAS_SATURATE_SHIFTED(y, y, $K$);\n",
                        v) +
                       clamp_statement(job.params, "\n"));
  return table_array(job) + "#if NAS_DSP && !NAS_DOUBLE_ROUNDING" + fill(kScale, v) + "#else" + portable +
         "#endif\n";
}

std::string lookup_kernel(const Int8Job& job) { return table_array(job) + fill(kLookup, job_variables(job)); }

}  // namespace nas::devices::codegen
