#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/search_space.h"
#include "supernet/batch.h"
#include "supernet/trained_network.h"

namespace nas::supernet {

struct SupernetOptions {
  std::uint64_t seed = 1;      // of the initial weights
  std::string device = "cpu";  // "cpu", or "cuda" where LibTorch has it
};

// The shared weights of every network of a search space: per place in the space the largest that any network
// needs; a network uses prefixes of them (kernels: the centre, transformed). Layers of low rank are held
// whole; a network with factors of them gets the nearest ones of its rank. No state besides the weights:
// which sub-network runs is an argument of every call, so any number of threads may read one supernet.
class Supernet {
 public:
  static Result<Supernet> make(const SearchSpace& space, const SupernetOptions& options = {});
  // A supernet of one network only, with that network's weights: for fine-tuning and evaluating it.
  static Result<Supernet> of(const TrainedNetwork& trained, const std::string& device = "cpu");
  // A supernet of one network only, freshly initialised: for training it from scratch.
  static Result<Supernet> of(const Network& network, double batch_norm_epsilon,
                             const SupernetOptions& options = {});
  Supernet(Supernet&&) noexcept;
  Supernet& operator=(Supernet&&) noexcept;
  ~Supernet();

  std::size_t parameter_count() const;
  // Fails when the network needs weights that are not here.
  Result<void> holds(const Network& network) const;
  // Logits [images, classes] with the batch's own batch-norm statistics. pixels: images x H x W x C of the
  // network's input, channels last.
  Result<std::vector<float>> forward(std::span<const float> pixels, const Network& network) const;

  // Every parameter, by name, as values; and back. Names and shapes must be those of this supernet.
  std::vector<NamedTensor> parameters() const;
  Result<void> set_parameters(std::span<const NamedTensor> values);

  struct Impl;
  Impl& impl() { return *impl_; }
  const Impl& impl() const { return *impl_; }

 private:
  explicit Supernet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The networks that fix the supernet's sizes: the smallest and the largest, each with every choice of every
// gene in turn, and random ones; layers of low rank are whole.
std::vector<Network> size_giving_networks(const SearchSpace& space);

}  // namespace nas::supernet
