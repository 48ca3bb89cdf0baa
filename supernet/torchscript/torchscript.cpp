#include "supernet/torchscript/torchscript.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <torch/script.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace nas::supernet {
namespace {

std::string attribute_name(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

std::string pair_of(std::int32_t n) { return "[" + std::to_string(n) + ", " + std::to_string(n) + "]"; }

// Layer after layer as lines of TorchScript: v3 is the output of layer 3, [N, C, H, W].
class Source {
 public:
  explicit Source(const TrainedNetwork& trained) : trained_(trained) {}

  Result<std::string> forward() {
    text_ = "def forward(self, image: Tensor) -> Tensor:\n";
    line("v0", "image");
    for (std::size_t i = 1; i < trained_.network.layers.size(); ++i) NAS_CHECK(append(i));
    const Layer& last = trained_.network.layers.back();
    const std::string result = "v" + std::to_string(trained_.network.layers.size() - 1);
    text_ += "    return " +
             (last.out.height * last.out.width == 1 ? "torch.flatten(" + result + ", 1)" : result) + "\n";
    return text_;
  }

 private:
  void line(const std::string& name, const std::string& expression) {
    text_ += "    " + name + " = " + expression + "\n";
  }
  std::string part(std::size_t layer, const char* name) const {
    return trained_.find(layer, name) == nullptr
               ? "None"
               : "self." + attribute_name(layer_name(trained_.network.layers[layer]) + "." + name);
  }

  static std::string activated(Activation activation, const std::string& x) {
    switch (activation) {
      case Activation::relu:
        return "torch.relu(" + x + ")";
      case Activation::relu6:
        return "torch.clamp(" + x + ", 0.0, 6.0)";
      case Activation::hard_swish:
        return "torch.hardswish(" + x + ")";
      case Activation::swish:
        return "torch.silu(" + x + ")";
      case Activation::hard_sigmoid:
        return "torch.hardsigmoid(" + x + ")";
      case Activation::sigmoid:
        return "torch.sigmoid(" + x + ")";
      case Activation::gelu:
        return "torch.gelu(" + x + ")";
      case Activation::none:
        break;
    }
    return x;
  }

  std::string convolution(std::size_t i, const std::string& x) const {
    const Layer& l = trained_.network.layers[i];
    return "torch.conv2d(" + x + ", " + part(i, "weight") + ", " + part(i, "bias") + ", " +
           pair_of(l.stride) + ", " + pair_of(l.padding) + ", [1, 1], " + std::to_string(l.groups) + ")";
  }

  void squeeze_excite(std::size_t i, const std::string& x, const std::string& y) {
    const auto linear = [&](const std::string& of, const char* weight, const char* bias) {
      return "torch.linear(" + of + ", " + part(i, weight) + ", " + part(i, bias) + ")";
    };
    line(y + "a",
         "torch.relu(" + linear("torch.mean(" + x + ", [2, 3])", "reduce_weight", "reduce_bias") + ")");
    line(y + "b",
         activated(trained_.network.layers[i].activation, linear(y + "a", "expand_weight", "expand_bias")));
    line(y, x + " * torch.unsqueeze(torch.unsqueeze(" + y + "b, 2), 3)");
  }

  void positional(std::size_t i, const std::string& x, const std::string& y) {
    const Layer& l = trained_.network.layers[i];
    line(y + "t", "torch.unsqueeze(torch.unsqueeze(torch.t(" + part(i, "table") + "), 0), 3)");
    if (l.out.height == l.in.height) return line(y, x + " + " + y + "t");
    const std::string d = std::to_string(l.out.channels);
    line(y + "c", "torch.expand_copy(torch.reshape(" + part(i, "class_token") + ", [1, " + d + ", 1, 1]), [" +
                      x + ".size(0), " + d + ", 1, 1])");
    line(y, "torch.cat([" + y + "c, " + x + "], 2) + " + y + "t");
  }

  void attention(std::size_t i, const std::string& x, const std::string& source, const std::string& y) {
    const Layer& l = trained_.network.layers[i];
    const std::string heads = std::to_string(l.heads), wide = std::to_string(l.hidden / l.heads);
    const auto project = [&](const std::string& name, const std::string& from, const char* weight,
                             const char* bias) {
      line(y + name, "torch.linear(torch.transpose(torch.squeeze(" + from + ", 3), 1, 2), " +
                         part(i, weight) + ", " + part(i, bias) + ")");
      line(y + name, "torch.transpose(torch.reshape(" + y + name + ", [" + x + ".size(0), -1, " + heads +
                         ", " + wide + "]), 1, 2)");
    };
    project("q", x, "query_weight", "query_bias");
    project("k", source, "key_weight", "key_bias");
    project("v", source, "value_weight", "value_bias");
    line(y + "s", "torch.softmax(torch.matmul(" + y + "q, torch.transpose(" + y + "k, 2, 3)) / " +
                      std::to_string(l.hidden / l.heads) + " ** 0.5, -1)");
    line(y + "m", "torch.reshape(torch.transpose(torch.matmul(" + y + "s, " + y + "v), 1, 2), [" + x +
                      ".size(0), -1, " + std::to_string(l.hidden) + "])");
    line(y, "torch.unsqueeze(torch.transpose(torch.linear(" + y + "m, " + part(i, "project_weight") + ", " +
                part(i, "project_bias") + "), 1, 2), 3)");
  }

  std::string pooled(const Layer& l, const std::string& x) const {
    const std::string window =
        x + ", " + pair_of(l.kernel) + ", " + pair_of(l.stride) + ", " + pair_of(l.padding);
    if (l.kind == LayerKind::max_pool) return "torch.max_pool2d(" + window + ")";
    const bool ceil = (l.in.height + 2 * l.padding - l.kernel) / l.stride + 1 != l.out.height;
    return "torch.avg_pool2d(" + window + ", " + (ceil ? "True" : "False") + ", False)";
  }

  // Applied to the channels of every position.
  static std::string channels_last(const std::string& head, const std::string& x, const std::string& tail) {
    return "torch.permute(" + head + "torch.permute(" + x + ", [0, 2, 3, 1])" + tail + ", [0, 3, 1, 2])";
  }

  Result<void> append(std::size_t i) {
    const Layer& l = trained_.network.layers[i];
    const std::string y = "v" + std::to_string(i), x = "v" + std::to_string(l.inputs[0]),
                      second = "v" + std::to_string(l.inputs[1]);
    char epsilon[32];
    std::snprintf(epsilon, sizeof epsilon, "%.9e", trained_.batch_norm_epsilon);
    switch (l.kind) {
      case LayerKind::input:
      case LayerKind::embedding:
        return usage_error("TorchScript: " + layer_name(l) + ": " + std::string(to_string(l.kind)) +
                           " layers have no such form; use safetensors");
      case LayerKind::conv:
        line(y, convolution(i, x));
        break;
      case LayerKind::batch_norm:
        line(y, "torch.batch_norm(" + x + ", " + part(i, "scale") + ", " + part(i, "shift") + ", " +
                    part(i, "mean") + ", " + part(i, "variance") + ", False, 0.1, " + epsilon + ", False)");
        break;
      case LayerKind::activation:
        line(y, activated(l.activation, x));
        break;
      case LayerKind::squeeze_excite:
        squeeze_excite(i, x, y);
        break;
      case LayerKind::max_pool:
      case LayerKind::avg_pool:
        line(y, pooled(l, x));
        break;
      case LayerKind::global_pool:
        line(y, "torch.mean(" + x + ", [2, 3], True)");
        break;
      case LayerKind::linear:
        line(y, channels_last("torch.linear(", x, ", " + part(i, "weight") + ", " + part(i, "bias") + ")"));
        break;
      case LayerKind::add:
        line(y, x + " + " + second);
        break;
      case LayerKind::concat:
        line(y,
             "torch.cat([" + x + ", " + second + "], " + (l.out.channels == l.in.channels ? "2" : "1") + ")");
        break;
      case LayerKind::zero:
        line(y, "torch.zeros([" + x + ".size(0), " + std::to_string(l.out.channels) + ", " +
                    std::to_string(l.out.height) + ", " + std::to_string(l.out.width) + "])");
        break;
      case LayerKind::patch_embed:
        line(y, "torch.unsqueeze(torch.flatten(" + convolution(i, x) + ", 2), 3)");
        break;
      case LayerKind::positional:
        positional(i, x, y);
        break;
      case LayerKind::layer_norm:
        line(y, channels_last("torch.layer_norm(", x,
                              ", [" + std::to_string(l.out.channels) + "], " + part(i, "scale") + ", " +
                                  part(i, "shift") + ", 1e-5)"));
        break;
      case LayerKind::attention:
        attention(i, x, l.inputs[1] >= 0 ? second : x, y);
        break;
    }
    return {};
  }

  const TrainedNetwork& trained_;
  std::string text_;
};

std::string first_line(const std::exception& e) {
  const std::string what = e.what();
  return what.substr(0, what.find('\n'));
}

torch::jit::Module module_of(const TrainedNetwork& trained, const TorchScriptFacts& facts,
                             const std::string& source) {
  torch::jit::Module module("__torch__.hwnas.Network");
  for (const NamedTensor& t : trained.tensors)
    module.register_parameter(attribute_name(t.name),
                              at::from_blob(const_cast<float*>(t.values.data()), t.shape, at::kFloat).clone(),
                              false);
  module.register_attribute("training", c10::BoolType::get(), false);
  module.register_attribute("genotype", c10::StringType::get(), trained.provenance.genotype);
  module.register_attribute("space", c10::StringType::get(), trained.provenance.space);
  c10::List<std::string> labels;
  for (const std::string& label : facts.labels) labels.push_back(label);
  module.register_attribute("labels", c10::ListType::create(c10::StringType::get()), labels);
  const auto numbers = [](const std::array<double, 3>& from) {
    c10::List<double> list;
    for (const double v : from) list.push_back(v);
    return list;
  };
  module.register_attribute("mean", c10::ListType::create(c10::FloatType::get()), numbers(facts.mean));
  module.register_attribute("deviation", c10::ListType::create(c10::FloatType::get()),
                            numbers(facts.deviation));
  module.define(source);
  module.eval();
  return module;
}

}  // namespace

Result<std::string> write_torchscript(const TrainedNetwork& trained, const TorchScriptFacts& facts) {
  NAS_CHECK(check(trained));
  NAS_TRY(source, Source(trained).forward());
  try {
    const std::vector<std::string> kept{"genotype", "space", "labels", "mean", "deviation"};
    const torch::jit::Module frozen = torch::jit::freeze(module_of(trained, facts, source), kept);
    std::ostringstream bytes;
    frozen.save(bytes);
    return bytes.str();
  } catch (const std::exception& e) {
    return Error{"TorchScript: " + first_line(e)};
  }
}

Result<TorchScriptRun> run_torchscript(const std::string& bytes, const Shape& input,
                                       std::span<const float> images, const std::string& where) {
  try {
    std::istringstream stream(bytes);
    torch::jit::Module module = torch::jit::load(stream);
    const std::int64_t count = static_cast<std::int64_t>(images.size()) / input.elements();
    const at::Tensor x = at::from_blob(const_cast<float*>(images.data()),
                                       {count, input.channels, input.height, input.width}, at::kFloat);
    const c10::InferenceMode guard;
    const at::Tensor logits = module.forward({x.clone()}).toTensor().contiguous();
    TorchScriptRun run;
    run.logits.assign(logits.data_ptr<float>(), logits.data_ptr<float>() + logits.numel());
    run.genotype = module.attr("genotype").toStringRef();
    return run;
  } catch (const std::exception& e) {
    return Error{"TorchScript: " + first_line(e), where};
  }
}

}  // namespace nas::supernet
