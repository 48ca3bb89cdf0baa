#include "supernet/detail/ternary_function.h"

#include <torch/csrc/autograd/custom_function.h>

#include "supernet/quantize/codebook.h"

namespace nas::supernet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct TernaryFunction : Function<TernaryFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& m,
                            const at::Tensor& p, const at::Tensor& n) {
    context->save_for_backward({x, m, p, n});
    const at::Tensor limit = m * kTernaryThreshold;
    return m * (p * (x > limit) - n * (x < -limit));
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &m = saved[1], &p = saved[2], &n = saved[3], &g = grads[0];
    const at::Tensor limit = m * kTernaryThreshold;
    const at::Tensor above = (x > limit).to(g.scalar_type()), below = (x < -limit).to(g.scalar_type());
    const at::Tensor scaled = g * m;
    return {g * (above * p + below * n + (1 - above - below)), at::Tensor(), (scaled * above).sum().view({1}),
            -(scaled * below).sum().view({1})};
  }
};

}  // namespace

at::Tensor ternary_apply(const at::Tensor& x, const at::Tensor& m, const at::Tensor& p, const at::Tensor& n) {
  return TernaryFunction::apply(x, m, p, n);
}

}  // namespace nas::supernet
