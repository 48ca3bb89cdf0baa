#pragma once
#include <span>
#include <string>
#include <vector>

#include "space/learn/matrix.h"

namespace nas::latency {

// Standard deviations of a prior over a new device, in log time.
struct FewShotPrior {
  double sources;     // of the share of a known device's deviation from the leading one
  double table;       // of what only the additive table explains
  double noise;       // of one measurement
  double smooth = 0;  // share of what the additive table leaves of a known device that is taken for noise
};

// A device by name: a card, and the setting (batch size) at which it was measured; either may be empty.
struct DeviceName {
  std::string card, setting;
};

// What a new device is expected to be like before anything of it is known: the mean of some known ones, or
// the slower of two (as a device that is bound now by one resource, now by another): the soft maximum of both
// log times, the second one's shifted.
struct Lead {
  std::vector<std::size_t> devices;
  bool slower = false;
  double shift = 0;
};

// Known devices and the additive table of some architectures: rows of few_shot().
struct KnownDevices {
  learn::Matrix table;                     // centred columns
  std::vector<std::vector<double>> logs;   // by device: centred log times
  std::vector<std::vector<double>> rests;  // of them, what a robust fit of the table leaves
  std::vector<DeviceName> names;
  double size = 0;  // mean squared length of the table's rows

  KnownDevices rows(std::span<const std::size_t> some) const;
  // Without the device and what is of its card, as a new device is; without the device alone where fewer
  // than two others were left.
  KnownDevices without(std::size_t device) const;
};
KnownDevices known_devices(const learn::Matrix& table, const std::vector<std::vector<double>>& times,
                           std::vector<DeviceName> names);

// log t(x) = phi(x) . w + noise with w ~ N(mean, diagonal): a constant, the lead, each known device's
// deviation from it, and the table's entries.
struct FewShotBasis {
  learn::Matrix phi;
  std::vector<double> mean, variance;
};
FewShotBasis few_shot_basis(const KnownDevices& known, const FewShotPrior& prior, const Lead& lead);

// The prior given measurements `log_times` of the rows of `measured`; `doubt`: variance of each beside the
// prior's noise (a measurement that something disturbed).
struct FewShotPosterior {
  std::vector<double> mean;                  // of w
  std::vector<std::vector<double>> vectors;  // the covariance is the prior's less one outer product each
  double surprise = 0;                       // sum of squared one-step-ahead errors over their variance

  // The prior's scale is not known either: an inverse gamma of a few measurements around 1, so that measured
  // values follow a Student distribution with this scale.
  double scale() const;
};
FewShotPosterior condition_few_shot(const FewShotBasis& measured, const FewShotPrior& prior,
                                    std::span<const double> log_times, std::span<const double> doubt);

// Of each prior with this lead: the log density of the measurements, up to a constant, by their covariance
// alone.
std::vector<double> few_shot_evidence(const KnownDevices& measured, const Lead& lead,
                                      std::span<const FewShotPrior> priors, std::span<const double> log_times,
                                      std::span<const double> doubt);

// How much variance each measurement lacks to be within two deviations of what the others say.
std::vector<double> few_shot_doubt(const KnownDevices& measured, const Lead& lead, const FewShotPrior& prior,
                                   std::span<const double> log_times);

// Mean and standard deviation (noise included) of the log time of row `i`.
std::pair<double, double> predict_few_shot(const FewShotBasis& basis, const FewShotPosterior& posterior,
                                           const FewShotPrior& prior, std::size_t i);

}  // namespace nas::latency
