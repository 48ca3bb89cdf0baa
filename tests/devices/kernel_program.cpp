#include "tests/devices/kernel_program.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "devices/codegen/text.h"
#include "space/base/rng.h"
#include "space/integer_codes.h"

namespace nas::devices::codegen {
namespace {

bool has_filter(KernelKind kind) {
  return kind == KernelKind::conv || kind == KernelKind::depthwise || kind == KernelKind::fully_connected;
}

bool takes_two(KernelKind kind) { return kind == KernelKind::add || kind == KernelKind::scale_channels; }

Shape shape_of(const KernelSpec& spec) {
  const auto shape = output_shape(spec);
  if (!shape) throw std::runtime_error(shape.error().message);
  return *shape;
}

std::size_t inner_size(const KernelSpec& spec) {
  if (spec.kind == KernelKind::fully_connected) return static_cast<std::size_t>(spec.input.elements());
  const int taps = spec.kernel * spec.kernel;
  return static_cast<std::size_t>(spec.kind == KernelKind::depthwise ? taps : taps * spec.input.channels);
}

std::vector<std::int8_t> random_bytes(Rng& rng, std::size_t n, int low) {
  std::vector<std::int8_t> bytes(n);
  for (auto& b : bytes)
    b = static_cast<std::int8_t>(low + static_cast<int>(rng.below(static_cast<std::uint64_t>(128 - low))));
  return bytes;
}

Multiplier multiplier_of(double real) { return *make_multiplier(real); }

void add_multipliers(KernelCase& c, Rng& rng, int channels) {
  if (c.spec.kind == KernelKind::add)
    c.params.multipliers = {multiplier_of(0.37), multiplier_of(0.5), multiplier_of(0.8 * 0x1p-19)};
  if (c.spec.kind == KernelKind::scale_channels) c.params.multipliers = {multiplier_of(0.011)};
  if (!has_filter(c.spec.kind)) return;
  const double weights =
      c.spec.weight_bits == 8 ? 73 : std::max(0.8, 0.58 * largest_code(c.spec.weight_bits));
  const double spread = std::sqrt(static_cast<double>(inner_size(c.spec))) * weights * 74;
  for (int i = 0; i < channels; ++i)
    c.params.multipliers.push_back(multiplier_of(42 / spread * rng.uniform(0.4, 1.2)));
}

std::vector<float> random_floats(Rng& rng, std::size_t n, double scale) {
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(scale * rng.normal());
  return values;
}

std::string data_text(const std::string& name, const std::vector<std::int8_t>& data) {
  return array_text("int8_t", name, std::span<const std::int8_t>(data));
}
std::string data_text(const std::string& name, const std::vector<float>& data) {
  return array_text("float", name, std::span<const float>(data));
}

constexpr const char* kMain = R"(#include <stdint.h>
#include <string.h>
#include "nas_board.h"
#include "kernels.h"
static int8_t scratch[$SCRATCH$ + 16] __attribute__((aligned(16)));
static int8_t outputs[$OUTPUTS$ + 16] __attribute__((aligned(16)));
static int8_t packed[$PACKED$];
static int guarded(const int8_t *p) {
  int i;
  for (i = 0; i < 16; ++i) if (p[i] != 0x5A) return 0;
  return 1;
}
int nas_main(void) {
$CALLS$  return nas_write_file("out.bin", packed, sizeof packed) == (int32_t)sizeof packed ? 0 : 255;
}
)";

constexpr const char* kCall = R"(  memset(scratch + $NEEDED$, 0x5A, 16);
  memset(outputs + $AT$ + $BYTES$, 0x5A, 16);
$COPY$  nas_region_begin();
  $NAME$($INPUT$, $SECOND$($T$ *)(void *)(outputs + $AT$), scratch);
  nas_region_end();
  if (!guarded(scratch + $NEEDED$) || !guarded(outputs + $AT$ + $BYTES$)) return $FAILURE$;
  memcpy(packed + $PACKED_AT$, outputs + $AT$, $BYTES$);
)";

template <class Case>
emulator::Program program_of(const std::vector<Case>& cases, const char* type, std::size_t width,
                             Target target, const CodegenOptions& options) {
  std::string header, data, calls;
  std::vector<NamedKernel> kernels;
  std::size_t scratch = 0, packed = 0, largest = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const std::size_t needed = *scratch_bytes(c.spec, target, options);
    const std::size_t bytes = static_cast<std::size_t>(shape_of(c.spec).elements()) * width;
    kernels.push_back({c.name, c.spec, c.params});
    header += kernel_declaration(c.name, c.spec) + "\n";
    data += data_text(c.name + "_in", c.input);
    if (takes_two(c.spec.kind)) data += data_text(c.name + "_in2", c.second);
    Variables v;
    v.set("NAME", c.name).set("T", type).set("AT", 0).set("BYTES", static_cast<std::int64_t>(bytes));
    v.set("PACKED_AT", static_cast<std::int64_t>(packed)).set("NEEDED", static_cast<std::int64_t>(needed));
    v.set("FAILURE", static_cast<std::int64_t>(i + 1));
    v.set("COPY",
          c.spec.in_place ? "  memcpy(outputs, " + c.name + "_in, " + std::to_string(bytes) + ");\n" : "");
    v.set("INPUT",
          c.spec.in_place ? std::string("(const ") + type + " *)(const void *)outputs" : c.name + "_in");
    v.set("SECOND", takes_two(c.spec.kind) ? c.name + "_in2, " : "");
    calls += fill(kCall, v);
    scratch = std::max(scratch, needed);
    largest = std::max(largest, bytes);
    packed += bytes;
  }
  Variables v;
  v.set("SCRATCH", static_cast<std::int64_t>(scratch)).set("PACKED", static_cast<std::int64_t>(packed));
  v.set("OUTPUTS", static_cast<std::int64_t>(largest)).set("CALLS", calls);
  const auto text = generate_source(kernels, options);
  if (!text) throw std::runtime_error(to_string(text.error()));
  const std::string aligned = "#define NAS_ALIGNED __attribute__((aligned(16)))\n";
  emulator::Program program;
  program.sources = {{"kernels.c", *text},
                     {"kernels.h", "#include <stdint.h>\n" + aligned + header + data},
                     {"main.c", fill(kMain, v)}};
  return program;
}

}  // namespace

KernelCase random_case(const std::string& name, const KernelSpec& spec, std::uint64_t seed) {
  Rng rng(seed, "codegen-test-" + name);
  const Shape out = shape_of(spec);
  KernelCase c{name, spec, {}, random_bytes(rng, static_cast<std::size_t>(spec.input.elements()), -128), {}};
  if (spec.kind == KernelKind::add) c.second = random_bytes(rng, c.input.size(), -128);
  if (spec.kind == KernelKind::scale_channels)
    c.second = random_bytes(rng, static_cast<std::size_t>(spec.input.channels), -128);
  c.params.input_zero = -5;
  c.params.second_zero = 11;
  c.params.output_zero = 7;
  if (has_filter(spec.kind)) {
    c.params.weights = random_bytes(rng, inner_size(spec) * static_cast<std::size_t>(out.channels), -127);
    const std::int32_t most = largest_code(spec.weight_bits);
    for (std::int8_t& w : c.params.weights)
      if (most < 127) w = static_cast<std::int8_t>((w + 127) % (2 * most + 1) - most);
    for (int i = 0; i < out.channels; ++i)
      c.params.bias.push_back(static_cast<std::int32_t>(rng.below(4001)) - 2000);
  }
  add_multipliers(c, rng, out.channels);
  if (spec.kind == KernelKind::lookup)
    c.params.table = activation_table(Activation::hard_swish, 0.05, -5, 0.03, 7);
  return c;
}

FloatCase random_float_case(const std::string& name, const KernelSpec& given, std::uint64_t seed) {
  Rng rng(seed, "codegen-float-test-" + name);
  KernelSpec spec = given;
  spec.precision = Precision::fp32;
  const Shape out = shape_of(spec);
  FloatCase c{name, spec, {}, random_floats(rng, static_cast<std::size_t>(spec.input.elements()), 1.5), {}};
  if (takes_two(spec.kind)) c.second = random_floats(rng, c.input.size(), 1.0);
  if (has_filter(spec.kind)) {
    const double scale = 1 / std::sqrt(static_cast<double>(inner_size(spec)));
    c.params.weights = random_floats(rng, inner_size(spec) * static_cast<std::size_t>(out.channels), scale);
    c.params.bias = random_floats(rng, static_cast<std::size_t>(out.channels), 0.5);
  }
  return c;
}

emulator::Program kernel_program(const std::vector<KernelCase>& cases, Target target,
                                 const CodegenOptions& options) {
  return program_of(cases, "int8_t", 1, target, options);
}

emulator::Program kernel_program(const std::vector<FloatCase>& cases, Target target,
                                 const CodegenOptions& options) {
  return program_of(cases, "float", 4, target, options);
}

}  // namespace nas::devices::codegen
