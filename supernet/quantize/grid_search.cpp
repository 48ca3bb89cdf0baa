#include "supernet/quantize/grid_search.h"

#include <tbb/parallel_for.h>

#include <cmath>

namespace nas::supernet {
namespace {

using Values = std::vector<float>;

bool keeps_grid(const DeployedOp& op) {
  return op.kind == DeployedKind::average_pool || op.kind == DeployedKind::max_pool;
}
bool is_gate(const DeployedOp& op) {
  return op.activation == Activation::hard_sigmoid || op.activation == Activation::sigmoid;
}

void hand_on(const Deployment& deployment, Grids& grids) {
  for (std::size_t i = 0; i < deployment.ops.size(); ++i)
    if (keeps_grid(deployment.ops[i]))
      grids.tensors[i + 1] = grids.tensors[static_cast<std::size_t>(deployment.ops[i].inputs[0])];
}

bool alike(const Quantization& a, const Quantization& b) {
  return a.zero == b.zero && std::fabs(a.scale / b.scale - 1) < 0.01;
}

class Search {
 public:
  Search(const FloatExecutor& rounded, std::span<const Values> images, std::span<const Values> exact,
         Grids& grids)
      : deployment_(rounded.network().deployment),
        simulation_(rounded, grids),
        images_(images),
        exact_(exact),
        grids_(grids),
        last_use_(last_uses(deployment_)),
        tensors_(images.size(), std::vector<Values>(deployment_.ops.size() + 1)) {
    for (std::size_t n = 0; n < images.size(); ++n) tensors_[n][0].assign(images[n].begin(), images[n].end());
    best_ = error_from(0);
  }

  // Tries the methods' grids at one place, place_of(grids); what follows operation `from` is computed anew.
  template <class PlaceOf>
  Calibration choose(PlaceOf place_of, const std::vector<Grids>& choices, std::size_t from,
                     Calibration method) {
    std::optional<Quantization>& place = place_of(grids_);
    Quantization kept = *place;
    std::vector<Quantization> tried{kept};
    for (std::size_t m = 0; m < choices.size(); ++m) {
      const Quantization grid = *place_of(choices[m]);
      bool known = false;
      for (const Quantization& t : tried) known = known || alike(t, grid);
      if (known) continue;
      tried.push_back(grid);
      place = grid;
      hand_on(deployment_, grids_);
      if (const double error = error_from(from); error < best_) {
        best_ = error;
        kept = grid;
        method = static_cast<Calibration>(m);
      }
    }
    place = kept;
    hand_on(deployment_, grids_);
    return method;
  }

  // Keeps the results of one operation for all that come after, drops what none of them reads.
  void settle(std::size_t op) {
    tbb::parallel_for(std::size_t{0}, images_.size(), [&](std::size_t n) {
      std::vector<Values>& t = tensors_[n];
      step(op, t, t, t[op + 1]);
      for (std::size_t k = 0; k <= op; ++k)
        if (last_use_[k] <= op) Values().swap(t[k]);
    });
  }
  void settle_input() {
    for (std::size_t n = 0; n < images_.size(); ++n) tensors_[n][0] = simulation_.input(images_[n]);
  }

 private:
  // From operation `first` on; the error over all images.
  double error_from(std::size_t first) const {
    std::vector<Values> out(images_.size());
    tbb::parallel_for(std::size_t{0}, images_.size(), [&](std::size_t n) {
      std::vector<Values> later(deployment_.ops.size() + 1);
      if (first == 0) later[0] = simulation_.input(images_[n]);
      for (std::size_t i = first; i < deployment_.ops.size(); ++i) step(i, tensors_[n], later, later[i + 1]);
      out[n] = std::move(later.back());
    });
    return relative_error(exact_, out);
  }

  void step(std::size_t i, const std::vector<Values>& settled, const std::vector<Values>& later,
            Values& out) const {
    static const Values kNothing;
    const auto tensor = [&](std::int32_t t) -> const Values& {
      if (t < 0) return kNothing;
      const auto k = static_cast<std::size_t>(t);
      return later[k].empty() ? settled[k] : later[k];
    };
    const DeployedOp& op = deployment_.ops[i];
    simulation_.step(i, tensor(op.inputs[0]), tensor(op.inputs[1]), out);
  }

  const Deployment& deployment_;
  Simulation simulation_;
  std::span<const Values> images_, exact_;
  Grids& grids_;
  std::vector<std::size_t> last_use_;
  std::vector<std::vector<Values>> tensors_;  // per image
  double best_ = 0;
};

}  // namespace

bool tensor_has_choice(const Deployment& deployment, std::size_t tensor) {
  if (tensor == 0) return true;
  const DeployedOp& op = deployment.ops[tensor - 1];
  return !keeps_grid(op) && !is_gate(op);
}

bool before_has_choice(const Deployment& deployment, std::size_t op) {
  return deployment.ops[op].kind != DeployedKind::activation && needs_table(deployment.ops[op].activation);
}

Grids grids_by(const Deployment& deployment, const Observation& seen, Calibration how) {
  Grids grids;
  for (std::size_t t = 0; t < seen.tensors.size(); ++t) {
    const std::int32_t bits = t == 0 ? 8 : deployment.ops[t - 1].activation_bits;
    grids.tensors.emplace_back(tensor_has_choice(deployment, t)
                                   ? grid_of(choose_range(seen.tensors[t], how, bits), bits)
                                   : grid_of({0, 1}, bits));
  }
  hand_on(deployment, grids);
  for (std::size_t i = 0; i < seen.before.size(); ++i)
    grids.before.push_back(before_has_choice(deployment, i) ? grid_of(choose_range(seen.before[i], how))
                                                            : grids.tensors[i + 1]);
  return grids;
}

GridChoice search_grids(const FloatExecutor& rounded, const std::vector<Grids>& choices,
                        std::span<const Values> images, std::span<const Values> exact, Calibration start) {
  const Deployment& deployment = rounded.network().deployment;
  GridChoice c{choices[static_cast<std::size_t>(start)], {}};
  c.methods = {std::vector<Calibration>(c.grids.tensors.size(), start),
               std::vector<Calibration>(c.grids.before.size(), start)};
  Search search(rounded, images, exact, c.grids);
  const auto tensor = [](std::size_t t) {
    return [t](auto& grids) -> auto& { return grids.tensors[t]; };
  };
  const auto before = [](std::size_t i) {
    return [i](auto& grids) -> auto& { return grids.before[i]; };
  };
  c.methods.tensors[0] = search.choose(tensor(0), choices, 0, start);
  search.settle_input();
  for (std::size_t i = 0; i < deployment.ops.size(); ++i) {
    if (before_has_choice(deployment, i)) c.methods.before[i] = search.choose(before(i), choices, i, start);
    if (tensor_has_choice(deployment, i + 1))
      c.methods.tensors[i + 1] = search.choose(tensor(i + 1), choices, i, start);
    if (!before_has_choice(deployment, i)) c.grids.before[i] = c.grids.tensors[i + 1];
    search.settle(i);
  }
  return c;
}

}  // namespace nas::supernet
