#include <algorithm>

#include "devices/codegen/depthwise_plan.h"
#include "devices/codegen/requant_plan.h"
#include "devices/codegen/thumb_writer.h"

// One channel at a time, its rows as 16-bit numbers in scratch; four outputs of one row at once. A word P[i]
// holds elements 2i and 2i+1. An output that starts at an even element uses the weights as the pairs E = (w0
// w1)(w2 w3).. and the last one alone; at an odd element the first alone and the pairs O = (w1 w2)(w3 w4)..
// So every load is aligned and no pair is ever put together at run time.
//
// Registers: r0 plane, r1 weights, r2-r5 accumulators, r6-r12 activations and weights, lr output.
// Stack: [sp] end of the row's full blocks, [sp+4] end of the output.
namespace nas::devices::codegen {
namespace {

constexpr int kBlock = 4;           // outputs at once
constexpr int kParameterWords = 5;  // bias, mantissa, rounding constant, shift, table

struct Geometry {
  int kernel = 3;
  int stride = 1;
  int width = 0;     // outputs in a row
  int channels = 0;  // bytes from one output to the next
  int pitch = 0;     // words from one plane row to the next

  int weight_words() const { return stride == 1 ? kernel - 1 : (kernel + 1) / 2; }  // per kernel row
  int parameters() const { return kernel * weight_words() * 4; }                    // byte offset behind them
};

class RowsWriter {
 public:
  RowsWriter(const Geometry& geometry, const RequantPlan& requant, bool table)
      : g_(geometry), requant_(requant), table_(table) {}

  std::string write(const std::string& name) {
    const int blocks = g_.width / kBlock, rest = g_.width % kBlock;
    const int advance = kBlock * g_.stride * 2;  // bytes of plane that one block moves on
    out_.line("push {r4-r11, lr}").line("sub sp, sp, #12").line("mov lr, r2");
    constant(10, g_.width * g_.channels);
    out_.line("mla r10, r10, r3, lr").line("str r10, [sp, #4]");
    if (blocks > 1) add(10, 0, blocks * advance).line("str r10, [sp]");
    out_.label(1);
    if (blocks > 1) out_.label(2);
    if (blocks > 0) {
      block(kBlock, advance);
      if (blocks > 1) out_.line("ldr r6, [sp]").line("cmp r0, r6").line("bne 2b");
    }
    if (rest > 0) block(rest, 0);
    add(0, 0, g_.stride * g_.pitch * 4 - blocks * advance);
    if (blocks > 1) {
      out_.line("ldr r6, [sp]");
      add(6, 6, g_.stride * g_.pitch * 4).line("str r6, [sp]");
    }
    out_.line("ldr r6, [sp, #4]").line("cmp lr, r6").line("bne 1b");
    out_.line("add sp, sp, #12").line("pop {r4-r11, pc}");
    return out_.function(name,
                         {"const int16_t *plane", "const int32_t *weights", "int8_t *out", "int32_t rows"});
  }

 private:
  static int accumulator(int output) { return 2 + output; }

  void constant(int to, std::int64_t value) {
    out_.line("movw " + reg(to) + ", #" + std::to_string(value & 0xFFFF));
    if (value > 0xFFFF) out_.line("movt " + reg(to) + ", #" + std::to_string(value >> 16));
  }

  // to = from + value, in steps that the encoding holds.
  ThumbWriter& add(int to, int from, int value) {
    constexpr int kStep = 4092;
    const std::string operation = value < 0 ? "sub " : "add ";
    for (int left = std::abs(value); left > 0 || to != from; from = to) {
      const int step = std::min(left, kStep);
      out_.line(operation + reg(to) + ", " + reg(from) + ", #" + std::to_string(step));
      left -= step;
      if (left == 0) break;
    }
    return out_;
  }

  // Words [base + 4*first, ...) into consecutive registers; pairs go by LDRD.
  void load(int base, int offset, int first_register, int count) {
    for (int i = 0; i < count; i += 2) {
      const std::string place = ", [" + reg(base) + ", #" + std::to_string(offset + 4 * i) + "]";
      const int r = first_register + i;
      out_.line(i + 1 < count ? "ldrd " + reg(r) + ", " + reg(r + 1) + place : "ldr " + reg(r) + place);
    }
  }

  void block(int outputs, int advance) {
    constexpr int kLargestOffset = 1020;
    const int last_word = ((outputs - 1) * g_.stride + g_.kernel - 1) / 2;
    const bool step = ((g_.kernel - 1) * g_.pitch + last_word) * 4 > kLargestOffset;
    out_.line("ldr " + reg(accumulator(outputs - 1)) + ", [r1, #" + std::to_string(g_.parameters()) + "]");
    for (int row = 0; row < g_.kernel; ++row) {
      if (step && row > 0) add(0, 0, g_.pitch * 4);
      const int offset = step ? 0 : row * g_.pitch * 4;
      g_.stride == 1 ? row_stride1(outputs, row, offset) : row_stride2(outputs, row, offset);
    }
    finish(outputs);
    const int back = step ? (g_.kernel - 1) * g_.pitch * 4 : 0;
    if (advance != back) add(0, 0, advance - back);
  }

  // accumulator += a * b; the first product of an output adds to the bias, which the last accumulator holds.
  void multiply(const char* operation, int output, int outputs, int a, int b, bool first) {
    const std::string from = reg(accumulator(first ? outputs - 1 : output));
    out_.line(std::string(operation) + " " + reg(accumulator(output)) + ", " + reg(a) + ", " + reg(b) + ", " +
              from);
  }

  void row_stride1(int outputs, int row, int offset) {
    constexpr int kWords = 6, kEven = 11, kOdd = 12;
    const int half = g_.kernel / 2;
    load(0, offset, kWords, (outputs + g_.kernel - 2) / 2 + 1);
    for (int i = 0; i < half; ++i) {
      load(1, (row * g_.weight_words() + 2 * i) * 4, kEven, 2);
      for (int j = 0; j < outputs; ++j) {
        const int word = kWords + j / 2;
        const bool first = row == 0 && i == 0;
        if (j % 2 == 0) {
          multiply("smlad", j, outputs, word + i, kEven, first);
          if (i + 1 == half) multiply("smlabt", j, outputs, word + half, kOdd, false);
        } else {
          if (i == 0) multiply("smlatb", j, outputs, word, kEven, first);
          multiply("smlad", j, outputs, word + 1 + i, kOdd, false);
        }
      }
    }
  }

  void row_stride2(int outputs, int row, int offset) {
    constexpr int kWeights = 6, kWord = 10;
    const int words = g_.weight_words(), count = outputs - 1 + words;
    load(1, row * words * 4, kWeights, words);
    for (int t = 0; t < count; ++t) {
      if (t % 2 == 0) load(0, offset + 4 * t, kWord, std::min(2, count - t));
      for (int j = 0; j < outputs; ++j) {
        const int i = t - j;
        if (i < 0 || i >= words) continue;
        multiply(i + 1 < words ? "smlad" : "smlabb", j, outputs, kWord + t % 2, kWeights + i,
                 row == 0 && i == 0);
      }
    }
  }

  void finish(int outputs) {
    std::vector<int> registers;
    for (int j = 0; j < outputs; ++j) registers.push_back(accumulator(j));
    load(1, g_.parameters() + 4, requant_.multiplier, 3);
    write_requant(out_, registers, requant_);
    if (table_) {
      load(1, g_.parameters() + 16, 9, 1);
      for (const int a : registers) out_.line("ldrsb " + reg(a) + ", [r9, " + reg(a) + "]");
    }
    for (int j = 0; j < outputs; ++j)
      out_.line("strb " + reg(accumulator(j)) + ", [lr, #" + std::to_string(j * g_.channels) + "]");
    add(14, 14, outputs * g_.channels);
  }

  Geometry g_;
  RequantPlan requant_;
  bool table_;
  ThumbWriter out_;
};

constexpr const char* kExpand = R"(
/* the filter of one channel as pairs of 16-bit numbers, then its parameters */
NAS_HELPER void $NAME$_expand(uint32_t *w, const int8_t *f, const int32_t *parameters) {
  int32_t row;
  for (row = 0; row < $KERNEL$; ++row, f += $KERNEL$, w += $WORDS$) {
$PAIRS$  }
  memcpy(w, parameters, 16);
$TABLE$}
)";

// The pairs of one kernel row in the order in which the rows are multiplied.
std::string pair_statements(const Geometry& g) {
  std::string text;
  int at = 0;
  const auto pair = [&](int a, int b) {
    text += "    w[" + std::to_string(at++) + "] = (uint32_t)(uint16_t)f[" + std::to_string(a) + "]" +
            (b < g.kernel ? " | (uint32_t)f[" + std::to_string(b) + "] << 16" : "") + ";\n";
  };
  for (int i = 0; i + 1 < g.kernel; i += 2) {
    pair(i, i + 1);
    if (g.stride == 1) pair(i + 1, i + 2);
  }
  if (g.stride == 2) pair(g.kernel - 1, g.kernel);
  return text;
}

bool supported(const KernelSpec& spec, const Shape& out) {
  const int pitch = (spec.input.width + 2 * spec.padding + 1) / 2;
  return (spec.kernel == 3 || spec.kernel == 5 || spec.kernel == 7) &&
         (spec.stride == 1 || spec.stride == 2) && out.channels * kBlock <= 4095 && pitch * 4 <= 4092;
}

Geometry geometry_of(const KernelSpec& spec, const Shape& out) {
  return {spec.kernel, spec.stride, out.width, out.channels, (spec.input.width + 2 * spec.padding + 1) / 2};
}

DepthwisePlan dsp_plan(const KernelSpec& spec, const Shape& out, const CodegenOptions& options) {
  const Geometry g = geometry_of(spec, out);
  return plan_depthwise(spec, out, 1, 2, g.pitch * 2, options.scratch_limit);
}

std::string rows_name(const Geometry& g, const RequantPlan& r, bool table) {
  std::string name = "nas_depthwise_k" + std::to_string(g.kernel) + "s" + std::to_string(g.stride) + "_w" +
                     std::to_string(g.width) + "_c" + std::to_string(g.channels) + "_p" +
                     std::to_string(g.pitch);
  const auto text = [](std::int32_t v) { return (v < 0 ? "m" : "") + std::to_string(std::abs(v)); };
  if (r.extra > 0) name += "_x" + std::to_string(r.extra);
  if (r.late_zero) name += "_z" + text(r.zero);
  if (table) return name + "_table";
  return name + "_" + text(r.clamp_low) + "_" + text(r.clamp_high);
}

}  // namespace

std::string depthwise_dsp(const Int8Job& job) {
  const auto plan = plan_requant(job.spec, job.params);
  if (!plan || !supported(job.spec, job.out)) return {};
  const Geometry g = geometry_of(job.spec, job.out);
  const bool table = job.params.table.has_value();
  const RequantPlan requant{.multiplier = 6,
                            .rounding = 7,
                            .shift = 8,
                            .extra = plan->extra,
                            .late_zero = plan->late_zero,
                            .zero = job.params.output_zero,
                            .clamp_low = table ? -128 : job.params.clamp_low,
                            .clamp_high = table ? 127 : job.params.clamp_high};
  const DepthwisePlan strips = dsp_plan(job.spec, job.out, job.options);
  const std::vector<std::int64_t> bias = folded_bias(job.spec, job.params);
  std::vector<std::string> parameters;
  for (std::size_t c = 0; c < bias.size(); ++c) {
    parameters.push_back(int32_text(static_cast<std::int32_t>(bias[c] * (1 << plan->extra))));
    parameters.push_back(
        requant_text(plan->channels[c], plan->extra, plan->late_zero ? 0 : job.params.output_zero));
  }
  Variables v = shape_variables(job.name, job.spec, job.out);
  v.set("WORDS", g.weight_words())
      .set("PAIRS", pair_statements(g))
      .set("FUNCTION", rows_name(g, requant, table));
  v.set("TABLE", table ? "  w[4] = (uint32_t)(uintptr_t)(" + job.name + "_table + 128);\n" : "");
  v.set("PLANE_WORDS", static_cast<std::int64_t>(strips.plane_bytes() / 4));
  const DepthwiseFilters filters = depthwise_filters(job, 1, plan->extra);
  const std::string setup = "    uint32_t *const w = (uint32_t *)scratch + " + v.get("PLANE_WORDS") + ";\n" +
                            filters.setup + "    " + job.name + "_expand(w, " + filters.pointer + ", " +
                            job.name + "_parameters + 4 * c);\n";
  const std::string call =
      fill("$FUNCTION$(plane, (const int32_t *)(const void *)w, output + y * $OW$ * $C$ + c, n);", v);
  return filters.array + array_text("int32_t", job.name + "_parameters", parameters) + table_array(job) +
         RowsWriter(g, requant, table).write(rows_name(g, requant, table)) + fill(kExpand, v) +
         depthwise_driver(job.name, job.spec, job.out, strips,
                          {"int8_t", "int16_t", std::to_string(job.params.input_zero), setup, call});
}

std::size_t dsp_depthwise_scratch(const KernelSpec& spec, const Shape& out, const CodegenOptions& options) {
  if (!supported(spec, out)) return 0;
  const Geometry g = geometry_of(spec, out);
  return dsp_plan(spec, out, options).plane_bytes() +
         static_cast<std::size_t>(g.parameters() + 4 * kParameterWords);
}

}  // namespace nas::devices::codegen
