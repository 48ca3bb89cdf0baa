#include "apps/export/subject.h"
#include "apps/verify.h"
#include "space/base/file.h"
#include "supernet/evaluate.h"
#include "supernet/runtime.h"
#include "supernet/torchscript/torchscript.h"

namespace nas::apps {
namespace {

using namespace nas::supernet;

constexpr std::size_t kAtOnce = 200;

// Logits of all images, some at once.
template <class Run>
Result<std::vector<float>> in_batches(const FormImages& images, const Shape& input, const Run& run) {
  prepare_runtime();
  std::vector<float> all;
  const auto size = static_cast<std::size_t>(input.elements());
  for (std::size_t from = 0; from < images.count; from += kAtOnce) {
    NAS_TRY(some, run(from, std::min(images.count, from + kAtOnce), size));
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

Result<std::vector<float>> libtorch(const ExportedFolder& folder, const FormImages& images) {
  NAS_TRY(trained, load_trained(folder.path / "model.safetensors"));
  return in_batches(images, folder.input, [&](std::size_t from, std::size_t to, std::size_t) {
    std::vector<float> pixels;
    for (std::size_t i = from; i < to; ++i) {
      const auto rows = rows_of(images, folder.input, i);
      pixels.insert(pixels.end(), rows.begin(), rows.end());
    }
    return logits(trained, pixels);
  });
}

Result<std::vector<float>> torchscript(const ExportedFolder& folder, const FormImages& images) {
  const auto file = folder.path / "model.ts.pt";
  NAS_TRY(bytes, read_file(file));
  return in_batches(
      images, folder.input,
      [&](std::size_t from, std::size_t to, std::size_t size) -> Result<std::vector<float>> {
        NAS_TRY(ran, run_torchscript(bytes, folder.input,
                                     std::span(images.planes).subspan(from * size, (to - from) * size),
                                     file.string()));
        return ran.logits;
      });
}

Result<FormImages> test_images(const std::string& run, const ExportedFolder& folder, std::int64_t limit) {
  NAS_TRY(source, ExportSource::open(run));
  const auto known = folder.manifest.value("provenance", nlohmann::ordered_json::object());
  if (known.value("data_fingerprint", std::string()) != source.job().feeds.fingerprint())
    return usage_error("the images of this run are not those the export was measured on", run);
  const auto test = images_of(source.job().feeds.scoring(data::Split::test), folder.input.height, limit);
  FormImages images;
  images.count = test.images.size();
  images.labels = test.labels;
  for (const Image& image : test.images) {
    const auto planes = planes_of(image, folder.input);
    images.planes.insert(images.planes.end(), planes.begin(), planes.end());
  }
  return images;
}

}  // namespace

TorchForms torch_forms() { return {libtorch, torchscript, test_images}; }

}  // namespace nas::apps
