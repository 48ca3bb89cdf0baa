#define NAS_KERNEL_SPACE avx2
#include "supernet/detail/kernels_body.h"
