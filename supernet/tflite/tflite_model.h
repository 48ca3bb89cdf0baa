#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/result.h"

namespace nas::supernet {

// The numbers of the TensorFlow Lite schema (version 3) that our networks need.
enum class TfliteType : std::int8_t { float32 = 0, int32 = 2, int8 = 9 };

enum class TfliteCode : std::int32_t {
  add = 0,
  average_pool = 1,
  conv = 3,
  depthwise_conv = 4,
  logistic = 14,
  max_pool = 17,
  mul = 18,
  relu = 19,
  relu6 = 21,
  reshape = 22,
  pad = 34,
  pad_v2 = 60,
  hard_swish = 117,
};

struct TfliteTensor {
  std::string name;
  std::vector<std::int32_t> shape;
  TfliteType type = TfliteType::float32;
  std::string data;           // of a constant, little endian; empty: computed
  std::vector<float> scales;  // empty: not quantised; else one, or one per index of `axis`
  std::vector<std::int64_t> zeros;
  std::int32_t axis = 0;
};

struct TfliteOp {
  TfliteCode code = TfliteCode::conv;
  std::int32_t version = 1;
  std::vector<std::int32_t> inputs, outputs;  // tensors
  std::vector<std::int32_t> options;          // in the order of the schema's fields
};

// A model of one graph.
struct TfliteModel {
  std::string description;
  std::vector<TfliteTensor> tensors;
  std::vector<TfliteOp> ops;
  std::vector<std::int32_t> inputs, outputs;    // tensors
  std::map<std::string, std::string> metadata;  // name -> bytes
};

// The FlatBuffer, identifier "TFL3". Same model, same bytes.
std::string to_bytes(const TfliteModel& model);

// Reads what to_bytes writes, and any model made of these operators. Fails on offsets outside the file,
// types, operators and versions that are not ours, tensors whose data and shape do not agree, quantisation
// that has not one scale a channel, operators that read a tensor nobody has computed, and inputs that are too
// few.
Result<TfliteModel> tflite_from_bytes(std::string_view bytes, const std::string& where);

}  // namespace nas::supernet
