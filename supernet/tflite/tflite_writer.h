#pragma once
#include <map>
#include <string>

#include "space/quantized_network.h"
#include "supernet/quantize/folding.h"
#include "supernet/tflite/tflite_model.h"

namespace nas::supernet {

// Batch 1, channels last. Input "image" [1, H, W, C], output "logits" [1, classes]; tensor i of the
// deployment is called "t<i>". Padding is an operator of its own where TensorFlow's SAME is not ours (stride
// 2); fully connected layers are convolutions over all positions, since their weights have a scale per
// channel. Fails on an activation that TensorFlow Lite has no operators for, naming the layer.
Result<TfliteModel> tflite_model(const FoldedNetwork& network);

// int8 in and out, weights per channel. `network` must have its gates folded (fold_gates).
Result<TfliteModel> tflite_model(const QuantizedNetwork& network);

// TensorFlow Lite has no hard sigmoid. After a convolution it is that convolution with scales divided by six,
// a half added and the clamp of a grid of 1/255 from 0: what TFLite and our reference for it compute.
QuantizedNetwork fold_gates(QuantizedNetwork network);

// A piece of a network, to be timed: without the reshape to [1, classes] at its end.
TfliteModel as_piece(TfliteModel model);

}  // namespace nas::supernet
