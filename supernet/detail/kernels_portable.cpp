#define NAS_KERNEL_SPACE portable
#include "supernet/detail/kernels_body.h"
