#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/quantize_stage.h"
#include "apps/session_predictor.h"
#include "supernet/prune/importance.h"
#include "supernet/prune/masks.h"
#include "supernet/quantize/codebook.h"

namespace nas::apps {

// How a share is set: as given, the same everywhere that a limit asks for, by what each layer loses
// (sensitivity), or by search.
enum class Choosing : std::uint8_t { given, uniform, sensitivity, search };

// --prune l1:0.3, bn:uniform, taylor:auto, second:search
struct PruneRequest {
  supernet::Importance importance = supernet::Importance::l1;
  Choosing choosing = Choosing::given;
  double ratio = 0;
};
Result<PruneRequest> parse_prune(const std::string& text);

// --rank 0.5, auto
struct RankRequest {
  Choosing choosing = Choosing::given;
  double share = 1;
};
Result<RankRequest> parse_rank(const std::string& text);

// --bits 4, mixed, or stage3=4,classifier=2 (the others 8)
struct BitsRequest {
  bool mixed = false;
  std::vector<std::pair<std::string, std::int32_t>> layers;  // name, or empty for all; later ones win
};
Result<BitsRequest> parse_bits(const std::string& text);

// --codes shared:16, ternary, binary
struct CodesRequest {
  supernet::Coding how = supernet::Coding::shared;
  std::size_t centres = 16;
};
Result<CodesRequest> parse_codes(const std::string& text);

// --under flash=40k,macs=2M,latency=1.5,energy=8 (flash in bytes; latency in Minstr or ms, as the session
// counts; energy in microjoules)
struct Limits {
  std::optional<double> flash, macs, latency, energy;
};
Result<Limits> parse_limits(const std::string& text);

struct CompressOptions {
  std::string network, run, out;
  std::string prune, mask, rank, bits, codes, under;  // as above; empty: nothing
  std::string energy = "horowitz-45nm";               // coefficients of a limit on energy (docs/cost.md)
  std::int32_t activation_bits = 8;
  std::int32_t rounds = 1;    // of prune (mask, project) and fine-tune
  std::int32_t multiple = 4;  // channels of large groups
  std::int64_t score_images = 64;
  std::int64_t loss_images = 256;  // for the losses of a search for ratios
  std::int64_t images = 1000;      // of the validation split, for accuracies; 0: all
  std::size_t evaluations = 100;   // of a search for ratios
  std::uint64_t seed = 1;
  QuantizeStage stage;
  SessionChoice session;
};

}  // namespace nas::apps
