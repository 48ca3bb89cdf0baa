#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "space/network.h"
#include "supernet/parts.h"

namespace nas::supernet {

// A second interpreter of a Network, written apart from the one under test: LibTorch's own operators,
// contiguous NCHW tensors, gradients by autograd. The oracle of the tests and the naive variant of the
// benchmark.
struct ReferenceNetwork {
  // The tensor of a layer's part, in the layer's own shape.
  using Weights = std::function<at::Tensor(std::size_t layer, const char* part)>;
  const Network& network;
  Weights weight;
  double epsilon = 1e-5;
  bool own_statistics = false;  // use parts "mean" and "variance" instead of the batch's

  at::Tensor forward(const at::Tensor& images) const {
    std::vector<at::Tensor> values{images};
    for (std::size_t i = 1; i < network.layers.size(); ++i) {
      const Layer& l = network.layers[i];
      const at::Tensor second =
          l.inputs[1] >= 0 ? values[static_cast<std::size_t>(l.inputs[1])] : at::Tensor();
      values.push_back(layer(i, values[static_cast<std::size_t>(l.inputs[0])], second));
    }
    return values.back().flatten(1);
  }

 private:
  static at::Tensor activate(const at::Tensor& x, Activation a) {
    switch (a) {
      case Activation::relu:
        return x.relu();
      case Activation::relu6:
        return at::clamp(x, 0, 6);
      case Activation::hard_swish:
        return x * at::clamp(x + 3, 0, 6) / 6;
      case Activation::swish:
        return x * x.sigmoid();
      case Activation::hard_sigmoid:
        return at::clamp(x + 3, 0, 6) / 6;
      case Activation::sigmoid:
        return x.sigmoid();
      case Activation::gelu:
        return 0.5 * x * (1 + at::erf(x / std::sqrt(2.0)));
      case Activation::none:
        break;
    }
    return x;
  }

  at::Tensor bias(std::size_t i, const char* part) const {
    return network.layers[i].bias ? weight(i, part) : at::Tensor();
  }

  // Tokens are [N, D, T, 1] here; linear layers want the channels last.
  static at::Tensor last(const at::Tensor& x) { return x.permute({0, 2, 3, 1}); }
  static at::Tensor first(const at::Tensor& x) { return x.permute({0, 3, 1, 2}); }

  at::Tensor attention(std::size_t i, const at::Tensor& x, const at::Tensor& source) const {
    const Layer& l = network.layers[i];
    const auto project = [&](const at::Tensor& from, const char* w, const char* b) {
      const at::Tensor y = at::linear(last(from).squeeze(2), weight(i, w), bias(i, b));
      return y.reshape({y.size(0), y.size(1), l.heads, -1}).permute({0, 2, 1, 3});
    };
    const at::Tensor q = project(x, "query_weight", "query_bias");
    const at::Tensor k = project(source, "key_weight", "key_bias");
    const at::Tensor v = project(source, "value_weight", "value_bias");
    const at::Tensor scores = at::matmul(q, k.transpose(-1, -2)) / std::sqrt(static_cast<double>(q.size(3)));
    const at::Tensor mixed = at::matmul(scores.softmax(-1), v).permute({0, 2, 1, 3}).flatten(2);
    return first(at::linear(mixed, weight(i, "project_weight"), bias(i, "project_bias")).unsqueeze(2));
  }

  at::Tensor layer(std::size_t i, const at::Tensor& x, const at::Tensor& second) const {
    const Layer& l = network.layers[i];
    switch (l.kind) {
      case LayerKind::conv:
        return at::conv2d(x, weight(i, "weight"), bias(i, "bias"), l.stride, l.padding, 1, l.groups);
      case LayerKind::batch_norm:
        return own_statistics ? at::batch_norm(x, weight(i, "scale"), weight(i, "shift"), weight(i, "mean"),
                                               weight(i, "variance"), false, 0, epsilon, false)
                              : at::batch_norm(x, weight(i, "scale"), weight(i, "shift"), {}, {}, true, 0,
                                               epsilon, false);
      case LayerKind::activation:
        return activate(x, l.activation);
      case LayerKind::squeeze_excite: {
        at::Tensor s = x.mean(at::IntArrayRef{2, 3});
        s = at::linear(s, weight(i, "reduce_weight"), weight(i, "reduce_bias")).relu();
        s = activate(at::linear(s, weight(i, "expand_weight"), weight(i, "expand_bias")), l.activation);
        return x * s.unsqueeze(2).unsqueeze(3);
      }
      case LayerKind::max_pool:
        return at::max_pool2d(x, l.kernel, l.stride, l.padding);
      case LayerKind::avg_pool:
        return at::avg_pool2d(x, l.kernel, l.stride, l.padding,
                              (l.in.height + 2 * l.padding - l.kernel) / l.stride + 1 != l.out.height, false);
      case LayerKind::global_pool:
        return x.mean(at::IntArrayRef{2, 3}, true);
      case LayerKind::linear:
        return first(at::linear(last(x), weight(i, "weight"), bias(i, "bias")));
      case LayerKind::add:
        return x + second;
      case LayerKind::concat:
        return at::cat({x, second}, l.out.channels == l.in.channels ? 2 : 1);
      case LayerKind::zero:
        return at::zeros({x.size(0), l.out.channels, l.out.height, l.out.width}, x.options());
      case LayerKind::patch_embed:
        return at::conv2d(x, weight(i, "weight"), bias(i, "bias"), l.stride, l.padding)
            .flatten(2)
            .unsqueeze(3);
      case LayerKind::positional: {
        at::Tensor tokens = x;
        if (l.out.height > l.in.height)
          tokens =
              at::cat({weight(i, "class_token").reshape({1, -1, 1, 1}).expand({x.size(0), -1, 1, 1}), x}, 2);
        return tokens + weight(i, "table").t().unsqueeze(0).unsqueeze(3);
      }
      case LayerKind::layer_norm:
        return first(at::layer_norm(last(x), {x.size(1)}, weight(i, "scale"), weight(i, "shift")));
      case LayerKind::attention:
        return attention(i, x, second.defined() ? second : x);
      default:
        return x;
    }
  }
};

// The parameters of a supernet as autograd leaves, and how a sub-network cuts its own weights out of them.
// Written from the definition of the slices, not from the code under test.
struct ReferenceSupernet {
  std::map<std::string, at::Tensor> leaves;
  bool kernel_transform = false;

  at::Tensor cut(const Network& network, std::size_t index, const std::string& part) const {
    const Layer& l = network.layers[index];
    const std::string base = layer_name(l) + ".";
    at::Tensor t = leaves.at(base + part);
    if (l.kind == LayerKind::conv && part == "weight") {
      const auto centre = [](const at::Tensor& w, std::int64_t k) {
        const std::int64_t a = (w.size(2) - k) / 2;
        return w.slice(2, a, a + k).slice(3, a, a + k);
      };
      t = t.slice(0, 0, l.out.channels).slice(1, 0, l.in.channels / l.groups);
      for (const char* step : {"transform", "transform_second"}) {
        const auto matrix = leaves.find(base + step);
        if (!kernel_transform || matrix == leaves.end() || t.size(2) <= l.kernel) continue;
        const auto k =
            static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(matrix->second.size(0)))));
        t = at::linear(centre(t, k).flatten(1), matrix->second).reshape({t.size(0), 1, k, k});
      }
      return centre(t, l.kernel);
    }
    for (const PartShape& p : parts_of(l))
      if (to_string(p.part) == part)
        for (std::size_t d = 0; d < p.shape.size(); ++d)
          t = t.slice(static_cast<std::int64_t>(d), 0, p.shape[d]);
    return t;
  }
};

}  // namespace nas::supernet
