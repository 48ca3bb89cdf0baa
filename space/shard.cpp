#include "space/shard.h"

#include <charconv>

namespace nas {

std::string Shard::suffix() const {
  return is_all() ? "" : "." + std::to_string(index) + "-of-" + std::to_string(count);
}

Result<Shard> parse_shard(const std::string& text) {
  Shard shard;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, shard.index);
  const bool slash = first.ec == std::errc() && first.ptr != end && *first.ptr == '/';
  const auto second = slash ? std::from_chars(first.ptr + 1, end, shard.count) : first;
  if (!slash || second.ec != std::errc() || second.ptr != end || shard.count > 1'000'000 || shard.index < 1 ||
      shard.index > shard.count)
    return usage_error("--shard: required I/N with I from 1 to N, found \"" + text + "\"");
  return shard;
}

}  // namespace nas
