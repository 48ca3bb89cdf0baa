#include "devices/codegen/emit.h"

#include <algorithm>

namespace nas::devices::codegen {
namespace {

constexpr const char* kFinish = R"(
NAS_HELPER int8_t $NAME$_finish(int32_t sum, int32_t c) {
  const int32_t y = nas_clamp(nas_multiply(sum, $NAME$_m[c], $NAME$_s[c]) + $ZY$, $LOW$, $HIGH$);
  return $RESULT$;
}
)";

constexpr const char* kNeonStore = R"(
/* channels c .. c + 7 of one pixel, as many as there are */
NAS_HELPER void $NAME$_store(int8_t *pixel, int32x4_t a, int32x4_t b, int32_t c) {
  const int8x8_t y = nas_narrow8(nas_multiply4(a, $NAME$_m + c, $NAME$_s + c),
                                 nas_multiply4(b, $NAME$_m + c + 4, $NAME$_s + c + 4), $ZY$, $LOW$, $HIGH$);
  int8_t bytes[8];
  int32_t i;
  const int32_t n = $OC$ - c < 8 ? $OC$ - c : 8;
  vst1_s8(bytes, y);
  for (i = 0; i < n; ++i) pixel[c + i] = $LOOKUP$;
}
)";

template <class Pick>
std::vector<std::int32_t> per_channel(const Int8Job& job, int round_to, Pick pick) {
  std::vector<std::int32_t> values;
  for (std::size_t c = 0; c < job.params.multipliers.size(); ++c) values.push_back(pick(c));
  while (values.size() % static_cast<std::size_t>(round_to) != 0) values.push_back(0);
  return values;
}

}  // namespace

std::vector<std::int8_t> packed_rows(const std::vector<std::int8_t>& weights, std::size_t row, int bits) {
  const std::size_t per = 8 / static_cast<std::size_t>(bits);
  std::vector<std::int8_t> packed;
  for (std::size_t begin = 0; begin < weights.size(); begin += row)
    for (std::size_t i = 0; i < row; i += per) {
      unsigned byte = 0;
      for (std::size_t k = i; k < std::min(i + per, row); ++k)
        byte |= (static_cast<unsigned>(weights[begin + k]) & ((1U << bits) - 1))
                << (static_cast<std::size_t>(bits) * (k - i));
      packed.push_back(static_cast<std::int8_t>(byte));
    }
  return packed;
}

KernelSpec as_convolution(KernelSpec spec) {
  if (spec.kind != KernelKind::fully_connected) return spec;
  spec.kind = KernelKind::conv;
  spec.input = {static_cast<std::int32_t>(spec.input.elements()), 1, 1};
  spec.kernel = spec.stride = 1;
  spec.padding = 0;
  return spec;
}

Variables shape_variables(const std::string& name, const KernelSpec& spec, const Shape& out) {
  Variables v;
  v.set("NAME", name).set("H", spec.input.height).set("W", spec.input.width).set("C", spec.input.channels);
  v.set("OH", out.height).set("OW", out.width).set("OC", out.channels);
  v.set("KERNEL", spec.kernel).set("STRIDE", spec.stride).set("PAD", spec.padding);
  v.set("PIXELS", std::int64_t{out.height} * out.width).set("ELEMENTS", spec.input.elements());
  v.set("INNER", std::int64_t{spec.kernel} * spec.kernel * spec.input.channels);
  return v;
}

void add_int8_variables(Variables& variables, const Int8Params& params) {
  variables.set("ZX", params.input_zero).set("ZY", params.output_zero);
  variables.set("LOW", params.clamp_low).set("HIGH", params.clamp_high);
}

std::string multiplier_arrays(const Int8Job& job, int round_to) {
  const auto& m = job.params.multipliers;
  return array_text("int32_t", job.name + "_m",
                    std::span<const std::int32_t>(
                        per_channel(job, round_to, [&](auto c) { return m[c].mantissa; }))) +
         array_text("int32_t", job.name + "_s",
                    std::span<const std::int32_t>(
                        per_channel(job, round_to, [&](auto c) { return m[c].exponent; })));
}

std::string bias_array(const Int8Job& job, int round_to) {
  const std::vector<std::int64_t> bias = folded_bias(job.spec, job.params);
  return array_text("int32_t", job.name + "_bias",
                    std::span<const std::int32_t>(per_channel(
                        job, round_to, [&](auto c) { return static_cast<std::int32_t>(bias[c]); })));
}

std::string table_array(const Int8Job& job) {
  if (!job.params.table) return {};
  std::vector<std::int8_t> folded;
  for (int q = -128; q <= 127; ++q) {
    const int clamped = std::clamp(q, job.params.clamp_low, job.params.clamp_high);
    folded.push_back((*job.params.table)[static_cast<std::size_t>(clamped + 128)]);
  }
  return array_text("int8_t", job.name + "_table", std::span<const std::int8_t>(folded));
}

std::string finish_function(const Int8Job& job) {
  Variables v;
  v.set("NAME", job.name);
  add_int8_variables(v, job.params);
  v.set("RESULT", job.params.table ? job.name + "_table[y + 128]" : "(int8_t)y");
  return fill(kFinish, v);
}

std::string neon_store_function(const Int8Job& job) {
  Variables v;
  v.set("NAME", job.name).set("OC", job.out.channels);
  add_int8_variables(v, job.params);
  v.set("LOOKUP", job.params.table ? job.name + "_table[bytes[i] + 128]" : "bytes[i]");
  return fill(kNeonStore, v);
}

}  // namespace nas::devices::codegen
