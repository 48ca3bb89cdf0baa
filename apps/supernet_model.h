#pragma once
#include <filesystem>
#include <string>

#include "search/evaluator.h"
#include "search/gradient_search.h"

namespace nas::apps {

// A trained supernet as a search sees it.
struct SupernetRequest {
  std::filesystem::path run;         // folder of the training run
  std::string space;                 // that is searched (use_space()); empty: the run's
  std::filesystem::path accuracies;  // file of `hwnas sweep` to read from and append to; empty: none
  std::int64_t images = 0;           // of the validation split at most; 0: all
};
struct SupernetModel {
  SearchSpace space;
  // top1 (measured on the validation split, batch-norm statistics taken anew); its fidelity is the share of
  // the images. What was measured before, here or in the file, is not measured again; failures are retried
  // once.
  search::Evaluator top1;
  // Mean cross entropy of the most likely path on one batch, with the gradients of the path's gates.
  search::Relaxed loss;
  double chance = 0;  // top-1 of a network that guesses
};
// Defined in hwnas-torch; in hwnas it fails.
Result<SupernetModel> open_supernet_model(const SupernetRequest& request);

}  // namespace nas::apps
