#include "devices/codegen/generate.h"

#include <cctype>
#include <set>

#include "devices/codegen/emit.h"
#include "devices/codegen/requant_plan.h"

namespace nas::devices::codegen {
namespace {

Result<void> check_name(const std::string& name) {
  bool good = !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0;
  for (const char c : name) good = good && (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_');
  if (!good) return usage_error("a kernel's name must be a C identifier, found \"" + name + "\"");
  return {};
}

bool takes_two(KernelKind kind) { return kind == KernelKind::add || kind == KernelKind::scale_channels; }

// The wanted texts behind one another in a preprocessor chain; an empty DSP text leaves its machines to the
// portable one.
std::string choose(const Int8Job& job, const std::string& portable, const std::string& dsp,
                   const std::string& neon) {
  std::string text = "#if 0\n";
  const bool once = needs_single_rounding(job.spec, job.params);
  if (!dsp.empty()) text += once ? "#elif NAS_DSP && !NAS_DOUBLE_ROUNDING\n" + dsp : "#elif NAS_DSP\n" + dsp;
  if (!neon.empty()) text += "#elif NAS_NEON\n" + neon;
  const bool needs_portable = job.options.portable || (job.options.dsp && (dsp.empty() || once));
  if (needs_portable) return text + "#else\n" + portable + "#endif\n";
  return text + "#else\n#error \"this text was generated without portable code\"\n#endif\n";
}

std::string int8_text(const Int8Job& job) {
  const bool dsp = job.options.dsp, neon = job.options.neon;
  switch (job.spec.kind) {
    case KernelKind::conv:
    case KernelKind::fully_connected:
      return choose(job, conv_portable(job), dsp ? conv_dsp(job) : "", neon ? conv_neon(job) : "");
    case KernelKind::depthwise:
      return choose(job, depthwise_portable(job), dsp ? depthwise_dsp(job) : "",
                    neon ? depthwise_neon(job) : "");
    case KernelKind::add:
      return add_kernel(job);
    case KernelKind::scale_channels:
      return scale_channels_kernel(job);
    case KernelKind::average_pool:
    case KernelKind::max_pool:
      return pool_kernel(job);
    case KernelKind::lookup:
      break;
  }
  return lookup_kernel(job);
}

std::string float_text(const FloatJob& job) {
  switch (job.spec.kind) {
    case KernelKind::conv:
    case KernelKind::fully_connected:
      return conv_float(job);
    case KernelKind::depthwise:
      return depthwise_float(job);
    case KernelKind::average_pool:
    case KernelKind::max_pool:
      return pool_float(job);
    default:
      break;
  }
  return elementwise_float(job);
}

}  // namespace

Result<std::string> generate_kernel(const std::string& name, const KernelSpec& spec, const Int8Params& params,
                                    const CodegenOptions& options) {
  NAS_CHECK(check_name(name));
  NAS_CHECK(check(spec, params));
  NAS_TRY(out, output_shape(spec));
  return "\n" + kernel_declaration(name, spec) + "\n" +
         int8_text({name, as_convolution(spec), out, params, options});
}

Result<std::string> generate_kernel(const std::string& name, const KernelSpec& spec,
                                    const FloatParams& params, const CodegenOptions& options) {
  NAS_CHECK(check_name(name));
  NAS_CHECK(check(spec, params));
  NAS_TRY(out, output_shape(spec));
  FloatJob job{name, as_convolution(spec), out, params, options};
  job.params.bias.resize(static_cast<std::size_t>(out.channels));
  return "\n" + kernel_declaration(name, spec) + "\n" + float_text(job);
}

Result<std::string> generate_source(const std::vector<NamedKernel>& kernels, const CodegenOptions& options) {
  std::string text = generate_prelude();
  std::set<std::string> names;
  for (const NamedKernel& kernel : kernels) {
    if (!names.insert(kernel.name).second) return usage_error("two kernels have the name " + kernel.name);
    auto one = std::visit(
        [&](const auto& params) { return generate_kernel(kernel.name, kernel.spec, params, options); },
        kernel.params);
    if (!one) return Error{one.error().message, kernel.name, one.error().kind};
    text += *one;
  }
  return text;
}

std::string kernel_declaration(const std::string& name, const KernelSpec& spec) {
  const std::string type = spec.precision == Precision::int8 ? "int8_t" : "float";
  return "void " + name + "(const " + type + " *input, " +
         (takes_two(spec.kind) ? "const " + type + " *second, " : "") + type + " *output, void *scratch);";
}

Result<std::size_t> scratch_bytes(const KernelSpec& given, Target target, const CodegenOptions& options) {
  NAS_TRY(out, output_shape(given));
  const KernelSpec spec = as_convolution(given);
  if (spec.kind == KernelKind::depthwise) return depthwise_scratch(spec, out, target, options);
  if (spec.kind != KernelKind::conv) return std::size_t{0};
  if (spec.precision == Precision::int8) return conv_scratch(spec, out, target, options);
  return float_conv_scratch(spec, out, options);
}

}  // namespace nas::devices::codegen
