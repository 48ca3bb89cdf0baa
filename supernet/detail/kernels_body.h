// The kernels, compiled once per instruction set: the including file defines NAS_KERNEL_SPACE and is compiled
// with that set's flags. Nothing here may call an inline function of another header: the linker would be free
// to keep the copy that uses instructions the processor lacks.
#include "supernet/detail/kernels.h"

#if defined(__AVX512F__)
#define NAS_KERNEL_LANES 16
#elif defined(__AVX2__)
#define NAS_KERNEL_LANES 8
#else
#define NAS_KERNEL_LANES 4
#endif

namespace nas::supernet::NAS_KERNEL_SPACE {
namespace {

using I64 = std::int64_t;
constexpr I64 kLanes = NAS_KERNEL_LANES;
typedef float Vec __attribute__((vector_size(4 * NAS_KERNEL_LANES)));
typedef std::int32_t IntVec __attribute__((vector_size(4 * NAS_KERNEL_LANES)));

inline I64 least(I64 a, I64 b) { return a < b ? a : b; }
inline I64 most(I64 a, I64 b) { return a > b ? a : b; }

template <class T>
inline T load(const float* p) {
  T v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
inline void store(float* p, T v) {
  __builtin_memcpy(p, &v, sizeof v);
}
template <class T>
inline T fill(float v) {
  return T{} + v;
}

// --- depthwise ---------------------------------------------------------------------------------------------

constexpr I64 kTile = 4;  // neighbouring outputs that share one load of a weight

// A grow-only scratch buffer of the calling thread.
float* scratch(I64 floats) {
  struct Buffer {
    float* data = nullptr;
    I64 size = 0;
    ~Buffer() { __builtin_free(data); }
  };
  static thread_local Buffer buffer;
  if (buffer.size < floats) {
    __builtin_free(buffer.data);
    buffer.data = static_cast<float*>(__builtin_malloc(static_cast<std::size_t>(floats) * sizeof(float)));
    buffer.size = floats;
  }
  return buffer.data;
}

// Copies `lanes` channels of one image into rows of `row` positions, `left` zeros first, zeros behind.
template <class T, int B>
inline void pack(const float* x, I64 height, I64 width, I64 channels, I64 left, I64 row, float* out) {
  constexpr I64 kWide = static_cast<I64>(sizeof(T) / 4);
  const auto zero = [&](I64 from, I64 to) {
    for (I64 i = from; i < to; ++i)
      for (int b = 0; b < B; ++b) store<T>(out + (i * B + b) * kWide, T{});
  };
  for (I64 h = 0; h < height; ++h, out += row * B * kWide, x += width * channels) {
    zero(0, left);
    for (I64 w = 0; w < width; ++w)
      for (int b = 0; b < B; ++b)
        store<T>(out + ((left + w) * B + b) * kWide, load<T>(x + w * channels + b * kWide));
    zero(left + width, row);
  }
}

template <class T, int B, int K, int S>
void forward_block(const DepthwiseShape& s, const float* x, const float* w, float* y) {
  constexpr I64 kWide = static_cast<I64>(sizeof(T) / 4), kStep = B * kWide;
  const I64 tiles = (s.out_width + kTile - 1) / kTile;
  const I64 row = most(s.padding + s.width, (tiles * kTile - 1) * S + K);
  float* const packed = scratch(s.height * row * kStep);
  for (I64 n = 0; n < s.images; ++n) {
    pack<T, B>(x + n * s.height * s.width * s.channels, s.height, s.width, s.channels, s.padding, row,
               packed);
    for (I64 oh = 0; oh < s.out_height; ++oh) {
      const I64 top = oh * S - s.padding, k0 = most(0, -top), k1 = least(K, s.height - top);
      float* const out = y + (n * s.out_height + oh) * s.out_width * s.channels;
      for (I64 ow = 0; ow < s.out_width; ow += kTile) {
        T acc[kTile][B] = {};
        for (I64 kh = k0; kh < k1; ++kh) {
          const float* const in = packed + ((top + kh) * row + ow * S) * kStep;
          const float* const weight = w + kh * K * s.channels;
          for (int kw = 0; kw < K; ++kw)
            for (int b = 0; b < B; ++b) {
              const T tap = load<T>(weight + kw * s.channels + b * kWide);
              for (int p = 0; p < kTile; ++p)
                acc[p][b] += tap * load<T>(in + (p * S + kw) * kStep + b * kWide);
            }
        }
        const I64 valid = least(kTile, s.out_width - ow);
        for (I64 p = 0; p < valid; ++p)
          for (int b = 0; b < B; ++b) store<T>(out + (ow + p) * s.channels + b * kWide, acc[p][b]);
      }
    }
  }
}

// Input positions of equal remainder modulo the stride meet the same taps, so each remainder is a dense
// convolution of the output gradient with every S-th tap.
template <class T, int B, int K, int S>
void backward_input_block(const DepthwiseShape& s, const float* gy, const float* w, float* gx) {
  constexpr I64 kWide = static_cast<I64>(sizeof(T) / 4), kStep = B * kWide;
  const I64 left = K;
  const I64 row = left + most(s.out_width, (s.width + s.padding) / S + 1) + kTile + 1;
  float* const packed = scratch(s.out_height * row * kStep);
  for (I64 n = 0; n < s.images; ++n) {
    pack<T, B>(gy + n * s.out_height * s.out_width * s.channels, s.out_height, s.out_width, s.channels, left,
               row, packed);
    for (I64 ih = 0; ih < s.height; ++ih) {
      float* const out = gx + (n * s.height + ih) * s.width * s.channels;
      for (int phase = 0; phase < S; ++phase) {
        const int first = (phase + s.padding) % S;  // the smallest tap that reaches this remainder
        for (I64 iw = phase; iw < s.width; iw += S * kTile) {
          T acc[kTile][B] = {};
          for (int kh = static_cast<int>((ih + s.padding) % S); kh < K; kh += S) {
            const I64 oh = (ih + s.padding - kh) / S;
            if (ih + s.padding < kh || oh >= s.out_height) continue;
            const float* const in = packed + (oh * row + left) * kStep;
            const float* const weight = w + kh * K * s.channels;
            for (int kw = first; kw < K; kw += S) {
              const float* const from = in + ((iw + s.padding - kw) / S) * kStep;
              for (int b = 0; b < B; ++b) {
                const T tap = load<T>(weight + kw * s.channels + b * kWide);
                for (int p = 0; p < kTile; ++p) acc[p][b] += tap * load<T>(from + p * kStep + b * kWide);
              }
            }
          }
          for (I64 p = 0; p < kTile && iw + p * S < s.width; ++p)
            for (int b = 0; b < B; ++b) store<T>(out + (iw + p * S) * s.channels + b * kWide, acc[p][b]);
        }
      }
    }
  }
}

template <class T, int B, int K, int S>
void backward_weight_block(const DepthwiseShape& s, const float* x, const float* gy, float* gw) {
  constexpr I64 kWide = static_cast<I64>(sizeof(T) / 4), kStep = B * kWide;
  const I64 tiles = (s.out_width + kTile - 1) / kTile, covered = tiles * kTile;
  const I64 row = most(s.padding + s.width, (covered - 1) * S + K);
  const I64 image_x = s.height * row * kStep, image_g = s.out_height * covered * kStep;
  // As many images at once as stay in the second-level cache: registers are spilled once per group.
  const I64 group = most(1, least(s.images, 24576 / (image_x + image_g)));
  float* const px = scratch(group * (image_x + image_g));
  float* const pg = px + group * image_x;
  for (int i = 0; i < K * K; ++i)
    for (int b = 0; b < B; ++b) store<T>(gw + i * s.channels + b * kWide, T{});
  for (I64 n0 = 0; n0 < s.images; n0 += group) {
    const I64 images = least(group, s.images - n0);
    for (I64 n = 0; n < images; ++n) {
      pack<T, B>(x + (n0 + n) * s.height * s.width * s.channels, s.height, s.width, s.channels, s.padding,
                 row, px + n * image_x);
      pack<T, B>(gy + (n0 + n) * s.out_height * s.out_width * s.channels, s.out_height, s.out_width,
                 s.channels, 0, covered, pg + n * image_g);
    }
    for (int kh = 0; kh < K; ++kh)
      for (int b = 0; b < B; ++b) {
        T acc[K] = {};
        for (I64 n = 0; n < images; ++n)
          for (I64 oh = 0; oh < s.out_height; ++oh) {
            const I64 ih = oh * S - s.padding + kh;
            if (ih < 0 || ih >= s.height) continue;
            const float* in = px + n * image_x + ih * row * kStep + b * kWide;
            const float* g = pg + n * image_g + oh * covered * kStep + b * kWide;
            for (I64 tile = 0; tile < tiles; ++tile, in += kTile * S * kStep, g += kTile * kStep)
              for (int p = 0; p < kTile; ++p) {
                const T grad = load<T>(g + p * kStep);
                for (int kw = 0; kw < K; ++kw) acc[kw] += grad * load<T>(in + (p * S + kw) * kStep);
              }
          }
        for (int kw = 0; kw < K; ++kw) {
          float* const out = gw + (kh * K + kw) * s.channels + b * kWide;
          store<T>(out, load<T>(out) + acc[kw]);
        }
      }
  }
}

enum class Pass { forward, input, weight };

template <Pass P, class T, int B, int K, int S>
inline void run_block(const DepthwiseShape& s, const float* a, const float* b, float* out, I64 c) {
  if constexpr (P == Pass::forward) forward_block<T, B, K, S>(s, a + c, b + c, out + c);
  if constexpr (P == Pass::input) backward_input_block<T, B, K, S>(s, a + c, b + c, out + c);
  if constexpr (P == Pass::weight) backward_weight_block<T, B, K, S>(s, a + c, b + c, out + c);
}

template <Pass P, int K, int S>
void over_channels(const DepthwiseShape& s, const float* a, const float* b, float* out) {
  I64 c = 0;
  for (; c + 2 * kLanes <= s.channels; c += 2 * kLanes) run_block<P, Vec, 2, K, S>(s, a, b, out, c);
  for (; c + kLanes <= s.channels; c += kLanes) run_block<P, Vec, 1, K, S>(s, a, b, out, c);
  for (; c < s.channels; ++c) run_block<P, float, 1, K, S>(s, a, b, out, c);
}

template <Pass P, int K>
void by_stride(const DepthwiseShape& s, const float* a, const float* b, float* out) {
  return s.stride == 1 ? over_channels<P, K, 1>(s, a, b, out) : over_channels<P, K, 2>(s, a, b, out);
}

template <Pass P>
void depthwise(const DepthwiseShape& s, const float* a, const float* b, float* out) {
  if (s.kernel == 3) return by_stride<P, 3>(s, a, b, out);
  if (s.kernel == 5) return by_stride<P, 5>(s, a, b, out);
  return by_stride<P, 7>(s, a, b, out);
}

// --- activations -------------------------------------------------------------------------------------------

template <class T>
inline T clamp(T x, float low, float high) {
  if constexpr (sizeof(T) == 4) {
    return x < low ? low : (x > high ? high : x);
  } else {
    const Vec a = x < fill<Vec>(low) ? fill<Vec>(low) : x;
    return a > fill<Vec>(high) ? fill<Vec>(high) : a;
  }
}
template <class T>
inline T inside(T x, float low, float high) {  // 1 where low < x < high
  if constexpr (sizeof(T) == 4) {
    return x > low && x < high ? 1.0F : 0.0F;
  } else {
    return ((x > fill<Vec>(low)) & (x < fill<Vec>(high))) ? fill<Vec>(1.0F) : Vec{};
  }
}

// exp by 2^n * 2^f with the minimax polynomial of Cephes' expf; relative error below 2e-7 on [-87, 87].
template <class T>
inline T exponential(T x) {
  x = clamp(x, -87.0F, 87.0F);
  const T scaled = x * 1.44269504088896341F;
  const T magic = fill<T>(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
  const T n = (scaled + magic) - magic;
  const T r = x - n * 0.693359375F + n * 2.12194440e-4F;
  T p = fill<T>(1.9875691500e-4F);
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  if constexpr (sizeof(T) == 4) {
    const std::int32_t bits = (static_cast<std::int32_t>(n) + 127) << 23;
    return p * __builtin_bit_cast(float, bits);
  } else {
    const IntVec bits = (__builtin_convertvector(n, IntVec) + 127) << 23;
    return p * reinterpret_cast<Vec>(bits);
  }
}
template <class T>
inline T sigmoid(T x) {
  return 1.0F / (1.0F + exponential<T>(-x));
}
// erf, Abramowitz and Stegun 7.1.26 (absolute error below 1.5e-7), odd by reflection.
template <class T>
inline T erf_of(T x) {
  const T sign = inside(x, 0.0F, 1e30F) * 2.0F - 1.0F;
  const T a = x * sign;
  const T t = 1.0F / (1.0F + 0.3275911F * a);
  const T p =
      ((((1.061405429F * t - 1.453152027F) * t + 1.421413741F) * t - 0.284496736F) * t + 0.254829592F) * t;
  return sign * (1.0F - p * exponential<T>(-a * a));
}

template <Activation A, class T>
inline T act(T z) {
  if constexpr (A == Activation::relu)
    return clamp(z, 0.0F, 3.4e38F);
  else if constexpr (A == Activation::relu6)
    return clamp(z, 0.0F, 6.0F);
  else if constexpr (A == Activation::hard_swish)
    return z * clamp<T>(z + 3.0F, 0.0F, 6.0F) * (1.0F / 6.0F);
  else if constexpr (A == Activation::swish)
    return z * sigmoid(z);
  else if constexpr (A == Activation::hard_sigmoid)
    return clamp<T>(z + 3.0F, 0.0F, 6.0F) * (1.0F / 6.0F);
  else if constexpr (A == Activation::sigmoid)
    return sigmoid(z);
  else if constexpr (A == Activation::gelu)
    return z * (0.5F + 0.5F * erf_of<T>(z * 0.70710678118654752F));
  else
    return z;
}
template <Activation A, class T>
inline T act_slope(T z) {
  if constexpr (A == Activation::relu)
    return inside(z, 0.0F, 3.4e38F);
  else if constexpr (A == Activation::relu6)
    return inside(z, 0.0F, 6.0F);
  else if constexpr (A == Activation::hard_swish) {
    const T middle = inside(z, -3.0F, 3.0F);
    return middle * (z * (1.0F / 3.0F) + 0.5F) + (inside(z, 0.0F, 3.4e38F) - inside(z, 0.0F, 3.0F));
  } else if constexpr (A == Activation::swish) {
    const T g = sigmoid(z);
    return g + z * g * (1.0F - g);
  } else if constexpr (A == Activation::hard_sigmoid) {
    return inside(z, -3.0F, 3.0F) * (1.0F / 6.0F);
  } else if constexpr (A == Activation::sigmoid) {
    const T g = sigmoid(z);
    return g * (1.0F - g);
  } else if constexpr (A == Activation::gelu) {
    return 0.5F + 0.5F * erf_of<T>(z * 0.70710678118654752F) +
           z * 0.39894228040143268F * exponential<T>(z * z * -0.5F);
  } else {
    return fill<T>(1.0F);
  }
}

// Calls f.template operator()<A>() for the activation's compile-time value.
template <class F>
void with_activation(Activation a, F f) {
  switch (a) {
    case Activation::none:
      return f.template operator()<Activation::none>();
    case Activation::relu:
      return f.template operator()<Activation::relu>();
    case Activation::relu6:
      return f.template operator()<Activation::relu6>();
    case Activation::hard_swish:
      return f.template operator()<Activation::hard_swish>();
    case Activation::swish:
      return f.template operator()<Activation::swish>();
    case Activation::hard_sigmoid:
      return f.template operator()<Activation::hard_sigmoid>();
    case Activation::sigmoid:
      return f.template operator()<Activation::sigmoid>();
    case Activation::gelu:
      return f.template operator()<Activation::gelu>();
  }
}

// Calls f.template operator()<T>(c) for every channel position c, vectors first.
template <class F>
inline void each_channel(I64 channels, F f) {
  I64 c = 0;
  for (; c + kLanes <= channels; c += kLanes) f.template operator()<Vec>(c);
  for (; c < channels; ++c) f.template operator()<float>(c);
}

// --- batch norm --------------------------------------------------------------------------------------------

constexpr I64 kRows = 8;      // rows folded in registers
constexpr I64 kChunk = 1024;  // rows folded in float before they go to double

// Sums are taken of x minus the column's first value, which keeps the difference of squares exact enough when
// the mean is large against the spread.
void moments(const float* x, I64 rows, I64 channels, float* mean, float* variance) {
  float* const sums = scratch(channels * 6);
  float *const sum = sums, *const square = sums + channels;
  double* const totals = reinterpret_cast<double*>(sums + 2 * channels);
  for (I64 c = 0; c < 2 * channels; ++c) totals[c] = 0;
  for (I64 r0 = 0; r0 < rows; r0 += kChunk) {
    const I64 r1 = least(rows, r0 + kChunk);
    for (I64 c = 0; c < 2 * channels; ++c) sums[c] = 0;
    for (I64 r = r0; r < r1; r += kRows) {
      const I64 count = least(kRows, r1 - r);
      const float* const base = x + r * channels;
      each_channel(channels, [&]<class T>(I64 c) {
        const T shift = load<T>(x + c);
        T s{}, q{};
        for (I64 i = 0; i < count; ++i) {
          const T d = load<T>(base + i * channels + c) - shift;
          s += d;
          q += d * d;
        }
        store<T>(sum + c, load<T>(sum + c) + s);
        store<T>(square + c, load<T>(square + c) + q);
      });
    }
    for (I64 c = 0; c < channels; ++c) {
      totals[c] += static_cast<double>(sum[c]);
      totals[channels + c] += static_cast<double>(square[c]);
    }
  }
  for (I64 c = 0; c < channels; ++c) {
    const double m = totals[c] / static_cast<double>(rows);
    const double v = totals[channels + c] / static_cast<double>(rows) - m * m;
    mean[c] = static_cast<float>(m + static_cast<double>(x[c]));
    variance[c] = static_cast<float>(v > 0 ? v : 0);
  }
}

void affine_act(const float* x, I64 rows, I64 channels, const float* scale, const float* shift, Activation a,
                float* y) {
  with_activation(a, [&]<Activation A>() {
    for (I64 r = 0; r < rows; ++r)
      each_channel(channels, [&]<class T>(I64 c) {
        const T z = load<T>(x + r * channels + c) * load<T>(scale + c) + load<T>(shift + c);
        store<T>(y + r * channels + c, act<A>(z));
      });
  });
}

void affine_act_backward(const float* x, const float* gy, I64 rows, I64 channels, const float* scale,
                         const float* shift, const float* mean, Activation a, float* gz, float* sum_gz,
                         float* sum_gzx) {
  float* const sums = scratch(channels * 6);
  float *const s0 = sums, *const s1 = sums + channels;
  double* const totals = reinterpret_cast<double*>(sums + 2 * channels);
  for (I64 c = 0; c < 2 * channels; ++c) totals[c] = 0;
  with_activation(a, [&]<Activation A>() {
    for (I64 r0 = 0; r0 < rows; r0 += kChunk) {
      const I64 r1 = least(rows, r0 + kChunk);
      for (I64 c = 0; c < 2 * channels; ++c) sums[c] = 0;
      for (I64 r = r0; r < r1; r += kRows) {
        const I64 count = least(kRows, r1 - r);
        each_channel(channels, [&]<class T>(I64 c) {
          const T m = load<T>(mean + c), k = load<T>(scale + c), b = load<T>(shift + c);
          T s{}, q{};
          for (I64 i = 0; i < count; ++i) {
            const I64 at = (r + i) * channels + c;
            const T v = load<T>(x + at);
            const T g = load<T>(gy + at) * act_slope<A, T>(v * k + b);
            store<T>(gz + at, g);
            s += g;
            q += g * (v - m);
          }
          store<T>(s0 + c, load<T>(s0 + c) + s);
          store<T>(s1 + c, load<T>(s1 + c) + q);
        });
      }
      for (I64 c = 0; c < 2 * channels; ++c) totals[c] += static_cast<double>(sums[c]);
    }
  });
  for (I64 c = 0; c < channels; ++c) {
    sum_gz[c] = static_cast<float>(totals[c]);
    sum_gzx[c] = static_cast<float>(totals[channels + c]);
  }
}

void combine(const float* x, I64 rows, I64 channels, const float* a, const float* b, const float* d,
             float* gz) {
  for (I64 r = 0; r < rows; ++r)
    each_channel(channels, [&]<class T>(I64 c) {
      const I64 at = r * channels + c;
      store<T>(gz + at,
               load<T>(gz + at) * load<T>(a + c) + load<T>(x + at) * load<T>(b + c) + load<T>(d + c));
    });
}

// --- per-image broadcasts ----------------------------------------------------------------------------------

void reduce_positions(const float* x, const float* times, I64 images, I64 positions, I64 channels,
                      float scale, float* y) {
  for (I64 n = 0; n < images; ++n) {
    const I64 base = n * positions * channels;
    each_channel(channels, [&]<class T>(I64 c) {
      T sum{};
      for (I64 p = 0; p < positions; ++p) {
        const I64 at = base + p * channels + c;
        sum += times ? load<T>(x + at) * load<T>(times + at) : load<T>(x + at);
      }
      store<T>(y + n * channels + c, sum * scale);
    });
  }
}

void broadcast_positions(const float* x, const float* s, const float* t, I64 images, I64 positions,
                         I64 channels, float* y) {
  for (I64 n = 0; n < images; ++n)
    for (I64 p = 0; p < positions; ++p) {
      const I64 at = (n * positions + p) * channels;
      each_channel(channels, [&]<class T>(I64 c) {
        T v = x ? load<T>(x + at + c) * load<T>(s + n * channels + c) : T{};
        if (t) v += load<T>(t + n * channels + c);
        store<T>(y + at + c, v);
      });
    }
}

}  // namespace

extern const KernelTable kTable;
const KernelTable kTable = {
#if defined(__AVX512F__)
    "avx512",
#elif defined(__AVX2__)
    "avx2",
#else
    "portable",
#endif
    &depthwise<Pass::forward>,
    &depthwise<Pass::input>,
    &depthwise<Pass::weight>,
    &moments,
    &affine_act,
    &affine_act_backward,
    &combine,
    &reduce_positions,
    &broadcast_positions};

}  // namespace nas::supernet::NAS_KERNEL_SPACE
