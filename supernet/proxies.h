#pragma once
#include "supernet/supernet.h"

namespace nas::supernet {

// What can be said of a network without training it: scores at random initial weights, higher is better. They
// rank networks roughly; docs/supernet.md says how roughly.
struct Proxies {
  double gradient_norm = 0;  // of the loss, over all weights (Abdelfattah et al., ICLR 2021)
  double log_synflow = 0;  // log of sum |w * dR/dw|, all weights positive, no batch norm (Tanaka et al. 2020)
  double naswot = 0;  // log det of the kernel of activation patterns on the batch (Mellor et al., ICML 2021)
  double zen = 0;     // log expected change of the features under small noise, with batch norm's scales
                      // put back (Lin et al., ICCV 2021)
};

// Fails when the batch has another resolution than the network, or a score is not finite.
Result<Proxies> zero_cost_proxies(const Network& network, double batch_norm_epsilon, const Batch& batch,
                                  std::uint64_t seed);

}  // namespace nas::supernet
