#pragma once
#include <string>
#include <vector>

namespace nas::supernet {

// Settings that make LibTorch fast on this machine; call once, before any tensor is made. Keeps freed memory
// instead of returning it page by page, and lets every task use one intra-op thread (the parallelism is
// ours).
void prepare_runtime();

// Threads of one matrix product. OpenBLAS built with its own threads does not follow LibTorch's setting, and
// products from several tasks would then fight over one pool. No effect on other libraries.
void set_blas_threads(int threads);

struct RuntimeReport {
  std::string kernels;     // "avx512", "avx2" or "portable"
  double gemm_gflops = 0;  // measured, one thread, 512 x 512 x 512
  bool cuda = false;
  bool bf16_is_fast = false;          // AMX on the processor, or CUDA
  std::string libtorch;               // its version
  std::vector<std::string> warnings;  // what is slow, and how to mend it
};
// Measures for about 50 ms.
RuntimeReport inspect_runtime();

}  // namespace nas::supernet
