#include "apps/export/subject.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "apps/compress/compressed_folder.h"
#include "space/base/file.h"
#include "supernet/evaluate.h"

namespace nas::apps {

namespace fs = std::filesystem;
using namespace nas::supernet;

LabelledImages images_of(const BatchList& list, int resolution, std::int64_t limit) {
  LabelledImages out;
  if (list.batches == 0) return out;
  Batch batch;
  list.build(resolution, 0, batch);
  const std::size_t full = batch.size();
  list.build(resolution, list.batches - 1, batch);
  const std::size_t total = full * static_cast<std::size_t>(list.batches - 1) + batch.size();
  const std::size_t count = limit > 0 ? std::min(total, static_cast<std::size_t>(limit)) : total;
  std::size_t loaded = static_cast<std::size_t>(list.batches - 1);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t place = i * total / count, wanted = place / full;
    if (wanted != std::exchange(loaded, wanted))
      list.build(resolution, static_cast<std::int64_t>(wanted), batch);
    const std::size_t size = batch.pixels.size() / batch.size();
    const auto start = batch.pixels.begin() + static_cast<std::ptrdiff_t>(place % full * size);
    out.images.emplace_back(start, start + static_cast<std::ptrdiff_t>(size));
    out.labels.push_back(batch.labels[place % full]);
    out.places.push_back(place);
  }
  return out;
}

std::vector<std::int8_t> on_grid(const Image& image, const Quantization& grid) {
  std::vector<std::int8_t> q;
  q.reserve(image.size());
  for (const float v : image) q.push_back(to_grid(v, grid));
  return q;
}

Image planes_of(const Image& image, const Shape& s) {
  Image planes(image.size());
  const auto plane = static_cast<std::size_t>(s.height * s.width),
             channels = static_cast<std::size_t>(s.channels);
  for (std::size_t p = 0; p < plane; ++p)
    for (std::size_t c = 0; c < channels; ++c) planes[c * plane + p] = image[p * channels + c];
  return planes;
}

Result<ExportSource> ExportSource::open(const std::string& run, const std::string& space) {
  NAS_TRY(opened, open_trained_run(run));
  if (opened.loaded.provenance.steps == 0)
    return usage_error("these weights were never trained (0 steps)", opened.weights.string());
  NAS_CHECK(use_space(opened, space));
  return ExportSource(std::move(opened));
}

void ExportSource::add_vectors(Subject& s) const {
  const BatchList test = run_.job.feeds.scoring(data::Split::test);
  s.vectors = images_of(test, s.trained.network.layers.front().out.height, kExportVectors);
  const auto& indices = run_.job.feeds.splits()[data::Split::test];
  for (const std::size_t place : s.vectors.places)
    s.vector_names.push_back(run_.job.feeds.store().name(indices[place]));
}

// All that was decided and trained is in the folder: nothing is rounded anew.
Result<Subject> ExportSource::compressed_subject(const std::string& folder, const ExportOptions& o) const {
  if (o.stage.finetune > 0 || o.stage.qat > 0)
    return usage_error("is compressed already; --finetune and --qat belong to `hwnas compress`", folder);
  NAS_TRY(loaded, load_compressed(folder));
  if (loaded.trained.provenance.space_fingerprint != run_.loaded.provenance.space_fingerprint)
    return usage_error("was made of another space than the run " + run_.config.space, folder);
  Subject s;
  s.trained = std::move(loaded.trained);
  s.genotype = s.trained.provenance.genotype;
  s.quantized = std::move(loaded.integer);
  s.compression = std::move(loaded.record);
  add_vectors(s);
  NAS_TRY(folded, fold(s.trained));
  s.folded = std::move(folded);
  return s;
}

Result<Subject> ExportSource::subject(const std::string& network, const ExportOptions& o,
                                      bool integer) const {
  if (is_compressed(network)) return compressed_subject(network, o);
  NAS_TRY(genotype, genotype_named(run_.job.space, network));
  Subject s;
  s.genotype = run_.job.space.text(genotype);
  if (run_.weights.filename() == "network.safetensors") {
    NAS_TRY(only, genotype_named(run_.job.space, run_.loaded.provenance.genotype));
    if (only != genotype)
      return usage_error(
          "trained one network only, " + run_.loaded.provenance.genotype + "; found " + network,
          run_.config.out);
  }
  Provenance provenance = run_.loaded.provenance;
  provenance.genotype = s.genotype;
  provenance.note = "extracted, statistics recalibrated";
  NAS_TRY(trained, extract(run_.loaded.supernet, run_.job.space.lower(genotype),
                           run_.job.feeds.recalibration(), provenance));
  s.trained = std::move(trained);
  if (o.stage.finetune > 0) {
    NAS_TRY(tuned, finetuned(run_.config, s.trained, o.stage.finetune, o.progress));
    s.trained = std::move(tuned);
  }
  add_vectors(s);
  auto folded = fold(s.trained);
  if (!folded) {
    s.why_not_deployable = folded.error().message;
    if (o.stage.qat > 0) return usage_error("--qat: " + s.why_not_deployable);
    return s;
  }
  s.folded = std::move(*folded);
  if (!integer) return s;
  NAS_TRY(made, quantized(run_.config, run_.job, s.trained, o.stage, o.progress));
  s.folded = std::move(made.folded);
  s.quantized = std::move(made.network);
  if (o.stage.qat <= 0) return s;
  s.before = s.trained;
  s.trained = unfold(std::move(s.trained), *s.folded);
  s.trained.provenance.steps += made.steps;
  s.trained.provenance.note +=
      ", trained quantisation-aware " + std::to_string(made.steps) + " steps, the values of int8 weights";
  return s;
}

}  // namespace nas::apps
