#pragma once
#include "apps/verify/forms.h"

namespace nas::apps {

// Two forms on the same images.
struct Pair {
  std::string a, b;
  std::size_t images = 0;
  double top1_agreement = 0;     // share of images with the same answer
  double largest = 0, mean = 0;  // difference of a logit
  std::string first_apart;       // the first operation where their tensors differ, "" where none or unknown
};
Pair compare_forms(const ExportedFolder& folder, const FormRun& a, const FormRun& b);

// What the export stored for its images: float, int8, and int8 with TensorFlow Lite's rounding.
std::vector<FormRun> stored_references(const ExportedFolder& folder);

// "equal" or "differs" beside the reference of the form's kind, "not run" without logits.
std::string verdict(const ExportedFolder& folder, const FormRun& form,
                    const std::vector<FormRun>& references);

// Share of the images whose label is the form's answer; negative without labels.
double accuracy(const ExportedFolder& folder, const FormRun& form, const FormImages& images);

}  // namespace nas::apps
