#include "space/learn/gemm.h"

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cstring>
#include <vector>

// The scheme of Goto & van de Geijn (ACM TOMS 34, 2008): B is packed in panels of 16 columns, A in strips of
// 6 rows, and a register block of 6 x 16 runs over a slice of k that stays in the first cache.
namespace nas::learn {
namespace {

constexpr std::size_t kRows = 6;
constexpr std::size_t kColumns = 16;
constexpr std::size_t kDepth = 256;
constexpr std::size_t kRowBlock = 96;
using Vec __attribute__((vector_size(32), aligned(4))) = float;

// Panel p of B holds its columns [16 p, 16 p + 16) for depth [k0, k0 + depth), zero-padded.
void pack_b(Strided b, std::size_t k0, std::size_t depth, std::size_t n, float* to) {
  for (std::size_t j0 = 0; j0 < n; j0 += kColumns) {
    const std::size_t width = std::min(kColumns, n - j0);
    for (std::size_t p = 0; p < depth; ++p, to += kColumns) {
      const float* from = b.data + static_cast<std::ptrdiff_t>(k0 + p) * b.row_stride +
                          static_cast<std::ptrdiff_t>(j0) * b.column_stride;
      for (std::size_t j = 0; j < width; ++j) to[j] = from[static_cast<std::ptrdiff_t>(j) * b.column_stride];
      for (std::size_t j = width; j < kColumns; ++j) to[j] = 0;
    }
  }
}

void pack_a(Strided a, std::size_t i0, std::size_t height, std::size_t k0, std::size_t depth, float* to) {
  for (std::size_t p = 0; p < depth; ++p, to += kRows) {
    const float* from = a.data + static_cast<std::ptrdiff_t>(i0) * a.row_stride +
                        static_cast<std::ptrdiff_t>(k0 + p) * a.column_stride;
    for (std::size_t i = 0; i < height; ++i) to[i] = from[static_cast<std::ptrdiff_t>(i) * a.row_stride];
    for (std::size_t i = height; i < kRows; ++i) to[i] = 0;
  }
}

// Adds strip x panel to C, clipped to height x width.
void block(std::size_t depth, const float* strip, const float* panel, float* c, std::size_t ldc,
           std::size_t height, std::size_t width) {
  Vec sum[kRows][2] = {};
  for (std::size_t p = 0; p < depth; ++p, strip += kRows, panel += kColumns) {
    Vec low;
    Vec high;
    std::memcpy(&low, panel, sizeof(Vec));
    std::memcpy(&high, panel + 8, sizeof(Vec));
    for (std::size_t i = 0; i < kRows; ++i) {
      sum[i][0] += strip[i] * low;
      sum[i][1] += strip[i] * high;
    }
  }
  for (std::size_t i = 0; i < height; ++i) {
    float out[kColumns];
    std::memcpy(out, sum[i], sizeof(out));
    for (std::size_t j = 0; j < width; ++j) c[i * ldc + j] += out[j];
  }
}

}  // namespace

void gemm(std::size_t m, std::size_t n, std::size_t k, Strided a, Strided b, float* c, std::size_t ldc,
          bool accumulate) {
  if (!accumulate) {
    for (std::size_t i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, 0.0F);
  }
  const std::size_t panels = (n + kColumns - 1) / kColumns;
  std::vector<float> packed_b(panels * kColumns * std::min(k, kDepth));
  for (std::size_t k0 = 0; k0 < k; k0 += kDepth) {
    const std::size_t depth = std::min(kDepth, k - k0);
    pack_b(b, k0, depth, n, packed_b.data());
    const auto rows = [&](std::size_t begin, std::size_t end) {
      float strip[kRows * kDepth];
      for (std::size_t i = begin; i < end; i += kRows) {
        const std::size_t height = std::min(kRows, end - i);
        pack_a(a, i, height, k0, depth, strip);
        for (std::size_t p = 0; p < panels; ++p) {
          const std::size_t j = p * kColumns;
          block(depth, strip, packed_b.data() + p * kColumns * depth, c + i * ldc + j, ldc, height,
                std::min(kColumns, n - j));
        }
      }
    };
    if (m * n * depth < 1000000) {
      rows(0, m);
      continue;
    }
    const std::size_t blocks = (m + kRowBlock - 1) / kRowBlock;
    tbb::parallel_for(std::size_t{0}, blocks, [&](std::size_t block_index) {
      rows(block_index * kRowBlock, std::min(m, (block_index + 1) * kRowBlock));
    });
  }
}

}  // namespace nas::learn
