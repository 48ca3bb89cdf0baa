#include "devices/codegen/kernel_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "devices/codegen/requant_plan.h"
#include "space/base/rng.h"
#include "tests/devices/kernel_program.h"

namespace nas::devices::codegen {
namespace {

using ::testing::HasSubstr;

KernelSpec small_conv() {
  return {.kind = KernelKind::conv,
          .input = {4, 5, 5},
          .out_channels = 6,
          .kernel = 3,
          .stride = 2,
          .padding = 1};
}

TEST(MakeMultiplier, IsExactAtPowersOfTwoAndRoundsTheRest) {
  EXPECT_EQ(*make_multiplier(0.5), (Multiplier{1 << 30, 0}));
  EXPECT_EQ(*make_multiplier(1.0), (Multiplier{1 << 30, 1}));
  EXPECT_EQ(*make_multiplier(0.75 * 0x1p-9), (Multiplier{3 << 29, -9}));
  EXPECT_EQ(*make_multiplier(std::nextafter(1.0, 0.0)),
            (Multiplier{1 << 30, 1}));  // mantissa rounds up to 2^31
  EXPECT_EQ(*make_multiplier(0x1p-40), Multiplier{});
  EXPECT_FALSE(make_multiplier(-0.1));
  EXPECT_FALSE(make_multiplier(std::nan("")));
  EXPECT_FALSE(make_multiplier(0x1p31));
}

TEST(Multiply, AgreesWithExactArithmetic) {
  Rng rng(3, "multiply");
  for (int i = 0; i < 20000; ++i) {
    const auto x = static_cast<std::int32_t>(rng.below(1u << 30)) - (1 << 29);
    const auto m = *make_multiplier(std::exp2(rng.uniform(-20, -0.1)));
    const long double exact =
        static_cast<long double>(x) * m.mantissa * std::exp2(static_cast<long double>(m.exponent - 31));
    EXPECT_EQ(multiply(x, m, Rounding::single), static_cast<std::int32_t>(std::floor(exact + 0.5L)));
    EXPECT_LE(std::abs(static_cast<long double>(multiply(x, m, Rounding::twice)) - exact),
              0.5L + 0x1p-1L + 1e-9L);
  }
}

// Values worked by hand from the definitions: half away from zero in the second step of double rounding only.
TEST(Multiply, TreatsTiesAsEachRoundingSays) {
  const Multiplier quarter{1 << 30, -1};
  EXPECT_EQ(multiply(6, quarter, Rounding::single), 2);    // 1.5 up
  EXPECT_EQ(multiply(-6, quarter, Rounding::single), -1);  // -1.5 up
  EXPECT_EQ(multiply(-6, quarter, Rounding::twice), -2);   // -3 exactly, then -1.5 away from zero
  EXPECT_EQ(multiply(5, quarter, Rounding::single), 1);    // 1.25
  EXPECT_EQ(multiply(5, quarter, Rounding::twice), 2);     // 2.5 -> 3, then 1.5 -> 2: rounded twice
}

// The DSP kernels' short form, computed as the instructions do, against the documented formula.
TEST(RequantPlan, ShortFormEqualsTheFormula) {
  Rng rng(5, "short-form");
  for (int i = 0; i < 50000; ++i) {
    const Multiplier m{static_cast<std::int32_t>((1u << 30) + rng.below(1u << 30)),
                       -2 - static_cast<int>(rng.below(20))};
    const auto x = static_cast<std::int32_t>(rng.below(1u << 23)) - (1 << 22);
    const int k = -1 - m.exponent;
    const auto high = static_cast<std::int32_t>((std::int64_t{x} * m.mantissa) >> 32);
    EXPECT_EQ((high + (1 << (k - 1))) >> k, multiply(x, m, Rounding::single));
    const auto high256 = static_cast<std::int32_t>((std::int64_t{x} * 256 * m.mantissa) >> 32);
    EXPECT_EQ((high256 + (1 << (k + 7))) >> (k + 8), multiply(x, m, Rounding::single));
  }
}

TEST(AccumulatorBounds, HoldForExtremeInputsAndAreReached) {
  KernelCase c =
      random_case("bounds", {.kind = KernelKind::fully_connected, .input = {9, 1, 1}, .out_channels = 2});
  const auto bounds = accumulator_bounds(c.spec, c.params);
  for (int channel = 0; channel < 2; ++channel) {
    const auto at = static_cast<std::size_t>(channel);
    std::int64_t low = c.params.bias[at], high = c.params.bias[at];
    for (std::size_t i = 0; i < 9; ++i) {
      const int w = c.params.weights[at * 9 + i];
      low += w * ((w > 0 ? -128 : 127) - c.params.input_zero);
      high += w * ((w > 0 ? 127 : -128) - c.params.input_zero);
    }
    EXPECT_EQ(bounds[at].low, low);
    EXPECT_EQ(bounds[at].high, high);
  }
}

TEST(ActivationTable, RoundsTheRealFunction) {
  const auto table = activation_table(Activation::hard_swish, 0.05, -5, 0.03, 7);
  EXPECT_EQ(table[static_cast<std::size_t>(-5 + 128)], 7);   // hard_swish(0) = 0
  EXPECT_EQ(table[static_cast<std::size_t>(15 + 128)], 29);  // x = 1: 4/6, 22.2 steps
  EXPECT_EQ(table[0], 7);                                    // x = -6.15: 0
  EXPECT_EQ(table[255], 127);                                // x = 6.6: 220 steps, saturated
}

TEST(OutputShape, FollowsTheWindowAndNamesWhatIsWrong) {
  EXPECT_EQ(*output_shape(small_conv()), (Shape{6, 3, 3}));
  KernelSpec ceil{
      .kind = KernelKind::average_pool, .input = {4, 7, 8}, .kernel = 2, .stride = 2, .ceil_mode = true};
  EXPECT_EQ(*output_shape(ceil), (Shape{4, 4, 4}));
  ceil.kernel = 1;  // the extra window would start outside
  EXPECT_EQ(*output_shape(ceil), (Shape{4, 4, 4}));
  KernelSpec bad = small_conv();
  bad.stride = 0;
  EXPECT_THAT(output_shape(bad).error().message, HasSubstr("stride must be at least 1, found 0"));
  bad = small_conv();
  bad.in_place = true;
  EXPECT_THAT(output_shape(bad).error().message, HasSubstr("in place"));
  bad = small_conv();
  bad.kernel = 9;
  EXPECT_THAT(output_shape(bad).error().message, HasSubstr("larger than the padded input"));
}

TEST(GenerateKernel, RefusesNumbersThatDoNotFitTheSpec) {
  const KernelCase good = random_case("good", small_conv());
  ASSERT_TRUE(generate_kernel("f", good.spec, good.params));
  const auto message = [&](auto change) {
    KernelCase c = good;
    change(c.params);
    const auto text = generate_kernel("f", c.spec, c.params);
    return text ? std::string() : text.error().message;
  };
  EXPECT_THAT(message([](auto& p) { p.weights.pop_back(); }), HasSubstr("needs 216 weights, found 215"));
  EXPECT_THAT(message([](auto& p) { p.weights[3] = -128; }), HasSubstr("found -128"));
  EXPECT_THAT(message([](auto& p) { p.bias.push_back(0); }), HasSubstr("needs 6 biases"));
  EXPECT_THAT(message([](auto& p) { p.multipliers.clear(); }), HasSubstr("needs 6 multipliers"));
  EXPECT_THAT(message([](auto& p) { p.multipliers[0].mantissa = 5; }), HasSubstr("mantissa"));
  EXPECT_THAT(message([](auto& p) { p.input_zero = 300; }), HasSubstr("found 300"));
  EXPECT_THAT(message([](auto& p) { p.clamp_low = 5, p.clamp_high = 4; }), HasSubstr("clamp"));
  EXPECT_THAT(message([](auto& p) { p.bias[0] = 2147483647; }), HasSubstr("beyond 2^30"));
  EXPECT_THAT(generate_kernel("2f", good.spec, good.params).error().message, HasSubstr("C identifier"));
  EXPECT_FALSE(generate_kernel("f", good.spec, FloatParams{}));
}

TEST(GenerateSource, GivesTheSameBytesEveryTimeAndSharesMicroKernels) {
  const KernelCase a = random_case("a", small_conv()), b = random_case("b", small_conv());
  const std::vector<NamedKernel> kernels = {{"a", a.spec, a.params}, {"b", b.spec, b.params}};
  const auto first = generate_source(kernels), second = generate_source(kernels);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, *second);
  EXPECT_THAT(generate_source({kernels[0], kernels[0]}).error().message,
              HasSubstr("two kernels have the name a"));
  EXPECT_EQ(first->find("malloc"), std::string::npos);
}

TEST(ScratchBytes, StayBelowTheLimitForTheLayersOfASmallNetwork) {
  const std::vector<KernelSpec> specs = {
      {.kind = KernelKind::conv, .input = {192, 12, 12}, .out_channels = 40},
      {.kind = KernelKind::conv,
       .input = {3, 96, 96},
       .out_channels = 16,
       .kernel = 3,
       .stride = 2,
       .padding = 1},
      {.kind = KernelKind::depthwise,
       .input = {16, 112, 112},
       .kernel = 7,
       .stride = 1,
       .padding = 3,
       .in_place = true},
      {.kind = KernelKind::depthwise, .input = {48, 48, 48}, .kernel = 3, .stride = 2, .padding = 1}};
  for (const KernelSpec& spec : specs) EXPECT_LE(*scratch_bytes(spec, Target::dsp), 4096u + 200u);
}

}  // namespace
}  // namespace nas::devices::codegen
