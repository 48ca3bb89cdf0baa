#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::supernet {

// TensorFlow Lite's C library, loaded when it is asked for. One interpreter a model, one thread.
class TfliteRuntime {
 public:
  static Result<TfliteRuntime> open(const std::filesystem::path& library);
  ~TfliteRuntime();
  TfliteRuntime(TfliteRuntime&&) noexcept;

  std::string version() const;
  // The outputs' bytes, in order, for each input; every input has as many bytes as the model's. `model`
  // should have passed tflite_from_bytes: the library checks little.
  Result<std::vector<std::vector<std::string>>> run(const std::string& model,
                                                    std::span<const std::string> inputs) const;

 private:
  struct Impl;
  explicit TfliteRuntime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nas::supernet
