#pragma once

namespace tbb {

template <typename Value>
class blocked_range {
 public:
  blocked_range(Value begin, Value end) : begin_(begin), end_(end) {}
  Value begin() const { return begin_; }
  Value end() const { return end_; }

 private:
  Value begin_, end_;
};

}  // namespace tbb
