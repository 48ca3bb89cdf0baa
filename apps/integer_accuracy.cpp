#include "apps/integer_accuracy.h"

#include <tbb/parallel_for.h>

#include <algorithm>

#include "apps/integer_runner.h"
#include "supernet/evaluate.h"

namespace nas::apps {

using namespace supernet;

Result<double> integer_accuracy(const QuantizedNetwork& network, const LabelledImages& images) {
  NAS_TRY(runner, IntegerRunner::make(network));
  std::vector<std::uint8_t> right(images.images.size(), 0);
  tbb::parallel_for(std::size_t{0}, right.size(), [&](std::size_t i) {
    const std::vector<float> logits = runner.run(images.images[i]);
    right[i] = std::ranges::max_element(logits) - logits.begin() == images.labels[i] ? 1 : 0;
  });
  return static_cast<double>(std::ranges::count(right, std::uint8_t{1})) /
         static_cast<double>(std::max<std::size_t>(right.size(), 1));
}

Result<double> integer_accuracy(const TrainedRun& run, const Network& network, std::int64_t images) {
  constexpr std::int64_t kCalibrationImages = 32;
  const Feeds& feeds = run.job.feeds;
  NAS_TRY(trained, extract(run.loaded.supernet, network, feeds.recalibration(), run.loaded.provenance));
  NAS_TRY(folded, fold(trained));
  const int side = network.layers.front().out.height;
  const LabelledImages calibration = images_of(feeds.recalibration(), side, kCalibrationImages);
  NAS_TRY(quantized, quantize(folded, calibration.images, {.calibration = Calibration::mse}));
  return integer_accuracy(quantized, images_of(feeds.mixed(data::Split::validation), side, images));
}

}  // namespace nas::apps
