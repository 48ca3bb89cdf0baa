#include "apps/supernet_model.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "apps/accuracy_file.h"
#include "apps/trained_run.h"
#include "search/gene_forest.h"
#include "supernet/evaluate.h"
#include "supernet/path_gradients.h"

namespace nas::apps {
namespace {

using namespace nas::supernet;
namespace fs = std::filesystem;

struct Opened {
  TrainJob job;
  Supernet supernet;
  // Of the validation split: all of it in order, and spread so that the first batches stand for it.
  BatchList scoring, mixed;
};
using Shared = std::shared_ptr<const Opened>;

// The first part of a list of batches.
BatchList share_of(const BatchList& all, double share) {
  const auto count = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(all.batches)));
  return {std::clamp<std::int64_t>(count, 1, all.batches), all.build};
}

search::Evaluator accuracy_of(const Shared& opened) {
  search::Evaluator evaluator{
      {{"top1", "share", search::Source::measured}}, search::ThreadSafety::one_at_a_time, nullptr};
  evaluator.score = [opened](std::span<const Genotype> batch, double fidelity, search::Scores& scores) {
    std::vector<Network> networks;
    for (const Genotype& g : batch) networks.push_back(opened->job.space.lower(g));
    const auto found = evaluate(opened->supernet, networks, opened->job.feeds.recalibration(),
                                fidelity < 1 ? share_of(opened->mixed, fidelity) : opened->scoring);
    if (!found) throw std::runtime_error(found.error().message);
    for (std::size_t i = 0; i < batch.size(); ++i) scores.row(i)[0] = (*found)[i].top1;
  };
  return evaluator;
}

// What is measured on all images also goes to the file that other searches and the surrogate read.
search::Evaluator kept(search::Evaluator inner, const Shared& opened, fs::path file) {
  search::Evaluator outer{inner.metrics, inner.threads, nullptr};
  outer.score = [inner = std::move(inner), opened, file = std::move(file)](
                    std::span<const Genotype> batch, double fidelity, search::Scores& scores) {
    inner.score(batch, fidelity, scores);
    if (fidelity < 1) return;
    std::vector<std::string> networks;
    std::vector<double> top1;
    for (std::size_t i = 0; i < batch.size(); ++i)
      if (!scores.failed(i)) {
        networks.push_back(opened->job.space.text(batch[i]));
        top1.push_back(scores.row(i)[0]);
      }
    const auto written = append_accuracies(file, networks, top1);
    if (!written) throw std::runtime_error(to_string(written.error()));
  };
  return outer;
}

Result<std::shared_ptr<search::ScoreCache>> known_accuracies(const SearchSpace& space,
                                                             const AccuracyFile& header,
                                                             const fs::path& file) {
  auto cache = std::make_shared<search::ScoreCache>(1);
  if (file.empty()) return cache;
  NAS_TRY(held, open_accuracy_file(file, header));
  for (std::size_t i = 0; i < held.networks.size(); ++i) {
    NAS_TRY(genotype, space.parse(held.networks[i]));
    cache->insert(genotype, 1, {&held.top1[i], 1});
  }
  return cache;
}

// The loss of the path that a relaxed genotype makes most likely, and its derivative in every choice of the
// genes that act on the path: path gates where the gene changes one stretch of the network, and where it does
// not (the resolution) the loss of the path with each choice in its place.
class PathLoss {
 public:
  explicit PathLoss(Shared opened) : opened_(std::move(opened)), forest_(opened_->job.space) {
    const SearchSpace& space = opened_->job.space;
    const Genotype path = space.largest();
    const Batch batch = batch_for(space.lower(path), 0, 2);
    for (int gene = 0; gene < static_cast<int>(space.genes().size()); ++gene)
      gated_.push_back(path_gradients(opened_->supernet, space, path, {&gene, 1}, batch) ? 1 : 0);
  }

  double operator()(std::span<const double> p, std::span<double> gradient) const {
    const SearchSpace& space = opened_->job.space;
    Genotype path(forest_.size());
    for (std::size_t gene = 0; gene < forest_.size(); ++gene) {
      const auto weights = p.subspan(forest_.offset(gene), forest_.choices(gene));
      path[gene] = static_cast<std::uint8_t>(std::ranges::max_element(weights) - weights.begin());
    }
    forest_.canonicalise(path);
    std::ranges::fill(gradient, 0.0);
    // Every path has its own batch, so that the loss is a function of p alone.
    const auto index =
        static_cast<std::int64_t>(space.hash(path).low % static_cast<std::uint64_t>(opened_->mixed.batches));
    std::vector<int> genes;
    for (std::size_t gene = 0; gene < forest_.size(); ++gene) {
      if (!space.active(path, gene)) continue;
      if (gated_[gene])
        genes.push_back(static_cast<int>(gene));
      else
        by_forward(path, gene, index, gradient);
    }
    const Network network = space.lower(path);
    const Batch batch = batch_for(network, index, 0);
    const auto gates = path_gradients(opened_->supernet, space, path, genes, batch);
    if (!gates) throw std::runtime_error(to_string(gates.error()));
    for (const GateGradients& gate : *gates)
      std::ranges::copy(gate.of_choice, gradient.begin() + static_cast<std::ptrdiff_t>(forest_.offset(
                                                               static_cast<std::size_t>(gate.gene))));
    return loss_of(network, batch);
  }

 private:
  // Batch `index` of the validation split at the network's resolution; its first `most` images (0: all).
  Batch batch_for(const Network& network, std::int64_t index, std::size_t most) const {
    Batch batch;
    opened_->mixed.build(network.layers.front().out.height, index, batch);
    if (most > 0 && batch.size() > most) {
      batch.pixels.resize(batch.pixels.size() / batch.size() * most);
      batch.labels.resize(most);
    }
    return batch;
  }
  void by_forward(const Genotype& path, std::size_t gene, std::int64_t index, std::span<double> out) const {
    for (std::size_t c = 0; c < forest_.choices(gene); ++c) {
      Genotype other = path;
      other[gene] = static_cast<std::uint8_t>(c);
      forest_.canonicalise(other);
      const Network network = opened_->job.space.lower(other);
      out[forest_.offset(gene) + c] = loss_of(network, batch_for(network, index, 0));
    }
  }
  // Mean cross entropy.
  double loss_of(const Network& network, const Batch& batch) const {
    const auto logits = opened_->supernet.forward(batch.pixels, network);
    if (!logits) throw std::runtime_error(to_string(logits.error()));
    const std::size_t classes = logits->size() / batch.size();
    double sum = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto row = std::span(*logits).subspan(i * classes, classes);
      const double top = *std::ranges::max_element(row);
      double total = 0;
      for (const float x : row) total += std::exp(static_cast<double>(x) - top);
      sum += top + std::log(total) - static_cast<double>(row[static_cast<std::size_t>(batch.labels[i])]);
    }
    return sum / static_cast<double>(batch.size());
  }

  Shared opened_;
  search::GeneForest forest_;
  std::vector<std::uint8_t> gated_;
};

}  // namespace

Result<SupernetModel> open_supernet_model(const SupernetRequest& request) {
  NAS_TRY(run, open_trained_run(request.run));
  NAS_CHECK(use_space(run, request.space));
  TrainJob& job = run.job;
  const AccuracyFile header = accuracy_header(run);
  BatchList mixed = job.feeds.mixed(data::Split::validation);
  BatchList scoring = job.feeds.scoring(data::Split::validation);
  if (request.images > 0) {
    const auto images = job.feeds.splits()[data::Split::validation].size();
    scoring = mixed = share_of(mixed, static_cast<double>(request.images) / static_cast<double>(images));
  }
  const auto opened = std::make_shared<const Opened>(
      Opened{std::move(job), std::move(run.loaded.supernet), std::move(scoring), std::move(mixed)});
  NAS_TRY(cache, known_accuracies(opened->job.space, header, request.accuracies));
  search::Evaluator top1 = search::with_retry(accuracy_of(opened), 2);
  if (!request.accuracies.empty()) top1 = kept(std::move(top1), opened, request.accuracies);
  // Made when it is first asked: most searches need no gradients.
  search::Relaxed loss = [opened, made = std::make_shared<std::unique_ptr<PathLoss>>()](
                             std::span<const double> p, std::span<double> gradient) {
    if (!*made) *made = std::make_unique<PathLoss>(opened);
    return (**made)(p, gradient);
  };
  return SupernetModel{opened->job.space, search::cached(std::move(top1), cache), std::move(loss),
                       1.0 / static_cast<double>(opened->job.feeds.store().classes().size())};
}

}  // namespace nas::apps
