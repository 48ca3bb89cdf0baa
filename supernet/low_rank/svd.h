#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace nas::supernet {

// A = U diag(s) V^T, thin: with k = min(rows, columns), U is rows x k, V is columns x k (both row major,
// columns orthonormal), s descending. One-sided Jacobi rotations: singular values to about 1e-14 of the
// largest.
struct Svd {
  std::vector<double> u, s, v;
};
Svd svd(const std::vector<double>& a, std::size_t rows, std::size_t columns);

// A as the product second [rows, rank] * first [rank, columns] of its `rank` greatest singular values: the
// nearest of that rank (Eckart and Young). Each value goes half to each side, which keeps both of like size.
// `weights` (empty: ones): what A's columns were multiplied by; `first`'s are divided by it.
struct Factors {
  std::vector<float> first, second;
};
Factors truncated(const Svd& d, std::size_t rank, std::span<const double> weights = {});

}  // namespace nas::supernet
