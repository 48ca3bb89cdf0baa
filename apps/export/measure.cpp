#include "apps/export/measure.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>

#include "apps/integer_runner.h"
#include "apps/verify.h"
#include "apps/verify/host_c.h"
#include "apps/verify/instructions.h"
#include "supernet/evaluate.h"

namespace nas::apps {
namespace {

template <class T>
std::size_t argmax(const T* values, std::size_t n) {
  return static_cast<std::size_t>(std::max_element(values, values + n) - values);
}

// All int8 outputs, image after image.
Result<std::string> int8_outputs(const Subject& s, const devices::codegen::GeneratedNetwork* made,
                                 const LabelledImages& test) {
  if (made != nullptr) {
    std::string inputs;
    for (const Image& image : test.images) {
      const auto q = on_grid(image, s.quantized->tensors[0]);
      inputs.append(q.begin(), q.end());
    }
    const auto program = HostC::build(made->header, made->source, cache_folder());
    if (program)
      return program->run(inputs, static_cast<std::size_t>(s.quantized->deployment.input.elements()));
  }
  NAS_TRY(runner, IntegerRunner::make(*s.quantized));
  std::vector<std::vector<std::int8_t>> rows(test.images.size());
  tbb::parallel_for(std::size_t{0}, rows.size(), [&](std::size_t i) {
    const auto q = on_grid(test.images[i], s.quantized->tensors[0]);
    rows[i] = runner.run(std::span<const std::int8_t>(q));
  });
  std::string outputs;
  for (const auto& row : rows) outputs.append(row.begin(), row.end());
  return outputs;
}

Result<std::vector<float>> float_outputs(const supernet::TrainedNetwork& network,
                                         const LabelledImages& test) {
  constexpr std::size_t kAtOnce = 200;
  std::vector<float> all;
  for (std::size_t from = 0; from < test.images.size(); from += kAtOnce) {
    Image pixels;
    for (std::size_t i = from; i < std::min(from + kAtOnce, test.images.size()); ++i)
      pixels.insert(pixels.end(), test.images[i].begin(), test.images[i].end());
    NAS_TRY(some, supernet::logits(network, pixels));
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace

Result<Agreement> compare(const Subject& s, const devices::codegen::GeneratedNetwork* made,
                          const LabelledImages& test) {
  Agreement a;
  a.images = test.images.size();
  NAS_TRY(exact, float_outputs(s.trained, test));
  std::vector<float> before;
  if (s.before) {
    NAS_TRY(outputs, float_outputs(*s.before, test));
    before = std::move(outputs);
  }
  std::string rounded;
  if (s.quantized) {
    NAS_TRY(outputs, int8_outputs(s, made, test));
    rounded = std::move(outputs);
  }
  const std::size_t classes = exact.size() / std::max<std::size_t>(1, a.images);
  for (std::size_t i = 0; i < a.images; ++i) {
    const auto label = static_cast<std::size_t>(test.labels[i]);
    const std::size_t answer = argmax(exact.data() + i * classes, classes);
    a.float_right += answer == label;
    if (s.before) a.before_right += argmax(before.data() + i * classes, classes) == label;
    if (rounded.size() != exact.size()) continue;
    const auto* q = reinterpret_cast<const std::int8_t*>(rounded.data()) + i * classes;
    a.int8_right += argmax(q, classes) == label;
    a.same += argmax(q, classes) == answer;
    for (std::size_t k = 0; k < classes; ++k) {
      const double off =
          std::fabs(supernet::from_grid(q[k], s.quantized->tensors.back()) - exact[i * classes + k]);
      a.largest_difference = std::max(a.largest_difference, off);
      a.mean_difference += off / static_cast<double>(exact.size());
    }
  }
  return a;
}

Result<std::optional<Instructions>> count_instructions(const ExportFiles& files,
                                                       const devices::DeviceProfile& device,
                                                       std::size_t operations) {
  if (!device.counts_instructions()) return std::optional<Instructions>{};
  std::map<std::string, std::string> sources;
  for (const char* name : {"net.h", "net.c", "test_vectors.h", "test_main.c"})
    sources[name] = files.at(std::string("c/") + name);
  NAS_TRY(counted, operation_instructions(std::move(sources), device.transport, device.toolchain.flags,
                                          operations, cache_folder()));
  Instructions all{0, std::move(counted)};
  for (const std::uint64_t n : all.operations) all.total += n;
  return std::optional(std::move(all));
}

}  // namespace nas::apps
