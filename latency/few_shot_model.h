#pragma once
#include <span>
#include <vector>

#include "space/learn/matrix.h"

namespace nas::latency {

// Standard deviations of a prior over a new device, in log time.
struct FewShotPrior {
  double sources;  // of the share of a known device's deviation from the leading one
  double table;    // of what only the additive table explains
  double noise;    // of one measurement
};

// What a new device is expected to be like before anything of it is known: the mean of the known ones, or the
// slower of two of them (as a device that is bound now by one resource, now by another): the soft maximum of
// both log times, the second one's shifted.
struct Lead {
  std::size_t first = 0, second = 0;  // equal: the mean of all
  double shift = 0;
};

// Known devices and the additive table of some architectures: rows of few_shot().
struct KnownDevices {
  learn::Matrix table;                    // centred columns
  std::vector<std::vector<double>> logs;  // by device: centred log times
  double size = 0;                        // mean squared length of the table's rows

  KnownDevices rows(std::span<const std::size_t> some) const;
  KnownDevices without(std::size_t device) const;
};
KnownDevices known_devices(const learn::Matrix& table, const std::vector<std::vector<double>>& times);

// log t(x) = phi(x) . w + noise with w ~ N(mean, diagonal): a constant, the lead, each known device's
// deviation from it, and the table's entries.
struct FewShotBasis {
  learn::Matrix phi;
  std::vector<double> mean, variance;
};
FewShotBasis few_shot_basis(const KnownDevices& known, const FewShotPrior& prior, const Lead& lead);

// The prior given measurements `log_times` of the rows of `measured`.
struct FewShotPosterior {
  std::vector<double> mean;                  // of w
  std::vector<std::vector<double>> vectors;  // the covariance is the prior's less one outer product each
  double surprise = 0;                       // sum of squared one-step-ahead errors over their variance
  double log_spread = 0;                     // sum of the logarithms of those variances

  // The prior's scale is not known either: an inverse gamma of a few measurements around 1, so that measured
  // values follow a Student distribution: its log density up to a constant, and the scale.
  double log_evidence() const;
  double scale() const;
};
FewShotPosterior condition_few_shot(const FewShotBasis& measured, const FewShotPrior& prior,
                                    std::span<const double> log_times);

// Mean and standard deviation (noise included) of the log time of row `i`.
std::pair<double, double> predict_few_shot(const FewShotBasis& basis, const FewShotPosterior& posterior,
                                           const FewShotPrior& prior, std::size_t i);

}  // namespace nas::latency
