#pragma once
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "tbb/global_control.h"

namespace tbb {

struct simple_partitioner {};

namespace detail {
inline thread_local bool t_inside = false;
}

template <typename Index, typename Body>
void parallel_for(Index first, Index last, const Body& body) {
  const auto count = last > first ? static_cast<std::size_t>(last - first) : 0;
  const std::size_t threads = std::min(count, global_control::threads());
  if (threads < 2 || detail::t_inside) {
    for (Index i = first; i < last; ++i) body(i);
    return;
  }
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    detail::t_inside = true;
    try {
      for (std::size_t i; (i = next++) < count;) body(static_cast<Index>(first + static_cast<Index>(i)));
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
    detail::t_inside = false;
  };
  std::vector<std::thread> pool;
  for (std::size_t t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

template <typename Index, typename Body>
void parallel_for(Index first, Index last, const Body& body, simple_partitioner) {
  parallel_for(first, last, body);
}

}  // namespace tbb
