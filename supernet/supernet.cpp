#include "supernet/supernet.h"

#include <algorithm>

#include "space/low_rank.h"
#include "supernet/detail/execution.h"
#include "supernet/detail/inherited.h"
#include "supernet/detail/step.h"
#include "supernet/detail/supernet_impl.h"

namespace nas::supernet {
namespace {

Result<at::Device> device_of(const std::string& name) {
  if (name == "cpu") return at::Device(at::kCPU);
  if (name != "cuda") return usage_error("device must be cpu or cuda, found \"" + name + "\"");
  if (!at::hasCUDA()) return usage_error("this LibTorch has no CUDA device; use --device cpu");
  return at::Device(at::kCUDA, 0);
}

WeightTable table_of(const std::vector<Network>& networks, bool kernel_transform, double epsilon,
                     at::Device device) {
  WeightTable weights(kernel_transform, epsilon);
  for (const Network& n : networks) weights.add(n);
  weights.allocate(device);
  return weights;
}

}  // namespace

NamedTensor to_named(const std::string& name, const at::Tensor& value) {
  const at::Tensor host = value.cpu().contiguous();
  const float* p = host.data_ptr<float>();
  return {name, host.sizes().vec(), std::vector<float>(p, p + host.numel())};
}

at::Tensor from_named(const NamedTensor& named, at::Device device) {
  at::Tensor host = at::empty(named.shape, at::kFloat);
  std::copy(named.values.begin(), named.values.end(), host.data_ptr<float>());
  return host.to(device);
}

std::vector<Network> size_giving_networks(const SearchSpace& space) {
  const auto whole = [&space](const Genotype& g) { return joined(space.lower(g)).network; };
  std::vector<Network> networks;
  for (const Genotype& base : {space.largest(), space.smallest()}) {
    networks.push_back(whole(space.canonical(base)));
    for (std::size_t gene = 0; gene < space.genes().size(); ++gene)
      for (std::size_t c = 0; c < space.genes()[gene].choices.size(); ++c) {
        Genotype g = base;
        g[gene] = static_cast<std::uint8_t>(c);
        networks.push_back(whole(space.canonical(g)));
      }
  }
  Rng rng(0, "supernet sizes");
  for (int i = 0; i < 64; ++i) networks.push_back(whole(space.sample(rng)));
  return networks;
}

Supernet::Supernet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Supernet::Supernet(Supernet&&) noexcept = default;
Supernet& Supernet::operator=(Supernet&&) noexcept = default;
Supernet::~Supernet() = default;

Result<Supernet> Supernet::make(const SearchSpace& space, const SupernetOptions& options) {
  NAS_TRY(device, device_of(options.device));
  const SpaceTraits& traits = space.traits();
  auto weights = table_of(size_giving_networks(space), traits.kernel_transform, traits.bn_eps, device);
  weights.initialise(options.seed);
  return Supernet(std::make_unique<Impl>(Impl{std::move(weights)}));
}

Result<Supernet> Supernet::of(const Network& network, double batch_norm_epsilon,
                              const SupernetOptions& options) {
  NAS_TRY(device, device_of(options.device));
  auto weights = table_of({network}, false, batch_norm_epsilon, device);
  weights.initialise(options.seed);
  return Supernet(std::make_unique<Impl>(Impl{std::move(weights)}));
}

Result<Supernet> Supernet::of(const TrainedNetwork& trained, const std::string& device_name) {
  NAS_CHECK(check(trained));
  NAS_TRY(made, of(trained.network, trained.batch_norm_epsilon, {1, device_name}));
  std::vector<NamedTensor> values;
  for (const NamedTensor& t : trained.tensors)
    if (made.impl().weights.find(t.name) >= 0) values.push_back(t);
  NAS_CHECK(made.set_parameters(values));
  return made;
}

std::size_t Supernet::parameter_count() const {
  std::int64_t count = 0;
  for (const Parameter& p : impl_->weights.parameters()) count += p.value.numel();
  return static_cast<std::size_t>(count);
}

Result<void> Supernet::holds(const Network& network) const {
  return impl_->weights.holds(as_stored(impl_->weights, network));
}

Result<std::vector<float>> Supernet::forward(std::span<const float> pixels, const Network& network) const {
  NAS_CHECK(holds(network));
  const Shape in = network.layers.front().out;
  const auto image = static_cast<std::size_t>(in.elements());
  if (pixels.empty() || pixels.size() % image != 0)
    return usage_error("forward: needs whole images of " + std::to_string(image) + " numbers, found " +
                       std::to_string(pixels.size()));
  const TaskGuard guard;
  at::Tensor x = at::empty(
      {static_cast<std::int64_t>(pixels.size() / image), in.height, in.width, in.channels}, at::kFloat);
  std::copy(pixels.begin(), pixels.end(), x.data_ptr<float>());
  ExecutionOptions options;
  options.keep = false;
  const Inherited weights(impl_->weights, {&network, 1});
  Execution run(weights.of(0), network, options);
  return to_named("", run.forward(x.to(impl_->weights.parameters().front().value.device()))).values;
}

std::vector<NamedTensor> Supernet::parameters() const {
  std::vector<NamedTensor> all;
  for (const Parameter& p : impl_->weights.parameters()) all.push_back(to_named(p.name, p.value));
  return all;
}

Result<void> Supernet::set_parameters(std::span<const NamedTensor> values) {
  std::vector<Parameter>& parameters = impl_->weights.parameters();
  if (values.size() != parameters.size())
    return Error{"weights: " + std::to_string(parameters.size()) + " tensors required, found " +
                 std::to_string(values.size())};
  for (const NamedTensor& v : values) {
    const int at = impl_->weights.find(v.name);
    if (at < 0 || parameters[static_cast<std::size_t>(at)].shape != v.shape)
      return Error{"weights: tensor \"" + v.name + "\" is not one of this supernet, or has another shape"};
  }
  for (const NamedTensor& v : values) {
    at::Tensor& value = parameters[static_cast<std::size_t>(impl_->weights.find(v.name))].value;
    value.copy_(from_named(v, value.device()));
  }
  return {};
}

}  // namespace nas::supernet
