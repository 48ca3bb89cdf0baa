#include <memory>

#include "space/family.h"
#include "space/network_builder.h"

namespace nas {
namespace {

// HAT's elastic encoder-decoder transformer (Wang et al., ACL 2020; design space "space0"). The decoder's
// layers may attend to the last one, two or three encoder layers, joined along the tokens. One pass over
// `tokens` source and target positions.
struct Hat {
  std::int32_t vocabulary = 32768, tokens = 30, hidden = 512, encoder_layers = 6;
  std::vector<std::int32_t> widths, ffn, heads, depths;
  int encoder_width = -1, decoder_width = -1, decoder_depth = -1;
  std::vector<int> encoder_ffn, encoder_heads, decoder_ffn, self_heads, cross_heads, span;

  void lower(const Genotype& g, Network& network) const;
};

constexpr std::int16_t kEncoder = 1, kDecoder = 2;

std::int32_t feed_forward(NetworkBuilder& b, std::int32_t at, std::int16_t stage, std::int16_t block,
                          std::int32_t middle) {
  const auto site = [&](Role role) { return Site{stage, block, role}; };
  const std::int32_t up = b.activation(b.linear(at, site(Role::mlp_up), middle, true), Activation::relu);
  const std::int32_t down = b.linear(up, site(Role::mlp_down), b.shape(at).channels, true);
  return b.layer_norm(b.add(down, at, site(Role::join)), site(Role::norm3));
}

void Hat::lower(const Genotype& g, Network& network) const {
  const auto choice = [&](int gene) { return g[static_cast<std::size_t>(gene)]; };
  NetworkBuilder b(network);
  const std::int32_t ids = b.input({1, tokens, 1});
  std::int32_t at = b.embedding(ids, {kEncoder, 0, Role::embed}, vocabulary, widths[choice(encoder_width)]);
  std::vector<std::int32_t> memory;
  for (std::int32_t k = 0; k < encoder_layers; ++k) {
    const auto i = static_cast<std::size_t>(k);
    const auto block = static_cast<std::int16_t>(k + 1);
    const std::int32_t attended =
        b.attention(at, {kEncoder, block, Role::attention}, hidden, heads[choice(encoder_heads[i])]);
    at = b.layer_norm(b.add(attended, at, {kEncoder, block, Role::join}), {kEncoder, block, Role::norm1});
    at = feed_forward(b, at, kEncoder, block, ffn[choice(encoder_ffn[i])]);
    memory.push_back(at);
  }
  at = b.embedding(ids, {kDecoder, 0, Role::embed}, vocabulary, widths[choice(decoder_width)]);
  for (std::int32_t k = 0; k < depths[choice(decoder_depth)]; ++k) {
    const auto i = static_cast<std::size_t>(k);
    const auto block = static_cast<std::int16_t>(k + 1);
    const std::int32_t own =
        b.attention(at, {kDecoder, block, Role::attention}, hidden, heads[choice(self_heads[i])]);
    at = b.layer_norm(b.add(own, at, {kDecoder, block, Role::join}), {kDecoder, block, Role::norm1});
    std::int32_t keys = memory.back();
    for (std::size_t back = 1; back <= choice(span[i]) && back < memory.size(); ++back)
      keys = b.concat_tokens(keys, memory[memory.size() - 1 - back], {kDecoder, block, Role::concat});
    const std::int32_t cross = b.attention(at, {kDecoder, block, Role::cross_attention}, hidden,
                                           heads[choice(cross_heads[i])], keys);
    at = b.layer_norm(b.add(cross, at, {kDecoder, block, Role::join}), {kDecoder, block, Role::norm2});
    at = feed_forward(b, at, kDecoder, block, ffn[choice(decoder_ffn[i])]);
  }
  b.linear(at, {0, 0, Role::classifier}, vocabulary, false);
}

}  // namespace

FamilyParts read_hat(JsonReader& reader) {
  auto net = std::make_shared<Hat>();
  GeneList genes;
  const auto whole = [&](const char* key, double low, double high) {
    const std::vector<double> v = read_values(reader, key, low, high, true);
    return std::vector<std::int32_t>(v.begin(), v.end());
  };
  const auto add = [&](const std::string& name, const char* family, const std::vector<std::int32_t>& values) {
    return genes.add(name, family, number_choices({values.begin(), values.end()}));
  };
  net->vocabulary = static_cast<std::int32_t>(reader.integer("vocabulary", 2, 10'000'000, 32768));
  net->tokens = static_cast<std::int32_t>(reader.integer("tokens", 1, 65536, 30));
  net->hidden = static_cast<std::int32_t>(reader.integer("qkv_width", 1, 16384, 512));
  net->encoder_layers = static_cast<std::int32_t>(reader.integer("encoder_layers", 1, 64, 6));
  net->widths = whole("width", 1, 16384);
  net->ffn = whole("ffn", 1, 65536);
  net->heads = whole("heads", 1, 256);
  net->depths = whole("decoder_layers", 1, 64);
  for (const std::int32_t h : net->heads)
    if (net->hidden % h != 0)
      reader.fail("heads",
                  std::to_string(h) + " does not divide the attention width " + std::to_string(net->hidden));
  net->encoder_width = add("encoder.width", "w", net->widths);
  net->decoder_width = add("decoder.width", "w", net->widths);
  net->decoder_depth = add("decoder.depth", "d", net->depths);
  for (std::int32_t k = 0; k < net->encoder_layers; ++k) {
    const std::string prefix = "encoder.layer" + std::to_string(k + 1) + ".";
    net->encoder_ffn.push_back(add(prefix + "ffn", "f", net->ffn));
    net->encoder_heads.push_back(add(prefix + "heads", "h", net->heads));
  }
  for (std::int32_t k = 0; k < net->depths.back(); ++k) {
    std::uint8_t low = 0;
    while (net->depths[low] <= k) ++low;
    if (low > 0) genes.depend_on(net->decoder_depth, low);
    const std::string prefix = "decoder.layer" + std::to_string(k + 1) + ".";
    net->decoder_ffn.push_back(add(prefix + "ffn", "f", net->ffn));
    net->self_heads.push_back(add(prefix + "self_heads", "h", net->heads));
    net->cross_heads.push_back(add(prefix + "cross_heads", "x", net->heads));
    net->span.push_back(genes.add(prefix + "attended_layers", "t", number_choices({1, 2, 3})));
    genes.depend_on(-1);
  }
  return {genes.take(), [net](const Genotype& g, Network& n) { net->lower(g, n); }};
}

}  // namespace nas
