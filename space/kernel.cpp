#include "space/kernel.h"

#include <charconv>
#include <sstream>

#include "space/fusion.h"

namespace nas {
namespace {

constexpr int kKinds = static_cast<int>(LayerKind::attention) + 1;
constexpr int kActivations = static_cast<int>(Activation::gelu) + 1;

std::string text(const Shape& s) {
  return std::to_string(s.channels) + "x" + std::to_string(s.height) + "x" + std::to_string(s.width);
}

std::string bits_text(const Kernel& k) {
  const Layer& l = k.anchor;
  std::string out;
  if (l.weight_bits != 0 || l.activation_bits != 0)
    out += " w" + std::to_string(l.weight_bits) + "a" + std::to_string(l.activation_bits);
  if (k.input_bits[0] != 0 || k.input_bits[1] != 0) out += " i" + std::to_string(k.input_bits[0]);
  if (k.input_bits[1] != 0) out += "," + std::to_string(k.input_bits[1]);
  return out;
}

// A whole number from the front of `word`; the rest stays.
bool take_number(std::string_view& word, std::int32_t& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || value < 0) return false;
  word.remove_prefix(static_cast<std::size_t>(end - word.data()));
  return true;
}

bool take_prefix(std::string_view& word, std::string_view prefix) {
  if (!word.starts_with(prefix)) return false;
  word.remove_prefix(prefix.size());
  return true;
}

bool take_shape(std::string_view& word, Shape& shape) {
  return take_number(word, shape.channels) && take_prefix(word, "x") && take_number(word, shape.height) &&
         take_prefix(word, "x") && take_number(word, shape.width);
}

bool take_bits(std::string_view& word, std::uint8_t& bits) {
  std::int32_t value = 0;
  if (!take_number(word, value) || value > 255) return false;
  bits = static_cast<std::uint8_t>(value);
  return true;
}

bool activation_named(std::string_view name, Activation& activation) {
  for (int a = 1; a < kActivations; ++a)
    if (to_string(static_cast<Activation>(a)) == name) {
      activation = static_cast<Activation>(a);
      return true;
    }
  return false;
}

bool read_flag(std::string_view word, Kernel& k) {
  if (word == "bias") return k.anchor.bias = true;
  if (word == "bn") return k.batch_norm = true;
  if (word == "add") return k.add = true;
  if (take_prefix(word, "f:")) return activation_named(word, k.anchor.activation);
  return activation_named(word, k.activation);
}

bool read_letter(std::string_view word, Kernel& k) {
  const char letter = word.empty() ? ' ' : word.front();
  word.remove_prefix(word.empty() ? 0 : 1);
  Layer& l = k.anchor;
  switch (letter) {
    case 'k':
      return (take_prefix(word, "v") ? take_shape(word, l.side) : take_number(word, l.kernel)) &&
             word.empty();
    case 's':
      return take_number(word, l.stride) && word.empty();
    case 'p':
      return take_number(word, l.padding) && word.empty();
    case 'g':
      return take_number(word, l.groups) && word.empty();
    case 'm':
      return take_number(word, l.hidden) && word.empty();
    case 'n':
      return take_number(word, l.heads) && word.empty();
    case 'w':
      return take_bits(word, l.weight_bits) && take_prefix(word, "a") && take_bits(word, l.activation_bits) &&
             word.empty();
    case 'i':
      return take_bits(word, k.input_bits[0]) &&
             (!take_prefix(word, ",") || take_bits(word, k.input_bits[1])) && word.empty();
    default:
      return false;
  }
}

bool read_word(std::string_view word, Kernel& k) {
  if (word.find("->") != std::string_view::npos)
    return take_shape(word, k.anchor.in) && take_prefix(word, "->") && take_shape(word, k.anchor.out) &&
           word.empty();
  return read_flag(word, k) || read_letter(word, k);
}

bool empty(const Shape& s) { return s.channels < 1 || s.height < 1 || s.width < 1; }

std::uint8_t output_bits(const Network& network, std::int32_t layer) {
  return layer < 0 ? std::uint8_t{0} : network.layers[static_cast<std::size_t>(layer)].activation_bits;
}

Kernel start_kernel(const Network& network, const Fusion& fusion, std::size_t i) {
  Kernel k;
  k.anchor = network.layers[i];
  const std::int32_t second = fusion.residual[i] >= 0 ? fusion.residual[i] : k.anchor.inputs[1];
  k.input_bits = {output_bits(network, k.anchor.inputs[0]), output_bits(network, second)};
  k.layers.push_back(static_cast<std::int32_t>(i));
  return k;
}

void append(const Layer& l, std::size_t i, Kernel& k) {
  k.layers.push_back(static_cast<std::int32_t>(i));
  if (l.kind == LayerKind::batch_norm) k.batch_norm = true;
  if (l.kind == LayerKind::add) k.add = true;
  if (l.kind == LayerKind::activation) k.activation = l.activation;
}

}  // namespace

std::string signature(const Kernel& k) {
  const Layer& l = k.anchor;
  const bool conv = l.kind == LayerKind::conv;
  const bool window = conv || l.kind == LayerKind::max_pool || l.kind == LayerKind::avg_pool;
  std::string s(to_string(l.kind));
  if (window || l.kernel != 1) s += " k" + std::to_string(l.kernel);
  if (window || l.stride != 1) s += " s" + std::to_string(l.stride);
  if (window || l.padding != 0) s += " p" + std::to_string(l.padding);
  if (conv || l.groups != 1) s += " g" + std::to_string(l.groups);
  if (l.hidden != 0) s += " m" + std::to_string(l.hidden);
  if (l.heads != 0) s += " n" + std::to_string(l.heads);
  s += " " + text(l.in) + "->" + text(l.out);
  // The second operand of an add has the shape of the first.
  if (l.side.channels != 0 && l.kind != LayerKind::add) s += " kv" + text(l.side);
  if (l.activation != Activation::none) s += " f:" + std::string(to_string(l.activation));
  if (l.bias) s += " bias";
  if (k.batch_norm) s += " bn";
  if (k.add) s += " add";
  if (k.activation != Activation::none) s += " " + std::string(to_string(k.activation));
  return s + bits_text(k);
}

Result<Kernel> parse_signature(const std::string& text) {
  const auto bad = [&](const std::string& why) {
    return usage_error("kernel signature: " + why + ", found \"" + text.substr(0, 200) + "\"");
  };
  if (text.size() > 1000) return bad("longer than 1000 characters");
  std::istringstream words(text);
  std::string word;
  words >> word;
  Kernel k;
  int kind = 0;
  while (kind < kKinds && to_string(static_cast<LayerKind>(kind)) != word) ++kind;
  if (kind == kKinds) return bad("must start with a kind of layer such as \"conv\"");
  k.anchor.kind = static_cast<LayerKind>(kind);
  while (words >> word)
    if (!read_word(word, k)) return bad("unknown word \"" + word + "\"");
  if (empty(k.anchor.in) || empty(k.anchor.out)) return bad("needs shapes such as 3x96x96->16x48x48");
  if (k.anchor.kernel < 1 || k.anchor.stride < 1 || k.anchor.groups < 1)
    return bad("kernel, stride and groups must be positive");
  // Only the canonical spelling is a key: order, spacing and defaults as signature() writes them.
  if (signature(k) != text) return bad("must be written as \"" + signature(k) + "\"");
  return k;
}

Result<Network> network_of(const Kernel& kernel) {
  if (kernel.add) return usage_error("a fused residual cannot stand alone: " + signature(kernel));
  Network network;
  Layer input;
  input.out = kernel.anchor.in;
  input.activation_bits = kernel.input_bits[0];
  Layer anchor = kernel.anchor;
  anchor.inputs = {0, anchor.kind == LayerKind::add ? 0 : -1};
  anchor.side = anchor.kind == LayerKind::add ? anchor.in : Shape{};
  anchor.bias = anchor.bias || kernel.batch_norm;
  if (anchor.kind == LayerKind::linear && anchor.in.height * anchor.in.width > 1)
    anchor.kind = LayerKind::conv;
  network.layers = {input, anchor};
  if (kernel.activation != Activation::none) {
    Layer activation;
    activation.kind = LayerKind::activation;
    activation.activation = kernel.activation;
    activation.activation_bits = anchor.activation_bits;
    activation.inputs = {1, -1};
    activation.in = activation.out = anchor.out;
    network.layers.push_back(activation);
  }
  NAS_CHECK(validate(network));
  return network;
}

std::vector<Kernel> kernels(const Network& network, const FusionRules& rules) {
  Fusion fusion;
  fuse(network, rules, fusion);
  std::vector<Kernel> result;
  std::vector<std::size_t> place(network.layers.size(), 0);
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    if (l.kind == LayerKind::input || l.kind == LayerKind::zero) continue;
    const auto anchor = static_cast<std::size_t>(fusion.anchor[i]);
    if (anchor == i) {
      place[i] = result.size();
      result.push_back(start_kernel(network, fusion, i));
    } else {
      append(l, i, result[place[anchor]]);
    }
  }
  return result;
}

}  // namespace nas
