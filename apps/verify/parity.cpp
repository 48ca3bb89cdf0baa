#include "apps/verify/parity.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "space/base/file.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

std::size_t answer(const FormRun& form, std::size_t image, std::size_t classes) {
  const auto begin = form.logits.begin() + static_cast<std::ptrdiff_t>(image * classes);
  return static_cast<std::size_t>(std::max_element(begin, begin + static_cast<std::ptrdiff_t>(classes)) -
                                  begin);
}

// How many values of a tensor differ, and by how much; floats count from 1e-5 of the largest on.
struct Apart {
  std::size_t values = 0, of = 0;
  double largest = 0;
};
Apart apart(const std::string& a, const std::string& b, bool integer) {
  Apart found;
  if (integer) {
    found.of = a.size();
    for (std::size_t i = 0; i < a.size(); ++i) {
      const int off = std::abs(static_cast<std::int8_t>(a[i]) - static_cast<std::int8_t>(b[i]));
      found.values += off != 0;
      found.largest = std::max<double>(found.largest, off);
    }
    return found;
  }
  std::vector<float> x(a.size() / sizeof(float)), y(x.size());
  std::memcpy(x.data(), a.data(), x.size() * sizeof(float));
  std::memcpy(y.data(), b.data(), y.size() * sizeof(float));
  double size = 0;
  for (const float v : x) size = std::max<double>(size, std::fabs(v));
  found.of = x.size();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double off = std::fabs(static_cast<double>(x[i]) - y[i]);
    found.values += off > 1e-5 * size;
    found.largest = std::max(found.largest, off);
  }
  return found;
}

std::string first_apart(const ExportedFolder& folder, const FormRun& a, const FormRun& b) {
  const bool integer = a.kind != FormKind::real;
  if (a.tensors.size() != b.tensors.size() || integer != (b.kind != FormKind::real)) return {};
  const Record operations = folder.manifest.value("operations", Record::array());
  for (std::size_t i = 0; i < std::min(a.tensors.size(), operations.size()); ++i) {
    if (a.tensors[i].empty() || b.tensors[i].empty()) continue;  // in patches: never there as a whole
    if (a.tensors[i].size() != b.tensors[i].size())
      return "operation " + std::to_string(i) + ": sizes differ";
    const Apart off = apart(a.tensors[i], b.tensors[i], integer);
    if (off.values == 0) continue;
    char words[96];
    std::snprintf(words, sizeof words, ": %zu of %zu values, %.3g at most", off.values, off.of, off.largest);
    return operations[i].value("operation", std::string()) + words;
  }
  return {};
}

}  // namespace

Pair compare_forms(const ExportedFolder& folder, const FormRun& a, const FormRun& b) {
  Pair p{a.name, b.name, 0, 0, 0, 0, {}};
  const std::size_t values = std::min(a.logits.size(), b.logits.size());
  p.images = values / folder.classes;
  std::size_t same = 0;
  for (std::size_t i = 0; i < p.images; ++i)
    same += answer(a, i, folder.classes) == answer(b, i, folder.classes);
  p.top1_agreement = static_cast<double>(same) / static_cast<double>(std::max<std::size_t>(1, p.images));
  for (std::size_t i = 0; i < values; ++i) {
    const double off = std::fabs(static_cast<double>(a.logits[i]) - b.logits[i]);
    p.largest = std::max(p.largest, std::isfinite(off) ? off : 1e30);
    p.mean += off / static_cast<double>(values);
  }
  p.first_apart = first_apart(folder, a, b);
  return p;
}

std::vector<FormRun> stored_references(const ExportedFolder& folder) {
  std::vector<FormRun> found;
  const auto add = [&](const char* name, const char* file, FormKind kind) {
    const auto bytes = read_file(folder.path / "test" / file, std::uint64_t{1} << 30);
    if (!bytes) return;
    FormRun run{name, kind, {}, {}, {}, 0};
    run.logits.resize(bytes->size() / sizeof(float));
    std::memcpy(run.logits.data(), bytes->data(), run.logits.size() * sizeof(float));
    found.push_back(std::move(run));
  };
  add("reference, float", "logits.fp32.f32", FormKind::real);
  add("reference, int8", "logits.int8.f32", FormKind::integer);
  add("reference, int8 rounded twice", "logits.tflite-int8.f32", FormKind::tflite);
  return found;
}

std::string verdict(const ExportedFolder& folder, const FormRun& form,
                    const std::vector<FormRun>& references) {
  if (form.logits.empty()) return "not run";
  const FormKind wanted = form.kind == FormKind::onnx ? FormKind::integer : form.kind;
  const auto reference =
      std::find_if(references.begin(), references.end(), [&](const FormRun& r) { return r.kind == wanted; });
  if (reference == references.end()) return "nothing to compare with";
  if (reference->logits.size() != form.logits.size()) return "differs";
  const Pair p = compare_forms(folder, *reference, form);
  double size = 0;
  for (const float v : reference->logits) size = std::max<double>(size, std::fabs(v));
  bool equal = p.top1_agreement == 1;
  if (form.kind == FormKind::real) equal = equal && p.largest <= 1e-5 * size;
  if (form.kind == FormKind::onnx) equal = equal && p.mean <= folder.output_scale;
  if (form.kind == FormKind::integer || form.kind == FormKind::tflite) equal = p.largest == 0;
  return equal ? "equal" : "differs";
}

double accuracy(const ExportedFolder& folder, const FormRun& form, const FormImages& images) {
  if (images.labels.size() != images.count || form.logits.size() != images.count * folder.classes) return -1;
  std::size_t right = 0;
  for (std::size_t i = 0; i < images.count; ++i)
    right += answer(form, i, folder.classes) == static_cast<std::size_t>(images.labels[i]);
  return static_cast<double>(right) / static_cast<double>(images.count);
}

}  // namespace nas::apps
