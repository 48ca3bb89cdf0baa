#include "supernet/network_json.h"

#include <nlohmann/json.hpp>

#include <limits>

namespace nas::supernet {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxLayers = 100'000;

// Calls f on every number of a layer in file order; used for writing and for reading.
template <class L, class F>
void each_number(L& l, F f) {
  f(l.kind), f(l.activation), f(l.weight_bits), f(l.activation_bits), f(l.bias);
  f(l.site.stage), f(l.site.block), f(l.site.role), f(l.site.variant);
  f(l.inputs[0]), f(l.inputs[1]);
  for (auto* s : {&l.in, &l.side, &l.out}) f(s->channels), f(s->height), f(s->width);
  f(l.kernel), f(l.stride), f(l.padding), f(l.groups), f(l.hidden), f(l.heads);
}

constexpr std::int64_t kLargestEnum(LayerKind) { return static_cast<std::int64_t>(LayerKind::attention); }
constexpr std::int64_t kLargestEnum(Activation) { return static_cast<std::int64_t>(Activation::gelu); }
constexpr std::int64_t kLargestEnum(Role) { return static_cast<std::int64_t>(Role::concat); }

// Stores `value` if the member's type can hold it.
template <class T>
bool assign(T& member, std::int64_t value) {
  if constexpr (std::is_enum_v<T>) {
    if (value < 0 || value > kLargestEnum(T{})) return false;
    member = static_cast<T>(value);
  } else {
    if (value < static_cast<std::int64_t>(std::numeric_limits<T>::min()) ||
        value > static_cast<std::int64_t>(std::numeric_limits<T>::max()))
      return false;
    member = static_cast<T>(value);
  }
  return true;
}

}  // namespace

std::string network_to_json(const Network& network) {
  Json layers = Json::array();
  for (const Layer& l : network.layers) {
    Json numbers = Json::array();
    each_number(l, [&](const auto& member) { numbers.push_back(static_cast<std::int64_t>(member)); });
    layers.push_back(std::move(numbers));
  }
  return layers.dump();
}

Result<Network> network_from_json(const std::string& text, const std::string& where) {
  const Json layers = Json::parse(text, nullptr, false);
  if (!layers.is_array() || layers.size() > kMaxLayers)
    return Error{"network: must be a list of layers", where};
  Network network;
  for (const Json& numbers : layers) {
    const std::string at = "network layer " + std::to_string(network.layers.size());
    Layer l;
    std::size_t i = 0;
    bool good = numbers.is_array();
    each_number(l, [&](auto& member) {
      good = good && i < numbers.size() && numbers[i].is_number_integer() &&
             assign(member, numbers[i].get<std::int64_t>());
      ++i;
    });
    if (!good || i != numbers.size())
      return Error{at + ": must be " + std::to_string(i) + " whole numbers in range", where};
    network.layers.push_back(l);
  }
  if (auto valid = validate(network); !valid) return Error{valid.error().message, where};
  return network;
}

}  // namespace nas::supernet
