#include "space/fusion.h"

namespace nas {
namespace {

// Epilogue phases in the only order in which they can be appended.
enum Phase : std::uint8_t { kBare, kNormed, kAdded, kActivated, kClosed };

std::uint8_t first_phase(LayerKind kind) {
  switch (kind) {
    case LayerKind::conv:
    case LayerKind::linear:
    case LayerKind::patch_embed:
      return kBare;
    case LayerKind::add:
      return kAdded;
    default:
      return kClosed;
  }
}

void count_readers(const Network& network, std::vector<std::int32_t>& readers) {
  readers.assign(network.layers.size(), 0);
  for (const Layer& l : network.layers)
    for (const std::int32_t from : l.inputs)
      if (from >= 0) ++readers[static_cast<std::size_t>(from)];
}

// Fuses `layer` into the kernel that produces its input `from`, if that kernel can take `phase`.
bool take(Fusion& f, std::size_t layer, std::int32_t from, std::uint8_t phase) {
  const auto source = static_cast<std::size_t>(from);
  const auto into = static_cast<std::size_t>(f.anchor[source]);
  if (f.readers[source] != 1 || f.phase[into] >= phase) return false;
  f.phase[into] = phase;
  f.anchor[layer] = f.anchor[source];
  return true;
}

bool take_add(Fusion& f, std::size_t index, const Layer& l) {
  const std::int32_t a = l.inputs[0], b = l.inputs[1];
  if (a < 0 || b < 0 || a == b) return false;
  const std::int32_t first = f.anchor[static_cast<std::size_t>(a)],
                     second = f.anchor[static_cast<std::size_t>(b)];
  if (first == second) return false;
  const std::int32_t later = first > second ? a : b, other = first > second ? b : a;
  const auto into = static_cast<std::size_t>(first > second ? first : second);
  if (f.residual[into] >= 0 || !take(f, index, later, kAdded)) return false;
  f.residual[into] = other;
  return true;
}

}  // namespace

void fuse(const Network& network, const FusionRules& rules, Fusion& fusion) {
  const std::size_t n = network.layers.size();
  count_readers(network, fusion.readers);
  fusion.anchor.resize(n);
  fusion.residual.assign(n, -1);
  fusion.phase.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    const Layer& l = network.layers[i];
    fusion.anchor[i] = static_cast<std::int32_t>(i);
    fusion.phase[i] = kClosed;
    if (l.kind == LayerKind::batch_norm) {
      if (rules.batch_norm && take(fusion, i, l.inputs[0], kNormed)) continue;
    } else if (l.kind == LayerKind::activation) {
      if (rules.activation && take(fusion, i, l.inputs[0], kActivated)) continue;
    } else if (l.kind == LayerKind::add) {
      if (rules.add && take_add(fusion, i, l)) continue;
    }
    fusion.phase[i] = first_phase(l.kind);
  }
}

}  // namespace nas
