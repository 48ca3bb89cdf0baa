#pragma once
#include "tbb/blocked_range.h"
#include "tbb/parallel_for.h"

namespace tbb {

template <typename Index, typename Value, typename Body, typename Join>
Value parallel_reduce(const blocked_range<Index>& range, const Value& identity, const Body& body,
                      const Join& join) {
  const Index count = range.end() - range.begin();
  constexpr Index kParts = 8;
  std::vector<Value> parts(kParts, identity);
  parallel_for(Index{0}, kParts, [&](Index p) {
    const blocked_range<Index> part(range.begin() + count * p / kParts,
                                    range.begin() + count * (p + 1) / kParts);
    parts[p] = body(part, identity);
  });
  Value all = identity;
  for (const Value& part : parts) all = join(all, part);
  return all;
}

}  // namespace tbb
