#include "supernet/torch_engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#if HWNAS_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#endif

#include <cstring>

#include "supernet/runtime.h"

namespace nas::supernet {
namespace {

// OHWI (conv), HWC (depthwise) and O x HWC (fully connected) to LibTorch's OIHW in channels-last memory.
at::Tensor weight_of(const DeployedOp& op, const FoldedWeights& weights) {
  const at::Tensor flat = at::from_blob(const_cast<float*>(weights.values.data()),
                                        {static_cast<std::int64_t>(weights.values.size())}, at::kFloat);
  const std::int64_t o = op.out.channels, k = op.kernel;
  switch (op.kind) {
    case DeployedKind::conv:
      return flat.view({o, k, k, op.in.channels}).permute({0, 3, 1, 2}).clone();
    case DeployedKind::depthwise:
      return flat.view({k, k, o}).permute({2, 0, 1}).unsqueeze(1).clone(at::MemoryFormat::ChannelsLast);
    default:
      return flat.view({o, op.in.elements()}).clone();
  }
}

at::Tensor activated(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return at::relu(x);
    case Activation::relu6:
      return at::clamp(x, 0, 6);
    case Activation::hard_swish:
      return at::hardswish(x);
    case Activation::swish:
      return at::silu(x);
    case Activation::hard_sigmoid:
      return at::hardsigmoid(x);
    case Activation::sigmoid:
      return at::sigmoid(x);
    case Activation::gelu:
      return at::gelu(x);
  }
  return x;
}

}  // namespace

struct TorchEngine::Impl {
  Deployment deployment;
  std::vector<at::Tensor> weights, biases;
  at::Tensor input, result;
#if HWNAS_CUDA
  std::unique_ptr<at::cuda::CUDAGraph> graph;
#endif

  at::Tensor compute(std::size_t i, const std::vector<at::Tensor>& values) const {
    const DeployedOp& op = deployment.ops[i];
    const at::Tensor& x = values[static_cast<std::size_t>(op.inputs[0])];
    const std::int64_t window = op.kernel, height = op.kernel == 0 ? op.in.height : window,
                       width = op.kernel == 0 ? op.in.width : window;
    switch (op.kind) {
      case DeployedKind::conv:
      case DeployedKind::depthwise:
        return at::conv2d(x, weights[i], biases[i], op.stride, op.padding, 1,
                          op.kind == DeployedKind::depthwise ? op.in.channels : 1);
      case DeployedKind::fully_connected:
        return at::linear(x.permute({0, 2, 3, 1}).reshape({1, -1}), weights[i], biases[i])
            .view({1, op.out.channels, 1, 1});
      case DeployedKind::add:
        return at::add(x, values[static_cast<std::size_t>(op.inputs[1])]);
      case DeployedKind::scale_channels:
        return at::mul(x, values[static_cast<std::size_t>(op.inputs[1])]);
      case DeployedKind::average_pool:
        if (op.kernel == 0) return at::adaptive_avg_pool2d(x, {1, 1});
        return at::avg_pool2d(x, {height, width}, op.stride, op.padding, ceils(op), false);
      case DeployedKind::max_pool:
        return at::max_pool2d(x, {height, width}, op.kernel == 0 ? std::int64_t{1} : std::int64_t{op.stride},
                              op.padding, 1, ceils(op));
      case DeployedKind::activation:
        break;
    }
    return x;
  }

  static bool ceils(const DeployedOp& op) {
    return op.kernel > 0 && op.out.height > (op.in.height + 2 * op.padding - op.kernel) / op.stride + 1;
  }

  void forward() {
    const c10::InferenceMode no_gradients;
    std::vector<at::Tensor> values{input};
    for (std::size_t i = 0; i < deployment.ops.size(); ++i)
      values.push_back(activated(compute(i, values), deployment.ops[i].activation));
    result = values.back();
  }

#if HWNAS_CUDA
  // Warm-up on a stream of its own, as capturing asks for, then the capture.
  void capture() {
    const auto stream = at::cuda::getStreamFromPool();
    const c10::cuda::CUDAStreamGuard guard(stream);
    for (int i = 0; i < 3; ++i) forward();
    stream.synchronize();
    graph = std::make_unique<at::cuda::CUDAGraph>();
    graph->capture_begin();
    forward();
    graph->capture_end();
  }
#endif
};

TorchEngine::TorchEngine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TorchEngine::TorchEngine(TorchEngine&&) noexcept = default;
TorchEngine::~TorchEngine() = default;

Result<TorchEngine> TorchEngine::make(const FoldedNetwork& network, const std::string& device) {
  const bool cuda = device == "cuda";
  if (cuda && (HWNAS_CUDA == 0 || !at::hasCUDA()))
    return Error{HWNAS_CUDA == 0
                     ? "this build's LibTorch has no CUDA: build hwnas against a LibTorch that has "
                       "(CMAKE_PREFIX_PATH)"
                     : "no CUDA device answers on this machine (nvidia-smi shows what there is)",
                 "", ErrorKind::device};
  try {
    const c10::InferenceMode no_gradients;
    const at::Device where(cuda ? at::kCUDA : at::kCPU);
    auto impl = std::make_unique<Impl>();
    impl->deployment = network.deployment;
    for (std::size_t i = 0; i < network.deployment.ops.size(); ++i) {
      const FoldedWeights& w = network.weights[i];
      const bool has = !w.values.empty();
      impl->weights.push_back(has ? weight_of(network.deployment.ops[i], w).to(where) : at::Tensor());
      impl->biases.push_back(has ? at::from_blob(const_cast<float*>(w.bias.data()),
                                                 {static_cast<std::int64_t>(w.bias.size())}, at::kFloat)
                                       .clone()
                                       .to(where)
                                 : at::Tensor());
    }
    const Shape in = network.deployment.input;
    impl->input = at::linspace(-1, 1, in.elements(), at::kFloat)
                      .view({1, in.height, in.width, in.channels})
                      .permute({0, 3, 1, 2})
                      .to(where);
#if HWNAS_CUDA
    if (cuda) impl->capture();
#endif
    return TorchEngine(std::move(impl));
  } catch (const std::exception& e) {
    return Error{std::string("LibTorch: ") + e.what(), device, ErrorKind::device};
  }
}

void TorchEngine::run() {
#if HWNAS_CUDA
  if (impl_->graph) return impl_->graph->replay();
#endif
  impl_->forward();
}

std::vector<float> TorchEngine::output_of(std::span<const float> input) {
  const c10::InferenceMode no_gradients;
  const Shape in = impl_->deployment.input;
  impl_->input.copy_(at::from_blob(const_cast<float*>(input.data()), {1, in.height, in.width, in.channels})
                         .permute({0, 3, 1, 2}));
  run();
  const at::Tensor flat = impl_->result.cpu().permute({0, 2, 3, 1}).reshape({-1}).contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

void set_engine_threads(int threads) {
  at::set_num_threads(threads);
  set_blas_threads(threads);
}

#if HWNAS_CUDA
namespace {

// Time between two events in a row is summed, so that its resolution does not fade as the session ages.
std::uint64_t event_clock() {
  static std::unique_ptr<at::cuda::CUDAEvent> last;
  static double nanoseconds = 0;
  auto now = std::make_unique<at::cuda::CUDAEvent>(cudaEventDefault);
  now->record(at::cuda::getCurrentCUDAStream());
  now->synchronize();
  if (last) nanoseconds += 1e6 * static_cast<double>(last->elapsed_time(*now));
  last = std::move(now);
  return static_cast<std::uint64_t>(nanoseconds);
}

}  // namespace

std::uint64_t (*cuda_clock())() { return event_clock; }
#else
std::uint64_t (*cuda_clock())() { return nullptr; }
#endif

std::string torch_version() { return std::string("LibTorch ") + TORCH_VERSION; }

}  // namespace nas::supernet
