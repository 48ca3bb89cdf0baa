#include <algorithm>

#include "results/runs.h"
#include "results/tables.h"

// The half of runs.h about architectures, candidates and evaluations.
namespace nas::results {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The smallest and largest 16-byte hash that start with the digits.
std::optional<std::pair<Bytes8, Bytes8>> hash_range(const std::string& digits) {
  if (digits.size() < 4 || digits.size() > 32) return std::nullopt;
  Bytes8 low(16, 0x00), high(16, 0xFF);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const int digit = hex_digit(digits[i]);
    if (digit < 0) return std::nullopt;
    const int shift = i % 2 == 0 ? 4 : 0;
    const auto keep = static_cast<std::uint8_t>(0x0F << (4 - shift));
    const auto bits = static_cast<std::uint8_t>(digit << shift);
    low[i / 2] = static_cast<std::uint8_t>((low[i / 2] & keep) | bits);
    high[i / 2] = static_cast<std::uint8_t>((high[i / 2] & keep) | bits);
  }
  return std::pair(low, high);
}

struct Counts {
  std::int64_t all = 0, feasible = 0;
};

Result<Counts> insert_candidates(Store& store, Id run, std::span<const Candidate> records) {
  NAS_TRY(statement, store.db().prepare(insert_sql<Candidate>(" ON CONFLICT(run_id, number) DO NOTHING")));
  const Time now = store.now();
  Counts counts;
  for (Candidate record : records) {
    record.run_id = run;
    if (record.created == 0) record.created = now;
    bind_record(statement, record);
    NAS_CHECK(statement.run());
    if (store.db().changes() == 0) continue;
    ++counts.all;
    counts.feasible += record.state == CandidateState::ok ? 1 : 0;
  }
  return counts;
}

}  // namespace

Result<std::vector<Id>> keep_architectures(Store& store, std::span<const Architecture> records) {
  NAS_TRY(transaction, store.begin());
  std::vector<Id> ids;
  ids.reserve(records.size());
  {
    NAS_TRY(find, store.db().prepare("SELECT id FROM arch WHERE hash=? AND space_id=?"));
    NAS_TRY(add, store.db().prepare(insert_sql<Architecture>()));
    for (const Architecture& record : records) {
      find.bind_all(record.hash, record.space_id);
      NAS_TRY(known, find.step());
      if (known) {
        ids.push_back(find.integer(0));
      } else {
        bind_record(add, record);
        NAS_CHECK(add.run());
        ids.push_back(store.db().last_id());
      }
      find.reset();
    }
  }
  NAS_CHECK(transaction.commit());
  return ids;
}

Result<Architecture> get_architecture(Store& store, Id id) {
  NAS_TRY(found, (select_one<Architecture>(store.db(), "WHERE id=?", id)));
  if (found) return *std::move(found);
  return usage_error("there is no architecture " + std::to_string(id), store.file().string());
}

Result<Architecture> find_architecture(Store& store, const std::string& prefix) {
  const auto range = hash_range(prefix);
  if (!range)
    return usage_error("an architecture is named by 4 to 32 hexadecimal digits, found \"" + prefix + "\"");
  NAS_TRY(found, (select<Architecture>(store.db(), "WHERE hash BETWEEN ? AND ? ORDER BY hash LIMIT 2",
                                       range->first, range->second)));
  if (found.size() == 1) return std::move(found.front());
  if (found.empty())
    return usage_error("no architecture starts with " + prefix + " in this store", store.file().string());
  return usage_error("several architectures start with " + prefix + " (" + to_string(found[0].hash) + ", " +
                         to_string(found[1].hash) + "): give more digits",
                     store.file().string());
}

Result<void> add_candidates(Store& store, Id run, std::span<const Candidate> records) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(counts, insert_candidates(store, run, records));
  NAS_CHECK(store.db().run("UPDATE run SET candidates=candidates+?, feasible=feasible+? WHERE id=?",
                           counts.all, counts.feasible, run));
  return transaction.commit();
}

Result<void> set_front(Store& store, Id run, std::span<const std::int64_t> numbers,
                       std::optional<std::int64_t> best) {
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(store.db().run("UPDATE candidate SET on_front=0 WHERE run_id=? AND on_front=1", run));
  for (const std::int64_t number : numbers) {
    NAS_CHECK(store.db().run("UPDATE candidate SET on_front=1 WHERE run_id=? AND number=? AND state='ok'",
                             run, number));
    if (store.db().changes() != 1)
      return Error{"candidate " + std::to_string(number) + " of run " + std::to_string(run) +
                       " is not stored or not feasible and cannot be on the front",
                   store.file().string()};
  }
  NAS_CHECK(store.db().run("UPDATE run SET best=? WHERE id=?", best, run));
  return transaction.commit();
}

Result<std::vector<Candidate>> list_candidates(Store& store, Id run, std::int64_t first, std::int64_t limit) {
  return select<Candidate>(store.db(), "WHERE run_id=? AND number>=? ORDER BY number LIMIT ?", run, first,
                           limit);
}

Result<std::vector<Candidate>> front(Store& store, Id run) {
  return select<Candidate>(store.db(), "WHERE run_id=? AND on_front=1 ORDER BY number", run);
}

Result<std::vector<Candidate>> best_candidates(Store& store, Id run, std::int64_t limit) {
  return select<Candidate>(
      store.db(),
      "INDEXED BY candidate_accuracy WHERE run_id=? AND state='ok' AND accuracy IS NOT NULL "
      "ORDER BY accuracy DESC LIMIT ?",
      run, limit);
}

Result<Candidate> get_candidate(Store& store, Id run, std::int64_t number) {
  NAS_TRY(found, (select_one<Candidate>(store.db(), "WHERE run_id=? AND number=?", run, number)));
  if (found) return *std::move(found);
  return usage_error("run " + std::to_string(run) + " has no candidate " + std::to_string(number),
                     store.file().string());
}

Result<void> add_evaluations(Store& store, std::span<const Evaluation> records) {
  NAS_TRY(transaction, store.begin());
  {
    NAS_TRY(statement, store.db().prepare(insert_sql<Evaluation>(" ON CONFLICT DO NOTHING")));
    for (const Evaluation& record : records) {
      bind_record(statement, record);
      NAS_CHECK(statement.run());
    }
  }
  return transaction.commit();
}

Result<std::optional<Evaluation>> find_evaluation(Store& store, const Evaluation& key) {
  return select_one<Evaluation>(
      store.db(),
      "WHERE checkpoint_id=? AND arch_id=? AND split=? AND resolution=? AND precision=? "
      "AND bn_samples=?",
      key.checkpoint_id, key.arch_id, key.split, key.resolution, key.precision, key.bn_samples);
}

Result<std::vector<Evaluation>> list_evaluations(Store& store, Id checkpoint) {
  return select<Evaluation>(store.db(), "WHERE checkpoint_id=? ORDER BY arch_id", checkpoint);
}

}  // namespace nas::results
