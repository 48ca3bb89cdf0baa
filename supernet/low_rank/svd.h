#pragma once
#include <cstddef>
#include <vector>

namespace nas::supernet {

// A = U diag(s) V^T, thin: with k = min(rows, columns), U is rows x k, V is columns x k (both row major,
// columns orthonormal), s descending. One-sided Jacobi rotations: singular values to about 1e-14 of the
// largest.
struct Svd {
  std::vector<double> u, s, v;
};
Svd svd(const std::vector<double>& a, std::size_t rows, std::size_t columns);

}  // namespace nas::supernet
