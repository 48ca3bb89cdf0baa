#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/verify/forms.h"

namespace nas::apps {

struct VerifyOptions {
  std::string folder;
  std::string board;               // count its operations, instead
  std::string session;             // beside the counts: what this session's table says
  std::string run;                 // training run: every form's accuracy on its test images
  std::int64_t test_images = 500;  // at most so many; 0: all
};

// Checks the sums of an exported folder and runs its test images through every form that has a runtime here:
// a record a form with "state" equal, differs or not run. Writes parity.json into the folder. Fails when a
// file was changed.
Result<std::vector<nlohmann::ordered_json>> verify_folder(const VerifyOptions& options,
                                                          const TorchForms& torch, const std::string& cache);

// Every operation's instructions on an emulated board, in order, with its share.
Result<std::vector<nlohmann::ordered_json>> count_operations(const std::string& folder,
                                                             const std::string& board,
                                                             const std::string& cache);

// $HWNAS_CACHE, else ~/.cache/hwnas.
std::string cache_folder();

// In hwnas-torch.
TorchForms torch_forms();

}  // namespace nas::apps
