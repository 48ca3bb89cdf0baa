#include "devices/codegen/depthwise_plan.h"

namespace nas::devices::codegen {
namespace {

constexpr int kNeonLanes = 8;
constexpr int kFloatLanes = 4;

constexpr const char* kPortableRows = R"(
NAS_HELPER void $NAME$_rows(const int8_t *plane, const int8_t *w, int8_t *out, int32_t rows, int32_t c) {
  int32_t y, x, ky, kx;
  for (y = 0; y < rows; ++y, plane += $STRIDE$ * $PITCH$)
    for (x = 0; x < $OW$; ++x, out += $C$) {
      int32_t sum = $NAME$_bias[c];
      for (ky = 0; ky < $KERNEL$; ++ky)
        for (kx = 0; kx < $KERNEL$; ++kx)
          sum += (int32_t)plane[ky * $PITCH$ + x * $STRIDE$ + kx] * w[ky * $KERNEL$ + kx];
      *out = $NAME$_finish(sum, c);
    }
}
)";

constexpr const char* kNeonRows = R"(
NAS_HELPER void $NAME$_rows(const int8_t *plane, const int8_t *w, int8_t *out, int32_t rows, int32_t c) {
  int32_t y, x, ky, kx;
  const int32x4_t b0 = vld1q_s32($NAME$_bias + c), b1 = vld1q_s32($NAME$_bias + c + 4);
  for (y = 0; y < rows; ++y, plane += $STRIDE$ * $PITCH$ * 8)
    for (x = 0; x < $OW$; ++x, out += $C$) {
      int32x4_t a0 = b0, a1 = b1;
      for (ky = 0; ky < $KERNEL$; ++ky)
        for (kx = 0; kx < $KERNEL$; ++kx) {
          const int16x8_t v = vmovl_s8(vld1_s8(plane + (ky * $PITCH$ + x * $STRIDE$ + kx) * 8));
          const int16x8_t f = vmovl_s8(vld1_s8(w + (ky * $KERNEL$ + kx) * 8));
          a0 = vmlal_s16(a0, vget_low_s16(v), vget_low_s16(f));
          a1 = vmlal_high_s16(a1, v, f);
        }
      $NAME$_store(out - c, a0, a1, c);
    }
}
)";

constexpr const char* kFloatRows = R"(
NAS_HELPER void $NAME$_rows(const float *plane, const float *w, float *out, int32_t rows, int32_t c) {
  int32_t y, x, ky, kx, i;
  const int32_t n = $C$ - c < 4 ? $C$ - c : 4;
  for (y = 0; y < rows; ++y, plane += $STRIDE$ * $PITCH$ * 4)
    for (x = 0; x < $OW$; ++x, out += $C$) {
      float a[4];
#if NAS_NEON
      float32x4_t v = vld1q_f32($NAME$_bias + c);
      for (ky = 0; ky < $KERNEL$; ++ky)
        for (kx = 0; kx < $KERNEL$; ++kx)
          v = vfmaq_f32(v, vld1q_f32(plane + (ky * $PITCH$ + x * $STRIDE$ + kx) * 4), vld1q_f32(w + (ky * $KERNEL$ + kx) * 4));
      vst1q_f32(a, v);
#else
      float a0 = $NAME$_bias[c], a1 = $NAME$_bias[c + 1], a2 = $NAME$_bias[c + 2], a3 = $NAME$_bias[c + 3];
      for (ky = 0; ky < $KERNEL$; ++ky)
        for (kx = 0; kx < $KERNEL$; ++kx) {
          const float *const v = plane + (ky * $PITCH$ + x * $STRIDE$ + kx) * 4, *const f = w + (ky * $KERNEL$ + kx) * 4;
          a0 += v[0] * f[0]; a1 += v[1] * f[1]; a2 += v[2] * f[2]; a3 += v[3] * f[3];
        }
      a[0] = a0; a[1] = a1; a[2] = a2; a[3] = a3;
#endif
      for (i = 0; i < n; ++i) out[i] = $NAME$_activate(a[i]);
    }
}
)";

DepthwisePlan plan_for(const KernelSpec& spec, const Shape& out, int lanes, int bytes, std::size_t limit) {
  return plan_depthwise(spec, out, lanes, bytes, spec.input.width + 2 * spec.padding, limit);
}

DepthwisePlan neon_plan(const KernelSpec& spec, const Shape& out, const CodegenOptions& options) {
  return plan_for(spec, out, kNeonLanes, 1, 8 * options.scratch_limit);
}

DepthwisePlan float_plan(const KernelSpec& spec, const Shape& out, const CodegenOptions& options) {
  return plan_for(spec, out, kFloatLanes, 4, options.scratch_limit);
}

std::string call_rows(const Variables& v, const std::string& filters, const std::string& lanes) {
  return fill("$NAME$_rows(plane, " + filters + ", output + y * $OW$ * $C$ + c, n" + lanes + ");", v);
}

}  // namespace

std::string depthwise_portable(const Int8Job& job) {
  const DepthwisePlan plan = plan_for(job.spec, job.out, 1, 1, job.options.scratch_limit);
  Variables v = shape_variables(job.name, job.spec, job.out);
  v.set("PITCH", plan.pitch);
  const DepthwiseFilters filters = depthwise_filters(job, 1);
  return filters.array + bias_array(job, 1) + multiplier_arrays(job, 1) + table_array(job) +
         finish_function(job) + fill(kPortableRows, v) +
         depthwise_driver(job.name, job.spec, job.out, plan,
                          {"int8_t", "int8_t", std::to_string(job.params.input_zero), filters.setup,
                           call_rows(v, filters.pointer, ", c")});
}

std::string depthwise_neon(const Int8Job& job) {
  const DepthwisePlan plan = neon_plan(job.spec, job.out, job.options);
  Variables v = shape_variables(job.name, job.spec, job.out);
  v.set("PITCH", plan.pitch);
  const DepthwiseFilters filters = depthwise_filters(job, kNeonLanes);
  return filters.array + bias_array(job, 8) + multiplier_arrays(job, 8) + table_array(job) +
         neon_store_function(job) + fill(kNeonRows, v) +
         depthwise_driver(job.name, job.spec, job.out, plan,
                          {"int8_t", "int8_t", std::to_string(job.params.input_zero), filters.setup,
                           call_rows(v, filters.pointer, ", c")});
}

std::string depthwise_float(const FloatJob& job) {
  const DepthwisePlan plan = float_plan(job.spec, job.out, job.options);
  Variables v = shape_variables(job.name, job.spec, job.out);
  v.set("PITCH", plan.pitch);
  const std::vector<float> weights = depthwise_blocks(job.params.weights, job.out.channels, kFloatLanes);
  std::vector<float> bias = job.params.bias;
  bias.resize(static_cast<std::size_t>((job.out.channels + 3) / 4 * 4));
  return array_text("float", job.name + "_weights", std::span<const float>(weights)) +
         array_text("float", job.name + "_bias", std::span<const float>(bias)) + activate_function(job) +
         fill(kFloatRows, v) +
         depthwise_driver(
             job.name, job.spec, job.out, plan,
             {"float", "float", "0.0f", "",
              call_rows(v, job.name + "_weights + c * " + std::to_string(job.spec.kernel * job.spec.kernel),
                        ", c")});
}

std::size_t depthwise_scratch(const KernelSpec& spec, const Shape& out, Target target,
                              const CodegenOptions& options) {
  if (spec.precision == Precision::fp32) return float_plan(spec, out, options).plane_bytes();
  if (target == Target::neon) return neon_plan(spec, out, options).plane_bytes();
  const std::size_t portable = plan_for(spec, out, 1, 1, options.scratch_limit).plane_bytes();
  return target == Target::dsp ? std::max(portable, dsp_depthwise_scratch(spec, out, options)) : portable;
}

}  // namespace nas::devices::codegen
