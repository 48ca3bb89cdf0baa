#include "supernet/quantize_aware.h"

#include "supernet/detail/answer_trainer.h"
#include "supernet/detail/rounded_network.h"

namespace nas::supernet {

Result<QuantizedNetwork> train_quantized(const FoldedNetwork& folded, const QuantizedNetwork& start,
                                         const BatchStream& batches, const QuantizeAwareOptions& options) {
  RoundedNetwork network(folded, start);
  const AnswerTraining training{
      "quantisation-aware training",
      folded.deployment.input.height,
      network.table(),
      [&] { return network.leaves(); },
      [&](const at::Tensor& x, const std::vector<at::Tensor>& leaves) { return network.forward(x, leaves); },
      [&](const at::Tensor& x, const std::vector<at::Tensor>& leaves) {
        return network.forward(x, leaves, false);
      }};
  NAS_CHECK(train_by_answers(training, batches, options));
  return network.integer();
}

}  // namespace nas::supernet
