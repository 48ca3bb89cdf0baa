#include "devices/codegen/depthwise_plan.h"

#include <algorithm>

namespace nas::devices::codegen {
namespace {

constexpr const char* kGather = R"(
/* one row of channels c .. c + $LANES$ - 1 */
NAS_HELPER void $NAME$_gather($E$ *d, const $T$ *s, int32_t c) {
  int32_t i;
  (void)c;
$BODY$}
)";

constexpr const char* kDriver = R"(
void $NAME$(const $T$ *input, $T$ *output, void *scratch) {
  $E$ *const plane = ($E$ *)scratch;
  int32_t c, y, i;
  for (i = 0; i < $PLANE$; ++i) plane[i] = $FILL$;
  for (c = 0; c < $C$; c += $LANES$) {
$SETUP$    for (y = 0; y < $OH$; y += $STRIP$) {
      const int32_t n = $OH$ - y < $STRIP$ ? $OH$ - y : $STRIP$;
      const int32_t first = y * $STRIDE$ - $PAD$; /* the input row of plane row 0 */
      int32_t r = 0;
$CARRY$      for (; r < (n - 1) * $STRIDE$ + $KERNEL$; ++r) {
        $E$ *const d = plane + r * $PITCH$ + $LEFT$;
        if (first + r >= 0 && first + r < $H$)
          $NAME$_gather(d, input + (first + r) * $W$ * $C$ + c, c);
$OUTSIDE$      }
      $ROWS$
    }
  }
}
)";

constexpr const char* kCarry = R"(      if (y > 0) {
        memcpy(plane, plane + $STRIP$ * $STRIDE$ * $PITCH$, $CARRIED$ * $PITCH$ * sizeof *plane);
        r = $CARRIED$;
      }
)";

constexpr const char* kOutside = R"(        else
          for (i = 0; i < $W$ * $LANES$; ++i) d[i] = $FILL$;
)";

std::string gather_one_lane(const KernelSpec& spec) {
  constexpr int kTurn = 8;
  const int turns = spec.input.width / kTurn, rest = spec.input.width % kTurn;
  const auto copy = [&](int x) {
    return "d[" + std::to_string(x) + "] = s[" + std::to_string(x * spec.input.channels) + "];";
  };
  std::string body =
      turns == 0 ? "  (void)i;\n" : "  for (i = 0; i < " + std::to_string(turns) + "; ++i) {\n   ";
  for (int x = 0; turns > 0 && x < kTurn; ++x) body += " " + copy(x);
  if (turns > 0) body += "\n    d += 8; s += " + std::to_string(kTurn * spec.input.channels) + ";\n  }\n";
  for (int x = 0; x < rest; ++x) body += "  " + copy(x) + "\n";
  return body;
}

std::string gather_lanes(const KernelSpec& spec, int lanes) {
  const std::string n = std::to_string(lanes), c = std::to_string(spec.input.channels);
  const std::string loop = "for (i = 0; i < " + std::to_string(spec.input.width) + "; ++i) ";
  const std::string copy = "memcpy(d + i * " + n + ", s + i * " + c + ", ";
  std::string body = "  if (c + " + n + " <= " + c + ") {\n    " + loop + copy + n + " * sizeof *d);\n  }";
  if (spec.input.channels % lanes != 0)
    body +=
        " else {\n    " + loop + copy + std::to_string(spec.input.channels % lanes) + " * sizeof *d);\n  }";
  return body + "\n";
}

}  // namespace

DepthwiseFilters depthwise_filters(const Int8Job& job, int lanes, int raised) {
  const int taps = job.spec.kernel * job.spec.kernel, bits = job.spec.weight_bits;
  std::vector<std::int8_t> weights = depthwise_blocks(job.params.weights, job.out.channels, lanes);
  const std::string n = std::to_string(taps * lanes), name = job.name + "_weights";
  DepthwiseFilters filters;
  if (bits < 8) {
    weights = packed_rows(weights, static_cast<std::size_t>(taps * lanes), bits);
    const std::string place =
        "c / " + std::to_string(lanes) + " * " + std::to_string((taps * lanes * bits + 7) / 8);
    filters.setup = "    int8_t f[" + n + "];\n    nas_unpack(f, " + name + " + " + place + ", " + n + ", " +
                    std::to_string(bits) + ", " + std::to_string(raised) + ");\n";
    filters.pointer = "f";
  } else {
    filters.pointer = name + " + c * " + std::to_string(taps);
  }
  filters.array = array_text("int8_t", name, std::span<const std::int8_t>(weights));
  return filters;
}

DepthwisePlan plan_depthwise(const KernelSpec& spec, const Shape& out, int lanes, int element_bytes,
                             int pitch, std::size_t limit) {
  DepthwisePlan plan{.lanes = lanes, .element_bytes = element_bytes, .pitch = pitch};
  plan.carry = std::max(0, spec.kernel - spec.stride);
  const auto affordable = static_cast<int>(limit / static_cast<std::size_t>(pitch * lanes * element_bytes));
  const int least = std::max(1, (plan.carry + spec.stride - 1) / spec.stride);
  plan.strip = std::clamp((affordable - spec.kernel) / spec.stride + 1, least, std::max(least, out.height));
  plan.rows = (plan.strip - 1) * spec.stride + spec.kernel;
  return plan;
}

std::string depthwise_driver(const std::string& name, const KernelSpec& spec, const Shape& out,
                             const DepthwisePlan& plan, const DepthwiseText& text) {
  Variables v = shape_variables(name, spec, out);
  v.set("T", text.tensor_type).set("E", text.element_type).set("FILL", text.fill);
  v.set("LANES", plan.lanes).set("STRIP", plan.strip).set("PITCH", plan.pitch * plan.lanes);
  v.set("PLANE", plan.rows * plan.pitch * plan.lanes).set("LEFT", spec.padding * plan.lanes);
  v.set("CARRIED", plan.carry).set("SETUP", text.channel_setup).set("ROWS", text.rows_call);
  const bool strips = plan.strip < out.height;
  // One strip over the whole picture: rows outside it keep the padding that the plane was filled with.
  v.set("CARRY", strips && plan.carry > 0 ? fill(kCarry, v) : std::string());
  v.set("OUTSIDE", strips ? fill(kOutside, v) : std::string());
  v.set("BODY", plan.lanes == 1 ? gather_one_lane(spec) : gather_lanes(spec, plan.lanes));
  return fill(kGather, v) + fill(kDriver, v);
}

}  // namespace nas::devices::codegen
