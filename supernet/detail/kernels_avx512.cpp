#define NAS_KERNEL_SPACE avx512
#include "supernet/detail/kernels_body.h"
