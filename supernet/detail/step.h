#pragma once
#include <c10/core/GradMode.h>

#include <functional>
#include <memory>
#include <vector>

#include "supernet/batch.h"
#include "supernet/detail/execution.h"
#include "supernet/recipe.h"

namespace nas::supernet {

// One sub-network of a training step.
struct PathJob {
  Network network;
  bool taught = false;  // by the teacher and with its hard weight; else by the labels alone
  double dropout = 0;
};

struct StepPlan {
  std::vector<PathJob> paths;  // with an in-place teacher, path 0 is the teacher
  Distillation distillation;
  const WeightTable* frozen = nullptr;  // the frozen teacher's weights, with its network
  Network frozen_network;
  double label_smoothing = 0;
  std::uint64_t key = 0;  // names the step's random masks
  int shards = 1;         // that this process computes
  // Of a batch shared out over several processes: images in all, and where this part's shards stand among
  // all.
  std::size_t batch_images = 0;  // 0: the batch is all there is
  int first_shard = 0;
  int all_shards = 0;
  bool bf16 = false;
  bool recompute = false;  // activations, see ExecutionOptions
  // Called from any thread when one pass has made all gradients of a layer.
  std::function<void(const Layer&)> layer_done;
};

struct PathReport {
  // Of all the batch's images; a process's part of it where the batch is shared out.
  double loss = 0;      // mean of what was minimised
  double accuracy = 0;  // share whose label came first
};

// The gradients of every (path, shard), in that order; summed by the optimiser in exactly that order, so the
// outcome does not depend on the number of threads. Gradients of paths are summed, not averaged.
struct StepGradients {
  std::vector<Gradients> parts;
  std::vector<PathReport> paths;
};

// Shards that a process computes of so many images: every one holds at least two, or batch norm could not
// tell them apart.
int shards_for(std::size_t images, int wanted);

// The sum over the parts, in their order, of one parameter's gradients, in the precision and shape of `sum`.
void sum_parts(const WeightTable& weights, const StepGradients& gradients, std::size_t parameter,
               at::Tensor& sum);

// Runs forward and backward of all paths as TBB tasks, each with one intra-op thread.
void run_step(const WeightTable& weights, const StepPlan& plan, const Batch& batch, StepGradients& out);

// Loss of every network on the batch by its labels, without gradients (for attentive sampling).
std::vector<double> forward_losses(const WeightTable& weights, const std::vector<Network>& networks,
                                   const Batch& batch, int shards);

// [images, resolution, resolution, 3] of part of a batch on the weights' device.
at::Tensor images_of(const WeightTable& weights, const Batch& batch, std::size_t from, std::size_t to);

// Makes LibTorch use one thread inside the calling task and record nothing for autograd.
class TaskGuard {
 public:
  TaskGuard();

 private:
  c10::NoGradGuard no_grad_;
};

}  // namespace nas::supernet
