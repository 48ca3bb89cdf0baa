#pragma once
#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace nas {

// What an error means for the process: the program's exit code follows from it (docs/exit-codes.md).
enum class ErrorKind {
  failure,       // 1: a bug, a broken file, input or output that failed
  usage,         // 2: wrong command line, configuration or data given by the user
  infeasible,    // 3: nothing satisfies the constraints
  verification,  // 4: two things that must agree do not
  device,        // 5: a device or worker is missing, silent or unsteady
  partial,       // 6: finished, but some tasks failed beyond their retries
  store,         // 7: the store is busy, locked or of another version
};

// Something that data, files or devices caused. `message` says what, required and found;
// `where` is "file:line:column", a file, a device or empty.
struct Error {
  std::string message;
  std::string where = {};
  ErrorKind kind = ErrorKind::failure;
};

inline Error usage_error(std::string message, std::string where = {}) {
  return {std::move(message), std::move(where), ErrorKind::usage};
}

// "where: error: message", or "error: message" when the place is unknown.
inline std::string to_string(const Error& error) {
  return (error.where.empty() ? "" : error.where + ": ") + "error: " + error.message;
}

// A value or the error that kept it from being made.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  const Error& error() const {
    assert(!*this);
    return *std::get_if<1>(&state_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  T& value() {
    assert(*this);
    return *std::get_if<0>(&state_);
  }
  const T& value() const {
    assert(*this);
    return *std::get_if<0>(&state_);
  }
  std::variant<T, Error> state_;
};

// Success without a value: `return {};` or `return Error{...};`.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  explicit operator bool() const { return !error_; }
  const Error& error() const {
    assert(error_);
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

}  // namespace nas

// Hands a failed Result to the caller; `name` becomes the value otherwise.
#define NAS_CONCAT_(a, b) a##b
#define NAS_CONCAT(a, b) NAS_CONCAT_(a, b)
#define NAS_TRY(name, expression) NAS_TRY_(NAS_CONCAT(result_, __LINE__), name, expression)
#define NAS_TRY_(temporary, name, expression) \
  auto temporary = (expression);              \
  if (!temporary) return temporary.error();   \
  auto name = *std::move(temporary)
#define NAS_CHECK(expression) \
  if (auto result_check = (expression); !result_check) return result_check.error()
