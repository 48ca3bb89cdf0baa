#pragma once
#include "supernet/quantize/codebook.h"
#include "supernet/quantize_aware.h"

namespace nas::supernet {

// Trained ternary quantisation (Zhu, Han, Mao, Dally, ICLR 2017) of every operation with weights: each has
// two learned scales p and n; a weight w of a channel whose largest magnitude was m is m p above 0.05 m,
// -m n below -0.05 m, else 0. Scales begin as ternary_weights() finds them, their gradients are the sums over
// the weights that they stand for (equation 7); the float weights behind the codes keep learning, their
// gradients times p, n, or 1 between the thresholds (equation 8), so that codes change. Biases learn too; the
// float network at the start teaches. Activations are not rounded.
//
// `start`: the int8 network that quantize() made of `folded`; its steps are the units that are learned in.
Result<CodedNetwork> train_ternary(const FoldedNetwork& folded, const QuantizedNetwork& start,
                                   const BatchStream& batches, const QuantizeAwareOptions& options = {});

}  // namespace nas::supernet
