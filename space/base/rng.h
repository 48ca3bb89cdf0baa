#pragma once
#include <array>
#include <cassert>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace nas {

// Counter-based generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A stream is named by (seed, purpose, step, index); streams are independent, cost nothing to
// open, and never depend on thread order. Different names, different streams; same name, same numbers on
// every machine.
class Rng {
 public:
  Rng(std::uint64_t seed, std::string_view purpose, std::uint64_t step = 0, std::uint64_t index = 0);

  std::uint64_t next();
  // Uniform in [0, bound), exact (Lemire 2019, rejection of the biased part). bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [0, 1) with 53 random bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  bool chance(double probability) { return uniform() < probability; }
  // Standard normal (Box-Muller, both halves used).
  double normal();

  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }
  // `count` different indices out of [0, n), in random order. count <= n.
  std::vector<std::size_t> sample(std::size_t n, std::size_t count);

 private:
  void refill();
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint64_t, 2> block_{};
  int left_ = 0;
  bool has_spare_ = false;
  double spare_ = 0;
};

// One Philox4x32-10 block; public so that tests can hold it against the published known answers.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

}  // namespace nas
