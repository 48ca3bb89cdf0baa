#include "devices/codegen/layout.h"

namespace nas::devices::codegen {
namespace {

std::int64_t aligned(std::int64_t bytes) { return (bytes + 15) / 16 * 16; }

class Builder {
 public:
  Builder(const Deployment& deployment, const std::vector<std::int64_t>& scratch,
          const PatchGeometry& patches)
      : d_(deployment), scratch_(scratch), patches_(patches) {}

  Layout build() {
    const std::size_t stage = patches_.stage.operations;
    layout_.tensors.assign(d_.ops.size() + 1, -1);
    layout_.tensors[0] = add({.output = aligned(d_.input.elements())});
    layout_.tensors[stage] = add({.output = aligned(d_.ops[stage - 1].out.elements())});
    layout_.windows.push_back(
        add({.inputs = {layout_.tensors[0], -1}, .output = aligned(window_bytes(patches_, d_, 0))}));
    for (std::size_t i = 0; i < stage; ++i) patch_step(i);
    // The last window goes to its place: until then there is a picture to read.
    add({.inputs = {layout_.windows.back(), layout_.tensors[0]}});
    for (std::size_t i = stage; i < d_.ops.size(); ++i) whole_step(i);
    return std::move(layout_);
  }

 private:
  std::int32_t add(const MemoryStep& step) {
    layout_.program.steps.push_back(step);
    return static_cast<std::int32_t>(layout_.program.steps.size()) - 1;
  }

  void op_step(std::size_t i, const std::vector<std::int32_t>& made_by, std::int64_t bytes, bool in_place,
               std::vector<std::int32_t>& makes) {
    const DeployedOp& op = d_.ops[i];
    MemoryStep step;
    step.layer = op.layer;
    for (std::size_t k = 0; k < 2; ++k)
      if (op.inputs[k] >= 0) step.inputs[k] = made_by[static_cast<std::size_t>(op.inputs[k])];
    step.output = aligned(bytes);
    step.scratch = aligned(scratch_[i]);
    if (in_place) {
      step.shared[0] = step.output;
      step.lead[0] = kSameStart;
    }
    const std::int32_t at = add(step);
    layout_.ops.push_back(at);
    makes[i + 1] = at;
  }

  void patch_step(std::size_t i) {
    layout_.windows.push_back(-1);
    op_step(i, layout_.windows, window_bytes(patches_, d_, i + 1), patches_.ops[i].in_place, layout_.windows);
  }

  void whole_step(std::size_t i) {
    op_step(i, layout_.tensors, d_.ops[i].out.elements(), can_run_in_place(d_.ops[i]), layout_.tensors);
  }

  const Deployment& d_;
  const std::vector<std::int64_t>& scratch_;
  const PatchGeometry& patches_;
  Layout layout_;
};

}  // namespace

Layout layout_of(const Deployment& deployment, const std::vector<std::int64_t>& scratch,
                 const PatchGeometry* patches) {
  if (patches != nullptr) return Builder(deployment, scratch, *patches).build();
  Layout layout;
  layout.program = memory_program(deployment, scratch, 1, true);
  for (std::size_t t = 0; t <= deployment.ops.size(); ++t) {
    layout.tensors.push_back(static_cast<std::int32_t>(t));
    if (t > 0) layout.ops.push_back(static_cast<std::int32_t>(t));
  }
  return layout;
}

}  // namespace nas::devices::codegen
