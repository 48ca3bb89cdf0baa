#pragma once
#include <thread>
#include <utility>

#include "tbb/global_control.h"

namespace tbb {

// Enqueued work runs in a thread of its own; the arena's width is not kept.
class task_arena {
 public:
  static constexpr int automatic = -1;
  enum class priority { low, normal, high };
  explicit task_arena(int /*threads*/ = automatic, unsigned /*reserved*/ = 1, priority = priority::normal) {}

  template <typename Body>
  auto execute(Body&& body) {
    return std::forward<Body>(body)();
  }
  template <typename Body>
  void enqueue(Body body) {
    std::thread(std::move(body)).detach();
  }
};

namespace this_task_arena {
inline int max_concurrency() { return static_cast<int>(global_control::threads()); }
}  // namespace this_task_arena

}  // namespace tbb
