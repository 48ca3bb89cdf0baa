#include "apps/integer_accuracy.h"

#include <tbb/parallel_for.h>

#include <algorithm>

#include "apps/export/subject.h"
#include "apps/integer_runner.h"
#include "supernet/evaluate.h"

namespace nas::apps {

using namespace supernet;

Result<double> integer_accuracy(const TrainedRun& run, const Network& network, std::int64_t images) {
  constexpr std::int64_t kCalibrationImages = 32;
  const Feeds& feeds = run.job.feeds;
  NAS_TRY(trained, extract(run.loaded.supernet, network, feeds.recalibration(), run.loaded.provenance));
  NAS_TRY(folded, fold(trained));
  const int side = network.layers.front().out.height;
  const LabelledImages calibration = images_of(feeds.recalibration(), side, kCalibrationImages);
  const LabelledImages seen = images_of(feeds.mixed(data::Split::validation), side, images);
  NAS_TRY(quantized, quantize(folded, calibration.images, {.calibration = Calibration::mse}));
  NAS_TRY(runner, IntegerRunner::make(quantized));
  std::vector<std::uint8_t> right(seen.images.size(), 0);
  tbb::parallel_for(std::size_t{0}, right.size(), [&](std::size_t i) {
    const std::vector<float> logits = runner.run(seen.images[i]);
    right[i] = std::ranges::max_element(logits) - logits.begin() == seen.labels[i] ? 1 : 0;
  });
  return static_cast<double>(std::ranges::count(right, std::uint8_t{1})) /
         static_cast<double>(std::max<std::size_t>(right.size(), 1));
}

}  // namespace nas::apps
