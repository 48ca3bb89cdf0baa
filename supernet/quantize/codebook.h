#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "supernet/quantize/folding.h"

namespace nas::supernet {

// Values that share a few centres: value i is centres[codes[i]].
struct Codebook {
  std::vector<float> centres;  // ascending
  std::vector<std::uint16_t> codes;
  std::size_t stored = 0;  // numbers that give the centres: 2 of a ternary one's 3, 1 of a binary one's 2
};

// The `k` centres with the least sum of squared distances, exactly (one dimension: dynamic programming over
// the sorted values; Deep Compression, Han et al., ICLR 2016, takes Lloyd's local optimum). At most as many
// centres as there are different values.
Codebook share_weights(std::span<const float> values, std::size_t k);

// Trained ternary quantisation's codes (Zhu et al., ICLR 2017): 0 up to 0.05 of the largest magnitude; above
// and below it the mean of those weights, which is the best there is for these codes.
inline constexpr double kTernaryThreshold = 0.05;
Codebook ternary(std::span<const float> values, double threshold = kTernaryThreshold);

// Ternary weights of one operation: weight = magnitude of its output channel x centre of its code. The
// magnitudes stand for the batch norm that folding multiplied into the weights.
struct TernaryWeights {
  Codebook book;
  std::vector<float> magnitudes;  // the largest of each channel before coding, 1 where all are 0
};
TernaryWeights ternary_weights(const DeployedOp& op, const FoldedWeights& weights);

// Sign times mean magnitude (XNOR-Net, Rastegari et al. 2016), one scale for all values given.
Codebook binary(std::span<const float> values);

// Lengths of an optimal prefix code for symbols that occur so often (Huffman 1952); 0 for one that never
// does, 1 where only one does.
std::vector<std::uint8_t> huffman_lengths(std::span<const std::uint64_t> counts);

// Bytes of a codebook's values: codes of fixed width; codes by Huffman with one byte of length a centre.
// Centres are floats.
struct CodedSize {
  std::int64_t fixed = 0, huffman = 0;
};
CodedSize coded_size(const Codebook& book);

// How a folded network's weights are coded.
enum class Coding : std::uint8_t { shared, ternary, binary };
struct CodedNetwork {
  FoldedNetwork folded;  // with the coded values; biases as they were
  CodedSize size;        // weights as coded plus a float bias a channel
  std::int64_t float_bytes = 0;
};
// One codebook an operation; ternary: of ternary_weights(); binary: one an output channel. `centres`: of
// shared weights.
CodedNetwork code_weights(FoldedNetwork folded, Coding how, std::size_t centres = 16);
// The network with these weights, per operation; biases as they are.
CodedNetwork with_ternary(FoldedNetwork folded, const std::vector<TernaryWeights>& weights);

}  // namespace nas::supernet
