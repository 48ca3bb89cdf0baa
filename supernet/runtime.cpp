#include "supernet/runtime.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <fstream>

#include "supernet/detail/kernels.h"

namespace nas::supernet {
namespace {

constexpr double kSlowGemm = 10;  // GFLOP/s of one thread; a tuned BLAS reaches 50 to 120

double measure_gemm() {
  const c10::NoGradGuard guard;
  constexpr std::int64_t kSize = 512;
  const at::Tensor a = at::ones({kSize, kSize}), b = at::ones({kSize, kSize});
  double best = 1e9;
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [](auto from) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  };
  for (int i = 0; i < 3 || (i < 20 && seconds(begin) < 0.05); ++i) {
    const auto start = std::chrono::steady_clock::now();
    at::mm(a, b);
    best = std::min(best, seconds(start));
  }
  return 2.0 * kSize * kSize * kSize / best * 1e-9;
}

bool has_amx() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("flags")) return line.find("amx_bf16") != std::string::npos;
  return false;
}

}  // namespace

void prepare_runtime() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
  at::set_num_threads(1);
  set_blas_threads(1);
}

void set_blas_threads(int threads) {
  using Setter = void (*)(int);
  static const auto set = reinterpret_cast<Setter>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (set) set(threads);
}

RuntimeReport inspect_runtime() {
  RuntimeReport report;
  report.kernels = kernels().name;
  report.gemm_gflops = measure_gemm();
  report.cuda = at::hasCUDA();
  report.bf16_is_fast = has_amx() || report.cuda;
  report.libtorch = TORCH_VERSION;
  if (report.gemm_gflops < kSlowGemm)
    report.warnings.push_back(
        "matrix products run at " + std::to_string(report.gemm_gflops).substr(0, 4) +
        " GFLOP/s: LibTorch uses an untuned BLAS; install libopenblas0-openmp and select it with "
        "update-alternatives --config libblas.so.3-x86_64-linux-gnu");
  return report;
}

}  // namespace nas::supernet
