#include "supernet/data/splits.h"

#include <tbb/blocked_range.h>
#include <tbb/parallel_reduce.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "space/base/rng.h"

namespace nas::data {
namespace {

Result<void> check(const SplitOptions& options) {
  for (const double share : {options.recalibration, options.validation, options.test})
    if (!(share >= 0 && share <= 0.9))
      return usage_error("the share of a split must be in 0..0.9, found " + std::to_string(share));
  if (const double sum = options.recalibration + options.validation + options.test; sum > 0.9)
    return usage_error(
        "recalibration, validation and test shares must leave 0.1 for training; their sum is " +
        std::to_string(sum));
  return {};
}

// What the user's own parts say.
struct Given {
  bool validation = false;
  bool test = false;
};

Given given_parts(const Store& store) {
  Given given;
  for (std::size_t i = 0; i < store.size(); ++i) {
    given.validation |= store.part(i) == Part::validation;
    given.test |= store.part(i) == Part::test;
  }
  return given;
}

// Pictures of one class that are still to be divided, in the order of their keys.
struct Keyed {
  Hash128 key;
  std::uint32_t index;
};

// Takes about `share` of `total` from the front of `pool`, at least `least`, without parting equal pictures.
std::vector<std::uint32_t> take(std::vector<Keyed>& pool, std::size_t total, double share,
                                std::size_t least) {
  std::size_t count =
      std::max(least, static_cast<std::size_t>(std::llround(share * static_cast<double>(total))));
  count = std::min(count, pool.size());
  while (count > 0 && count < pool.size() && pool[count].key == pool[count - 1].key) ++count;
  std::vector<std::uint32_t> taken;
  for (std::size_t i = 0; i < count; ++i) taken.push_back(pool[i].index);
  pool.erase(pool.begin(), pool.begin() + static_cast<std::ptrdiff_t>(count));
  return taken;
}

std::vector<std::vector<Keyed>> pools_by_class(const Store& store, std::uint64_t seed) {
  std::vector<std::vector<Keyed>> pools(store.classes().size());
  for (std::uint32_t i = 0; i < store.size(); ++i) {
    if (store.part(i) == Part::validation || store.part(i) == Part::test) continue;
    const Hash128 content = store.content(i);
    const std::uint64_t words[3] = {seed, content.high, content.low};
    pools[store.label(i)].push_back(
        {hash_bytes({reinterpret_cast<const std::uint8_t*>(words), sizeof words}), i});
  }
  for (auto& pool : pools)
    std::sort(pool.begin(), pool.end(), [](const Keyed& a, const Keyed& b) {
      return a.key != b.key ? a.key < b.key : a.index < b.index;
    });
  return pools;
}

std::string fingerprint_of(const Store& store, const Splits& splits) {
  Hash128 all{};
  for (const Split split : kSplits)
    for (const std::uint32_t i : splits[split]) {
      const Hash128 content = store.content(i);
      const std::uint64_t words[6] = {
          all.high, all.low, content.high, content.low, static_cast<std::uint64_t>(split), store.label(i)};
      all = hash_bytes({reinterpret_cast<const std::uint8_t*>(words), sizeof words});
    }
  return to_string(all);
}

Error too_few(const std::string& name, std::size_t found, std::size_t required) {
  return usage_error("class '" + name + "' has " + std::to_string(found) + " picture" +
                     (found == 1 ? "" : "s") + " to divide; required: at least " + std::to_string(required) +
                     " different ones, so that every split that is taken from them gets one");
}

}  // namespace

std::string to_string(Split split) {
  constexpr std::array<const char*, 4> names = {"train", "recalibration", "validation", "test"};
  return names[static_cast<std::size_t>(split)];
}

Result<Splits> split_store(const Store& store, const SplitOptions& options) {
  NAS_CHECK(check(options));
  const Given given = given_parts(store);
  const bool cut_validation = !(given.validation && given.test) && options.validation > 0;
  const bool cut_test = !given.validation && !given.test && options.test > 0;
  Splits splits;
  const auto list = [&](Split split) -> std::vector<std::uint32_t>& {
    return splits.indices[static_cast<std::size_t>(split)];
  };
  const auto add = [&](Split split, const std::vector<std::uint32_t>& some) {
    list(split).insert(list(split).end(), some.begin(), some.end());
  };
  for (std::uint32_t i = 0; i < store.size(); ++i) {
    if (store.part(i) == Part::test || (store.part(i) == Part::validation && !given.test))
      list(Split::test).push_back(i);
    else if (store.part(i) == Part::validation)
      list(Split::validation).push_back(i);
  }
  auto pools = pools_by_class(store, options.seed);
  for (std::size_t c = 0; c < pools.size(); ++c) {
    auto& pool = pools[c];
    const std::size_t total = pool.size();
    if (cut_test) add(Split::test, take(pool, total, options.test, 1));
    if (cut_validation) add(Split::validation, take(pool, total, options.validation, 1));
    // A class too small for a recalibration picture of its own keeps its last one for training.
    if (pool.size() > 1) add(Split::recalibration, take(pool, total, options.recalibration, 0));
    if (pool.empty()) return too_few(store.classes()[c], total, std::size_t{1} + cut_test + cut_validation);
    for (const Keyed& left : pool) list(Split::train).push_back(left.index);
  }
  for (auto& indices : splits.indices) std::sort(indices.begin(), indices.end());
  if (list(Split::recalibration).empty() && options.recalibration > 0) {
    if (list(Split::train).size() <= pools.size()) return too_few("(all)", store.size(), pools.size() + 1);
    list(Split::recalibration).push_back(list(Split::train).back());
    list(Split::train).pop_back();
  }
  splits.fingerprint = fingerprint_of(store, splits);
  return splits;
}

std::vector<Duplicate> find_duplicates(const Store& store, const Splits& splits) {
  struct Seen {
    std::uint32_t index;
    Split split;
  };
  std::unordered_map<Hash128, Seen> seen;
  std::vector<Duplicate> found;
  for (const Split split : kSplits)
    for (const std::uint32_t i : splits[split]) {
      const auto [at, fresh] = seen.try_emplace(store.content(i), Seen{i, split});
      if (!fresh && (at->second.split != split || store.label(at->second.index) != store.label(i)))
        found.push_back({at->second.index, i});
    }
  return found;
}

ChannelStatistics channel_statistics(const Store& store, const std::vector<std::uint32_t>& indices) {
  using Sums = std::array<std::uint64_t, 6>;
  const std::size_t area = static_cast<std::size_t>(store.side()) * static_cast<std::size_t>(store.side());
  const Sums sums = tbb::parallel_reduce(
      tbb::blocked_range<std::size_t>(0, indices.size()), Sums{},
      [&](const tbb::blocked_range<std::size_t>& range, Sums local) {
        for (std::size_t k = range.begin(); k < range.end(); ++k) {
          const std::uint8_t* pixels = store.picture(indices[k]).pixels;
          for (std::size_t p = 0; p < area; ++p)
            for (std::size_t c = 0; c < 3; ++c) {
              const std::uint64_t value = pixels[3 * p + c];
              local[c] += value;
              local[3 + c] += value * value;
            }
        }
        return local;
      },
      [](Sums a, const Sums& b) {
        for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
        return a;
      });
  const double count = static_cast<double>(area * indices.size());
  ChannelStatistics statistics{};
  for (std::size_t c = 0; c < 3; ++c) {
    const double mean = static_cast<double>(sums[c]) / count;
    const double variance = static_cast<double>(sums[3 + c]) / count - mean * mean;
    statistics.mean[c] = mean / 255;
    statistics.deviation[c] = std::sqrt(std::max(variance, 0.0)) / 255;
  }
  return statistics;
}

}  // namespace nas::data
