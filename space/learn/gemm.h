#pragma once
#include <cstddef>

namespace nas::learn {

// A matrix in memory: element (i, j) is data[i * row_stride + j * column_stride].
struct Strided {
  const float* data = nullptr;
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t column_stride = 1;
};

// C[m x n] = A[m x k] B[k x n], plus the old C where `accumulate`; C is row-major with `ldc` floats a row.
// Every element is summed in the order of k, so the result does not depend on the number of threads.
void gemm(std::size_t m, std::size_t n, std::size_t k, Strided a, Strided b, float* c, std::size_t ldc,
          bool accumulate = false);

}  // namespace nas::learn
