#include "devices/codegen/gemm_dsp.h"

#include <algorithm>

#include "devices/codegen/text.h"
#include "devices/codegen/thumb_writer.h"

// Registers: r0 columns, r1 weights, r2-r9 accumulators (pixel-major), r10 r11 activations, r12 and lr
// weights. Stack: [sp] output, [sp+4] table, [sp+8] columns, [sp+12] end of columns, [sp+16] end of full
// blocks.
//
// Two output channels share one weight word: each half holds 256*w1 + w0 as a signed 16-bit number. SXTB16
// gives the pair of w0, the word itself serves as the pair of 256*w1 + w0. The second accumulator then ends
// as 256*acc1 + acc0, and subtracting the first leaves 256*acc1 exactly (wrap-around included) while |acc1| <
// 2^22. That is one unpacking instruction for four weights where the usual way needs two and a second load.
//
// Weights of 4 or 2 bits: a word holds two or four such words of weights, each byte the codes of one place.
// One is brought to the tops of the bytes and the rest cleared, which leaves weights times 16 (64) as signed
// bytes; the accumulators end 16 (64) times too large, which the requantisation makes good.
namespace nas::devices::codegen {
namespace {

constexpr int kFirstAccumulator = 2;
constexpr int kUnroll = 16;   // words per turn of the inner loop
constexpr int kLongest = 32;  // inner sizes up to this many words are written out

// Words of activations before the loop.
int head_words(const DspGemm& gemm) {
  return gemm.pairs <= kLongest ? gemm.pairs : 1 + (gemm.pairs - 1) % kUnroll;
}

// Words that `count` words of weights take, packed.
int packed_words(const DspGemm& gemm, int count) {
  const int places = 8 / gemm.bits;
  return (count + places - 1) / places;
}

// Joins the weights of a block's words [from, end) into packed ones.
void pack(const DspGemm& gemm, const std::vector<std::uint32_t>& from, std::size_t begin, std::size_t end,
          std::vector<std::string>& to) {
  const std::size_t places = 8 / static_cast<std::size_t>(gemm.bits);
  const std::uint32_t mask = gemm.bits == 8 ? 0xFFFFFFFFU : gemm.bits == 4 ? 0x0F0F0F0FU : 0x03030303U;
  for (std::size_t i = begin; i < end; i += places) {
    std::uint32_t word = 0;
    for (std::size_t k = i; k < std::min(i + places, end); ++k)
      word |= (from[k] & mask) << (static_cast<std::size_t>(gemm.bits) * (k - i));
    to.push_back(int32_text(static_cast<std::int32_t>(word)));
  }
}

class GemmWriter {
 public:
  explicit GemmWriter(const DspGemm& gemm) : gemm_(gemm) {}

  std::string write() {
    const int block = 8 / gemm_.pixels;
    const int full = gemm_.channels / block;
    const int rest = gemm_.channels % block;
    prologue(full * block_words(block));
    if (full > 1) out_.label(1);
    if (full > 0) write_block(block, block);
    if (full > 1) {
      out_.line("ldr r10, [sp, #16]");
      out_.line("cmp r1, r10");
      out_.line("bne 1b");
    }
    if (rest > 0) write_block(rest + rest % 2, rest);
    out_.line("add sp, sp, #20");
    out_.line("pop {r4-r11, pc}");
    return out_.function(dsp_gemm_name(gemm_), {"const int32_t *columns", "const int32_t *weights",
                                                "int8_t *out", "const int8_t *table"});
  }

 private:
  int block_words(int block) const { return block + dsp_gemm_weight_words(gemm_, block) + 3 * block; }
  int accumulator(int pixel, int channel, int block) const {
    return kFirstAccumulator + pixel * block + channel;
  }

  void prologue(int words_of_full_blocks) {
    out_.line("push {r4-r11, lr}");
    out_.line("sub sp, sp, #20");
    out_.line("str r2, [sp]");
    out_.line("str r3, [sp, #4]");
    out_.line("str r0, [sp, #8]");
    add_constant("r10", "r0", gemm_.pairs * gemm_.pixels * 4);
    out_.line("str r10, [sp, #12]");
    add_constant("r10", "r1", words_of_full_blocks * 4);
    out_.line("str r10, [sp, #16]");
  }

  void add_constant(const std::string& to, const std::string& from, std::int64_t value) {
    out_.line("movw " + to + ", #" + std::to_string(value & 0xFFFF));
    if (value > 0xFFFF) out_.line("movt " + to + ", #" + std::to_string(value >> 16));
    out_.line("add " + to + ", " + to + ", " + from);
  }

  // Biases arrive in the accumulators of the last pixel; the first word of the others adds to them.
  void write_block(int block, int stored) {
    const int last = accumulator(gemm_.pixels - 1, 0, block);
    out_.line("ldmia r1!, {" + reg(last) + "-" + reg(last + block - 1) + "}");
    const int head = head_words(gemm_);
    for (int t = 0; t < head; ++t) write_word(block, t == 0);
    end_section();
    if (head < gemm_.pairs) {
      out_.label(2);
      for (int t = 0; t < kUnroll; ++t) write_word(block, false);
      end_section();
      out_.line("ldr r10, [sp, #12]");
      out_.line("cmp r0, r10");
      out_.line("bne 2b");
    }
    finish_block(block, stored);
  }

  void write_word(int block, bool first) {
    if (gemm_.pixels == 1) return write_word_of_one(block);
    out_.line("ldrd r10, r11, [r0], #8");
    for (int c = 0; c < block; c += 2) {
      load_weights();
      multiply_pair(0, c, block, "r10", "lr", "r12", first);
      multiply_pair(1, c, block, "r11", "lr", "r12", first);
    }
    if (gemm_.pixels == 4) {
      out_.line("ldrd r10, r11, [r0], #8");
      multiply_pair(2, 0, block, "r10", "lr", "r12", first);
      multiply_pair(3, 0, block, "r11", "lr", "r12", first);
    }
  }

  void write_word_of_one(int block) {
    out_.line("ldr r10, [r0], #4");
    for (int c = 0; gemm_.bits < 8 && c < block; c += 2) {
      load_weights();
      multiply_pair(0, c, block, "r10", "lr", "r12", false);
    }
    for (int c = 0; gemm_.bits == 8 && c < block; c += 4) {
      const bool two = c + 2 < block;
      out_.line(two ? "ldrd r11, r12, [r1], #8" : "ldr r11, [r1], #4");
      unpack("lr", "r11");
      multiply_pair(0, c, block, "r10", "lr", "r11", false);
      if (!two) continue;
      unpack("lr", "r12");
      multiply_pair(0, c + 2, block, "r10", "lr", "r12", false);
    }
  }

  // The next word of weights: even channels' in lr, odd channels' in r12.
  void load_weights() {
    const int places = 8 / gemm_.bits;
    out_.line(place_ + 1 == places ? "ldr r12, [r1], #4" : "ldr r12, [r1]");
    const int shift = 8 - gemm_.bits * (place_ + 1);
    if (shift > 0) out_.line("lsl r12, r12, #" + std::to_string(shift));
    if (gemm_.bits < 8)
      out_.line(gemm_.bits == 4 ? "and r12, r12, #0xF0F0F0F0" : "and r12, r12, #0xC0C0C0C0");
    unpack("lr", "r12");
    place_ = (place_ + 1) % places;
  }

  // The words before and after the loop's beginning share none.
  void end_section() {
    if (place_ > 0) out_.line("add r1, r1, #4");
    place_ = 0;
  }

  void unpack(const std::string& low, const std::string& both) {
    out_.line("sxtb16 " + low + ", " + both);
    if (!gemm_.requant.fused_high) out_.line("sxtb16 " + both + ", " + both + ", ror #8");
  }

  void multiply_pair(int pixel, int channel, int block, const std::string& x, const std::string& low,
                     const std::string& high, bool first) {
    for (int half = 0; half < 2; ++half) {
      const std::string to = reg(accumulator(pixel, channel + half, block));
      const std::string from = first ? reg(accumulator(gemm_.pixels - 1, channel + half, block)) : to;
      out_.line("smlad " + to + ", " + x + ", " + (half == 0 ? low : high) + ", " + from);
    }
  }

  void finish_block(int block, int stored) {
    for (int c = 0; gemm_.requant.fused_high && c < block; c += 2)
      for (int p = 0; p < gemm_.pixels; ++p)
        out_.line("sub " + reg(accumulator(p, c + 1, block)) + ", " + reg(accumulator(p, c + 1, block)) +
                  ", " + reg(accumulator(p, c, block)));
    out_.line("ldr lr, [sp]");
    if (gemm_.table) out_.line("ldr r0, [sp, #4]");
    for (int c = 0; c < stored; ++c) finish_channel(c, block);
    out_.line("add lr, lr, #" + std::to_string(stored));
    out_.line("str lr, [sp]");
    out_.line("ldr r0, [sp, #8]");
  }

  void finish_channel(int c, int block) {
    std::vector<int> registers;
    for (int p = 0; p < gemm_.pixels; ++p) registers.push_back(accumulator(p, c, block));
    out_.line("ldmia r1!, {r10, r11, r12}");
    write_requant(out_, registers,
                  {.multiplier = 10,
                   .rounding = 11,
                   .shift = 12,
                   .extra = gemm_.requant.fused_high && c % 2 == 1 ? 8 : gemm_.requant.extra,
                   .late_zero = gemm_.requant.late_zero,
                   .zero = gemm_.zero,
                   .clamp_low = gemm_.table ? -128 : gemm_.clamp_low,
                   .clamp_high = gemm_.table ? 127 : gemm_.clamp_high});
    if (gemm_.table)
      for (const int a : registers) out_.line("ldrsb " + reg(a) + ", [r0, " + reg(a) + "]");
    for (int p = 0; p < gemm_.pixels; ++p)
      out_.line("strb " + reg(registers[static_cast<std::size_t>(p)]) + ", [lr, #" +
                std::to_string(p * gemm_.channels + c) + "]");
  }

  const DspGemm& gemm_;
  ThumbWriter out_;
  int place_ = 0;  // within a word of packed weights
};

std::string signed_name(std::int32_t value) {
  return value < 0 ? "m" + std::to_string(-value) : std::to_string(value);
}

}  // namespace

int dsp_gemm_weight_words(const DspGemm& gemm, int block) {
  const int head = head_words(gemm);
  return packed_words(gemm, head * (block / 2)) + packed_words(gemm, (gemm.pairs - head) * (block / 2));
}

int dsp_gemm_pixels(std::int64_t out_pixels, std::int64_t inner, int channels, std::size_t limit) {
  const std::int64_t words = (inner + 1) / 2;
  for (const int pixels : {4, 2})
    if (out_pixels >= pixels && static_cast<std::size_t>(words * 4 * pixels) <= limit &&
        pixels * channels <= 4096)
      return pixels;
  return 1;
}

std::string dsp_gemm_name(const DspGemm& gemm) {
  std::string name = "nas_gemm_p" + std::to_string(gemm.pixels) + "_k" + std::to_string(gemm.pairs) + "_c" +
                     std::to_string(gemm.channels);
  if (gemm.bits < 8)
    name += "_w" + std::to_string(gemm.bits);
  else if (!gemm.requant.fused_high)
    name += "_wide";
  if (gemm.requant.late_zero) name += "_z" + signed_name(gemm.zero);
  if (gemm.table) return name + "_table";
  if (gemm.clamp_low > -128) name += "_from" + signed_name(gemm.clamp_low);
  if (gemm.clamp_high < 127) name += "_to" + signed_name(gemm.clamp_high);
  return name;
}

std::string dsp_gemm_function(const DspGemm& gemm) { return GemmWriter(gemm).write(); }

std::vector<std::string> dsp_gemm_weights(const DspGemm& gemm, const std::vector<std::int32_t>& order,
                                          const std::vector<std::int8_t>& weights,
                                          const std::vector<std::int64_t>& bias) {
  const std::size_t inner = weights.size() / static_cast<std::size_t>(gemm.channels);
  const bool fused = gemm.requant.fused_high;
  const auto weight = [&](int c, std::int32_t k) -> std::int32_t {
    if (c >= gemm.channels || k < 0) return 0;
    return weights[static_cast<std::size_t>(c) * inner + static_cast<std::size_t>(k)];
  };
  const auto bias_of = [&](int c) -> std::int64_t {
    return c < gemm.channels ? bias[static_cast<std::size_t>(c)] : 0;
  };
  const auto half = [&](int c, std::int32_t k) {
    const std::int32_t low = weight(c, k), high = weight(c + 1, k);
    return static_cast<std::uint32_t>(fused ? 256 * high + low : 256 * high + (low & 0xFF)) & 0xFFFFu;
  };
  std::vector<std::string> words;
  const int block = 8 / gemm.pixels, larger = 1 << (8 - gemm.bits);
  for (int begin = 0; begin < gemm.channels; begin += block) {
    const int end = std::min(begin + block, gemm.channels + gemm.channels % 2);
    for (int c = begin; c < end; ++c) {
      const std::int64_t value =
          fused && c % 2 == 1 ? 256 * bias_of(c) + bias_of(c - 1) : larger * bias_of(c);
      words.push_back(int32_text(static_cast<std::int32_t>(static_cast<std::uint32_t>(value))));
    }
    std::vector<std::uint32_t> plain;
    for (int t = 0; t < gemm.pairs; ++t)
      for (int c = begin; c < end; c += 2) {
        const auto at = static_cast<std::size_t>(2 * t);
        plain.push_back(half(c, order[at]) | half(c, order[at + 1]) << 16);
      }
    const auto head = static_cast<std::size_t>(head_words(gemm) * ((end - begin) / 2));
    pack(gemm, plain, 0, head, words);
    pack(gemm, plain, head, plain.size(), words);
    for (int c = begin; c < end; ++c) {
      const ChannelRequant channel =
          c < gemm.channels ? gemm.requant.channels[static_cast<std::size_t>(c)] : ChannelRequant{};
      words.push_back(requant_text(channel, fused && c % 2 == 1 ? 8 : gemm.requant.extra,
                                   gemm.requant.late_zero ? 0 : gemm.zero));
    }
  }
  return words;
}

}  // namespace nas::devices::codegen
