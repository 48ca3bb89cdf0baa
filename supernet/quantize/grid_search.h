#pragma once
#include <span>
#include <vector>

#include "supernet/quantize/observation.h"
#include "supernet/quantize/simulation.h"

namespace nas::supernet {

// The method that gave each grid.
struct GridMethods {
  std::vector<Calibration> tensors, before;  // indices as in Grids
};

// A method's grids for a whole network. Pools keep their input's grid, gates have that of [0, 1].
Grids grids_by(const Deployment& deployment, const Observation& seen, Calibration how);

// Is there a choice for a tensor, or for an operation's result before its activation?
bool tensor_has_choice(const Deployment& deployment, std::size_t tensor);
bool before_has_choice(const Deployment& deployment, std::size_t op);

// Goes through the places of the network in order of execution, gives each the grid of every method in turn
// while all others keep theirs, and stays with the one whose network output is nearest to `exact`, the float
// network's outputs for the images (relative_error). `rounded` has the integer weights' real values;
// `choices`: the grids of every method before `automatic`, in their order; it starts from those of `start`.
struct GridChoice {
  Grids grids;
  GridMethods methods;
};
GridChoice search_grids(const FloatExecutor& rounded, const std::vector<Grids>& choices,
                        std::span<const std::vector<float>> images, std::span<const std::vector<float>> exact,
                        Calibration start);

}  // namespace nas::supernet
