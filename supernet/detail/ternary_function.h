#pragma once
#include <ATen/ATen.h>

namespace nas::supernet {

// y = m p where x > 0.05 m, -m n where x < -0.05 m, else 0; x [out, in, k, k], m [out, 1, 1, 1], p and n of
// one element. Gradients of trained ternary quantisation (Zhu et al., ICLR 2017): of p the sum of g m over
// the weights above, of n minus that over those below; of x g p above, g n below, g between.
at::Tensor ternary_apply(const at::Tensor& x, const at::Tensor& m, const at::Tensor& p, const at::Tensor& n);

}  // namespace nas::supernet
