#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>

namespace tbb {

class global_control {
 public:
  enum parameter { max_allowed_parallelism };
  global_control(parameter, std::size_t value) : before_(limit().exchange(value)) {}
  ~global_control() { limit() = before_; }
  global_control(const global_control&) = delete;
  global_control& operator=(const global_control&) = delete;

  // 0: no limit.
  static std::atomic<std::size_t>& limit() {
    static std::atomic<std::size_t> value{0};
    return value;
  }
  // At least four threads run, so that a small machine shows races too.
  static std::size_t threads() {
    const std::size_t limited = limit();
    return limited > 0 ? limited : std::max(4u, std::thread::hardware_concurrency());
  }

 private:
  std::size_t before_;
};

}  // namespace tbb
