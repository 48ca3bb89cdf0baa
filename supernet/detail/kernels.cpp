#include "supernet/detail/kernels.h"

namespace nas::supernet {

namespace portable {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}

const KernelTable& kernels(bool portable_only) {
#if defined(__x86_64__)
  static const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
  static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx512 && !portable_only) return avx512::kTable;
  if (has_avx2 && !portable_only) return avx2::kTable;
#endif
  return portable::kTable;
}

}  // namespace nas::supernet
