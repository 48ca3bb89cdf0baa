#pragma once
#include <memory>
#include <span>
#include <vector>

#include "supernet/detail/weights.h"

namespace nas::supernet {

// The weights that networks inherit from a table: the shared ones as they lie, and for a network of low rank
// whose layers the table holds whole a table of its own, where a layer's two factors are the nearest product
// of that rank to what the layer inherits (plain SVD). The shared table is read only; tables that differ from
// it in nothing but the factors hold views of it. The same for any number of threads.
class Inherited {
 public:
  // The table holds every network; both outlive this.
  Inherited(const WeightTable& shared, std::span<const Network> networks);
  const WeightTable& of(std::size_t network) const { return own_[network] ? *own_[network] : shared_; }

 private:
  const WeightTable& shared_;
  std::vector<std::unique_ptr<WeightTable>> own_;  // null: the shared one
};

// The network as the table stores it: its layers whole where the table has no weights for their factors.
Network as_stored(const WeightTable& table, const Network& network);

}  // namespace nas::supernet
