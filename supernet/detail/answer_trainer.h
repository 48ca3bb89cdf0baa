#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <string>
#include <vector>

#include "supernet/detail/weights.h"
#include "supernet/quantize_aware.h"

namespace nas::supernet {

// Trains the parameters of a deployed network by the labels and by a float network's answers: AdamW, cosine
// to zero, a batch in parts that run in parallel.
struct AnswerTraining {
  // Logits [N, classes] of images [N, H, W, C].
  using Forward = std::function<at::Tensor(const at::Tensor& images, const std::vector<at::Tensor>& leaves)>;

  std::string what;  // "quantisation-aware training", for messages
  int resolution = 0;
  WeightTable& table;
  std::function<std::vector<at::Tensor>()> leaves;  // the table's parameters, for one pass
  Forward student;
  Forward teacher;  // gets the leaves as they were at the start, without a graph
};

// Same batches, same parameters for any thread count. Fails on batches of another resolution and when the
// loss is not finite.
Result<void> train_by_answers(const AnswerTraining& training, const BatchStream& batches,
                              const QuantizeAwareOptions& options);

}  // namespace nas::supernet
