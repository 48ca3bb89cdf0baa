#include "supernet/tflite/tflite_runtime.h"

#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>

namespace nas::supernet {

// The few functions of the C interface that one inference takes; handles are opaque there too.
struct TfliteRuntime::Impl {
  void* library = nullptr;
  const char* (*version)() = nullptr;
  void* (*model_create)(const void*, std::size_t) = nullptr;
  void (*model_delete)(void*) = nullptr;
  void* (*options_create)() = nullptr;
  void (*options_delete)(void*) = nullptr;
  void (*set_threads)(void*, std::int32_t) = nullptr;
  void (*set_reporter)(void*, void (*)(void*, const char*, va_list), void*) = nullptr;
  void* (*interpreter_create)(const void*, const void*) = nullptr;
  void (*interpreter_delete)(void*) = nullptr;
  int (*allocate)(void*) = nullptr;
  int (*invoke)(void*) = nullptr;
  void* (*input)(const void*, std::int32_t) = nullptr;
  std::int32_t (*output_count)(const void*) = nullptr;
  const void* (*output)(const void*, std::int32_t) = nullptr;
  std::size_t (*byte_size)(const void*) = nullptr;
  int (*copy_from)(void*, const void*, std::size_t) = nullptr;
  int (*copy_to)(const void*, void*, std::size_t) = nullptr;

  ~Impl() {
    if (library != nullptr) ::dlclose(library);
  }
  template <class F>
  bool find(const char* name, F& function) {
    function = reinterpret_cast<F>(::dlsym(library, name));
    return function != nullptr;
  }
  bool find_all() {
    return find("TfLiteVersion", version) && find("TfLiteModelCreate", model_create) &&
           find("TfLiteModelDelete", model_delete) &&
           find("TfLiteInterpreterOptionsCreate", options_create) &&
           find("TfLiteInterpreterOptionsDelete", options_delete) &&
           find("TfLiteInterpreterOptionsSetNumThreads", set_threads) &&
           find("TfLiteInterpreterOptionsSetErrorReporter", set_reporter) &&
           find("TfLiteInterpreterCreate", interpreter_create) &&
           find("TfLiteInterpreterDelete", interpreter_delete) &&
           find("TfLiteInterpreterAllocateTensors", allocate) && find("TfLiteInterpreterInvoke", invoke) &&
           find("TfLiteInterpreterGetInputTensor", input) &&
           find("TfLiteInterpreterGetOutputTensorCount", output_count) &&
           find("TfLiteInterpreterGetOutputTensor", output) && find("TfLiteTensorByteSize", byte_size) &&
           find("TfLiteTensorCopyFromBuffer", copy_from) && find("TfLiteTensorCopyToBuffer", copy_to);
  }
};

namespace {

void keep_words(void* words, const char* format, va_list arguments) {
  char text[300];
  std::vsnprintf(text, sizeof text, format, arguments);
  *static_cast<std::string*>(words) +=
      std::string(static_cast<std::string*>(words)->empty() ? "" : "; ") + text;
}

using Owned = std::unique_ptr<void, void (*)(void*)>;

}  // namespace

TfliteRuntime::TfliteRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TfliteRuntime::TfliteRuntime(TfliteRuntime&&) noexcept = default;
TfliteRuntime::~TfliteRuntime() = default;

Result<TfliteRuntime> TfliteRuntime::open(const std::filesystem::path& library) {
  auto impl = std::make_unique<Impl>();
  impl->library = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (impl->library == nullptr) return Error{::dlerror(), library.string(), ErrorKind::device};
  if (!impl->find_all()) return Error{"not TensorFlow Lite's C library", library.string(), ErrorKind::device};
  return TfliteRuntime(std::move(impl));
}

std::string TfliteRuntime::version() const { return impl_->version(); }

Result<std::vector<std::vector<std::string>>> TfliteRuntime::run(const std::string& model,
                                                                 std::span<const std::string> inputs) const {
  const Impl& f = *impl_;
  std::string words;
  const auto failed = [&](const std::string& what) {
    return Error{"TensorFlow Lite " + version() + ": " + what + (words.empty() ? "" : ": " + words)};
  };
  const Owned loaded(f.model_create(model.data(), model.size()), f.model_delete);
  if (!loaded) return failed("the model does not load");
  const Owned options(f.options_create(), f.options_delete);
  f.set_threads(options.get(), 1);
  f.set_reporter(options.get(), keep_words, &words);
  const Owned interpreter(f.interpreter_create(loaded.get(), options.get()), f.interpreter_delete);
  if (!interpreter || f.allocate(interpreter.get()) != 0) return failed("no interpreter");
  std::vector<std::vector<std::string>> all;
  void* in = f.input(interpreter.get(), 0);
  for (const std::string& bytes : inputs) {
    if (f.copy_from(in, bytes.data(), bytes.size()) != 0)
      return failed("input needs " + std::to_string(f.byte_size(in)) + " bytes, found " +
                    std::to_string(bytes.size()));
    if (f.invoke(interpreter.get()) != 0) return failed("inference failed");
    std::vector<std::string>& outputs = all.emplace_back();
    for (std::int32_t i = 0; i < f.output_count(interpreter.get()); ++i) {
      const void* tensor = f.output(interpreter.get(), i);
      std::string& out = outputs.emplace_back(f.byte_size(tensor), '\0');
      if (f.copy_to(tensor, out.data(), out.size()) != 0) return failed("an output cannot be read");
    }
  }
  return all;
}

}  // namespace nas::supernet
