#include "devices/codegen/thumb_writer.h"

namespace nas::devices::codegen {
namespace {

// C99 compilers need not take longer string literals than 4095 characters.
constexpr std::size_t kStatementLimit = 3500;

}  // namespace

std::string reg(int number) {
  if (number == 13) return "sp";
  if (number == 14) return "lr";
  if (number == 15) return "pc";
  return "r" + std::to_string(number);
}

ThumbWriter& ThumbWriter::line(const std::string& instruction) {
  if (open_bytes_ > kStatementLimit) close_statement();
  if (open_bytes_ == 0) body_ += "  __asm__ volatile(\n";
  body_ += "      \"" + instruction + "\\n\"\n";
  open_bytes_ += instruction.size() + 1;
  return *this;
}

ThumbWriter& ThumbWriter::label(int number) { return line(std::to_string(number) + ":"); }

void ThumbWriter::close_statement() {
  if (open_bytes_ > 0) body_ += "  );\n";
  open_bytes_ = 0;
}

ThumbWriter& ThumbWriter::if_double_rounding() {
  close_statement();
  body_ += "#if NAS_DOUBLE_ROUNDING\n";
  return *this;
}

ThumbWriter& ThumbWriter::otherwise() {
  close_statement();
  body_ += "#else\n";
  return *this;
}

ThumbWriter& ThumbWriter::end_if() {
  close_statement();
  body_ += "#endif\n";
  return *this;
}

std::string ThumbWriter::function(const std::string& name,
                                  std::initializer_list<const char*> parameters) const {
  std::string list;
  for (const char* parameter : parameters)
    list += std::string(list.empty() ? "" : ",\n    ") + parameter + " NAS_UNUSED";
  return "#ifndef " + name + "_\n#define " + name + "_\nNAS_NAKED static void " + name + "(\n    " + list +
         ") {\n" + body_ + (open_bytes_ > 0 ? "  );\n" : "") + "}\n#endif\n";
}

void write_requant(ThumbWriter& out, const std::vector<int>& accumulators, const RequantPlan& plan) {
  const auto each = [&](auto instruction) {
    for (const int a : accumulators) out.line(instruction(reg(a)));
  };
  const std::string m = reg(plan.multiplier), r = reg(plan.rounding), k = reg(plan.shift);
  out.if_double_rounding();
  each([&](const std::string& a) {
    return plan.extra > 0 ? "asr " + a + ", " + a + ", #" + std::to_string(plan.extra - 1)
                          : "lsl " + a + ", " + a + ", #1";
  });
  each([&](const std::string& a) { return "smmulr " + a + ", " + a + ", " + m; });
  each([&](const std::string& a) { return "add " + a + ", " + a + ", " + a + ", asr #31"; });
  each([&](const std::string& a) { return "add " + a + ", " + a + ", " + r; });
  out.otherwise();
  each([&](const std::string& a) { return "smmla " + a + ", " + a + ", " + m + ", " + r; });
  out.end_if();
  each([&](const std::string& a) { return "asr " + a + ", " + a + ", " + k; });
  if (plan.late_zero && plan.zero != 0)
    each([&](const std::string& a) { return "add " + a + ", " + a + ", #" + std::to_string(plan.zero); });
  each([&](const std::string& a) { return "ssat " + a + ", #8, " + a; });
  const auto bound = [&](std::int32_t limit, const std::string& condition) {
    const std::string text = "#" + std::to_string(limit);
    for (const int a : accumulators) {
      out.line("cmp " + reg(a) + ", " + text);
      out.line("it " + condition);
      out.line("mov" + condition + " " + reg(a) + ", " + text);
    }
  };
  if (plan.clamp_low > -128) bound(plan.clamp_low, "lt");
  if (plan.clamp_high < 127) bound(plan.clamp_high, "gt");
}

}  // namespace nas::devices::codegen
