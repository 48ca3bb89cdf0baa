#include "supernet/quantize/mixed_precision.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "supernet/quantize/quantize.h"
#include "supernet/quantize/simulation.h"

namespace nas::supernet {
namespace {

bool has_integer_weights(const Layer& l) { return has_weights(l) && l.kind != LayerKind::batch_norm; }

// The weights of an operation rounded to `bits`, as real numbers.
FoldedWeights rounded(DeployedOp op, const FoldedWeights& weights, std::int32_t bits) {
  op.weight_bits = static_cast<std::uint8_t>(bits);
  FoldedWeights real = weights;
  real.values = real_values(op, quantize_weights(op, weights, 1), 1).values;
  return real;
}

Result<void> check_name(const Network& network, const std::string& name) {
  for (const Layer& l : network.layers)
    if (has_integer_weights(l) && layer_name(l).starts_with(name)) return {};
  return usage_error("no layer with weights is called \"" + name + "\"");
}

}  // namespace

BitSensitivity bit_sensitivity(const FoldedNetwork& folded, std::span<const std::vector<float>> images,
                               std::vector<std::int32_t> bits) {
  BitSensitivity found{{}, std::move(bits), {}};
  const std::vector<DeployedOp>& ops = folded.deployment.ops;
  FloatExecutor executor(folded);
  const auto exact = outputs(executor, images);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const std::int32_t layer = ops[i].layer;
    if (ops[i].part == DeployedPart::none || std::ranges::find(found.layers, layer) != found.layers.end())
      continue;
    found.layers.push_back(layer);
    found.error.emplace_back();
    for (const std::int32_t b : found.bits) {
      for (std::size_t k = i; k < ops.size(); ++k)
        if (ops[k].layer == layer && ops[k].part != DeployedPart::none)
          executor.set_weights(k, rounded(ops[k], folded.weights[k], b));
      found.error.back().push_back(relative_error(exact, outputs(executor, images)));
    }
    for (std::size_t k = i; k < ops.size(); ++k)
      if (ops[k].layer == layer && ops[k].part != DeployedPart::none)
        executor.set_weights(k, folded.weights[k]);
  }
  return found;
}

namespace {

// Every layer's options under every limit, and the search among them.
class BitChoice {
 public:
  static Result<BitChoice> make(Network network, const BitSensitivity& sensitivity,
                                std::span<const CostLimit> limits) {
    BitChoice choice(std::move(network), sensitivity, limits);
    choice.set(std::vector<std::size_t>(sensitivity.layers.size(), 0));
    for (const CostLimit& limit : limits) {
      NAS_TRY(priced, choice.price(limit));
      choice.priced_.push_back(std::move(priced));
    }
    return choice;
  }

  // The least multiplier, and under it the most room, at which the whole holds all limits.
  Result<Network> best() {
    const double room = limits_[0].limit - priced_[0].floor;
    NAS_TRY(alone, widest_room(room));
    if (limits_.size() == 1 || holds(alone)) return at(alone);
    constexpr double kLeast = 1e-8, kMost = 1e6;
    double low = std::log(kLeast), high = std::log(kMost);
    auto found = choose(alone.room, kMost);
    if (!found || !holds(*found)) return broken(found ? &*found : nullptr);
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (low + high) / 2;
      const auto now = choose(alone.room, std::exp(middle));
      const bool fits = now && holds(*now);
      if (fits) found = now;
      (fits ? high : low) = middle;
    }
    return at(*found);
  }

 private:
  static constexpr int kHalvings = 30;
  struct Priced {
    std::vector<std::vector<double>> above;  // per layer and bits: beyond the layer's cheapest
    double floor = 0;                        // of the network with every layer at its cheapest
  };
  struct Choice {
    std::vector<std::size_t> bits;  // per layer: which
    double room = 0;                // that it was found in
  };

  BitChoice(Network network, const BitSensitivity& sensitivity, std::span<const CostLimit> limits)
      : network_(std::move(network)), s_(sensitivity), limits_(limits) {}

  Layer& layer(std::size_t i) { return network_.layers[static_cast<std::size_t>(s_.layers[i])]; }
  void set(const std::vector<std::size_t>& bits) {
    for (std::size_t i = 0; i < bits.size(); ++i)
      layer(i).weight_bits = static_cast<std::uint8_t>(s_.bits[bits[i]]);
  }

  Result<Priced> price(const CostLimit& limit) {
    Priced priced;
    NAS_TRY(base, limit.cost(network_));
    priced.floor = base;
    for (std::size_t i = 0; i < s_.layers.size(); ++i) {
      std::vector<double> more;
      for (const std::int32_t b : s_.bits) {
        layer(i).weight_bits = static_cast<std::uint8_t>(b);
        const auto cost = limit.cost(network_);
        if (!cost)
          return Error{limit.what + " of layer " + layer_name(layer(i)) + " with weights of " +
                           std::to_string(b) + " bits: " + cost.error().message,
                       cost.error().where, cost.error().kind};
        more.push_back(*cost - base);
      }
      layer(i).weight_bits = static_cast<std::uint8_t>(s_.bits[0]);
      const double least = *std::ranges::min_element(more);
      for (double& m : more) m -= least;
      priced.floor += least;
      priced.above.push_back(std::move(more));
    }
    return priced;
  }

  std::optional<Choice> choose(double room, double multiplier) const {
    std::vector<std::vector<Option>> items;
    for (std::size_t i = 0; i < s_.layers.size(); ++i) {
      items.emplace_back();
      for (std::size_t b = 0; b < s_.bits.size(); ++b) {
        double error = s_.error[i][b];
        for (std::size_t k = 1; k < priced_.size(); ++k)
          error += multiplier * priced_[k].above[i][b] / limits_[k].limit;
        items.back().push_back({priced_[0].above[i][b], error});
      }
    }
    // Bytes are whole: with as many steps the choice is exact.
    constexpr double kWhole = 1000, kMost = 200'000, kUsual = 20'000;
    const double steps = room >= kWhole ? std::min(room, kMost) : kUsual;
    auto chosen = least_error(items, room, static_cast<std::size_t>(steps));
    if (!chosen) return std::nullopt;
    return Choice{*std::move(chosen), room};
  }

  bool holds(const Choice& choice, std::size_t from, std::size_t to) {
    set(choice.bits);
    for (std::size_t k = from; k < to; ++k) {
      const auto cost = limits_[k].cost(network_);
      if (!cost || *cost > limits_[k].limit) return false;
    }
    return true;
  }
  bool holds(const Choice& choice) { return holds(choice, 0, limits_.size()); }

  // The first limit alone: all of its room where costs add up, else as much as keeps it.
  Result<Choice> widest_room(double room) {
    auto found = choose(room, 0);
    if (found && holds(*found, 0, 1)) return *found;
    found.reset();
    double low = 0, high = room;
    for (int i = 0; i < kHalvings && room > 0; ++i) {
      const double middle = (low + high) / 2;
      const auto now = choose(middle, 0);
      const bool fits = now && holds(*now, 0, 1);
      if (fits) found = now;
      (fits ? low : high) = middle;
    }
    if (found) return *found;
    return too_much(limits_[0], priced_[0].floor);
  }

  Network at(const Choice& choice) {
    set(choice.bits);
    return network_;
  }

  static Error too_much(const CostLimit& limit, double least) {
    char text[160];
    std::snprintf(text, sizeof text, " must be at most %.6g %s, at the best bits for it it is %.6g",
                  limit.limit, limit.unit.c_str(), least);
    return {"mixed precision: " + limit.what + text, "", ErrorKind::infeasible};
  }

  // Which of the other limits stands in the way, beside the first.
  Error broken(const Choice* nearest) {
    for (std::size_t k = 1; k < limits_.size(); ++k) {
      if (priced_[k].floor > limits_[k].limit) return too_much(limits_[k], priced_[k].floor);
      if (nearest == nullptr || holds(*nearest, k, k + 1)) continue;
      const auto cost = limits_[k].cost(at(*nearest));
      Error e = too_much(limits_[k], cost ? *cost : priced_[k].floor);
      e.message += " together with the limit on " + limits_[0].what;
      return e;
    }
    return too_much(limits_[0], priced_[0].floor);
  }

  Network network_;
  const BitSensitivity& s_;
  std::span<const CostLimit> limits_;
  std::vector<Priced> priced_;  // per limit
};

}  // namespace

Result<Network> mixed_precision(Network network, const BitSensitivity& sensitivity,
                                std::span<const CostLimit> limits) {
  NAS_TRY(choice, BitChoice::make(std::move(network), sensitivity, limits));
  return choice.best();
}

Result<Network> with_weight_bits(Network network, std::int32_t bits, const std::string& name) {
  if (bits != 8 && bits != 4 && bits != 2)
    return usage_error("weights of " + std::to_string(bits) +
                       " bits: engine c has kernels for 8, 4 and 2 bits, onnxruntime and tflite for 8");
  NAS_CHECK(check_name(network, name));
  for (Layer& l : network.layers)
    if (has_integer_weights(l) && layer_name(l).starts_with(name))
      l.weight_bits = static_cast<std::uint8_t>(bits);
  return network;
}

Result<Network> with_activation_bits(Network network, std::int32_t bits) {
  if (bits != 8 && bits != 4)
    return usage_error("activations of " + std::to_string(bits) +
                       " bits: engine c has kernels for 8 and 4 bits, onnxruntime and tflite for 8");
  // The image and the answer keep their 8 bits.
  for (std::size_t i = 1; i + 1 < network.layers.size(); ++i)
    network.layers[i].activation_bits = static_cast<std::uint8_t>(bits);
  return network;
}

}  // namespace nas::supernet
