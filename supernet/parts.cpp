#include "supernet/parts.h"

namespace nas::supernet {

std::string_view to_string(Part part) {
  constexpr std::string_view kNames[] = {
      "weight",       "bias",          "scale",        "shift",        "reduce_weight",
      "reduce_bias",  "expand_weight", "expand_bias",  "query_weight", "query_bias",
      "key_weight",   "key_bias",      "value_weight", "value_bias",   "project_weight",
      "project_bias", "table",         "class_token",  "transform",    "transform_second"};
  return kNames[static_cast<std::size_t>(part)];
}

std::vector<PartShape> parts_of(const Layer& l) {
  const std::int64_t in = l.in.channels, out = l.out.channels, hidden = l.hidden;
  std::vector<PartShape> parts;
  switch (l.kind) {
    case LayerKind::conv:
      parts.push_back({Part::weight, {out, in / l.groups, l.kernel, l.kernel}});
      break;
    case LayerKind::patch_embed:
      parts.push_back({Part::weight, {out, in, l.kernel, l.kernel}});
      break;
    case LayerKind::linear:
      parts.push_back({Part::weight, {out, in}});
      break;
    case LayerKind::embedding:
      return {{Part::table, {hidden, out}}};
    case LayerKind::batch_norm:
    case LayerKind::layer_norm:
      return {{Part::scale, {out}}, {Part::shift, {out}}};
    case LayerKind::squeeze_excite:
      return {{Part::reduce_weight, {hidden, in}},
              {Part::reduce_bias, {hidden}},
              {Part::expand_weight, {in, hidden}},
              {Part::expand_bias, {in}}};
    case LayerKind::positional:
      parts.push_back({Part::table, {l.out.height, out}});
      if (l.out.height == l.in.height + 1) parts.push_back({Part::class_token, {out}});
      return parts;
    case LayerKind::attention: {
      const std::int64_t from = l.inputs[1] >= 0 ? l.side.channels : in;
      parts = {{Part::query_weight, {hidden, in}},
               {Part::key_weight, {hidden, from}},
               {Part::value_weight, {hidden, from}},
               {Part::project_weight, {out, hidden}}};
      if (l.bias)
        for (auto& p : std::vector<PartShape>{{Part::query_bias, {hidden}},
                                              {Part::key_bias, {hidden}},
                                              {Part::value_bias, {hidden}},
                                              {Part::project_bias, {out}}})
          parts.push_back(p);
      return parts;
    }
    default:
      return {};
  }
  if (l.bias) parts.push_back({Part::bias, {out}});
  return parts;
}

}  // namespace nas::supernet
