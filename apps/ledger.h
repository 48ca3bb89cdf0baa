#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/command.h"
#include "results/records.h"
#include "results/store.h"
#include "space/search_space.h"

namespace nas::apps {

// Keeps what a command did in the project's store. No command fails because of it: where the store cannot be
// written (locked for too long, no permission, a network file system, a full disk), stderr says so once and
// the command goes on; what was missed meanwhile is caught up by the next write that succeeds, for every
// writer here writes all that the store has not got yet.
class Ledger {
 public:
  using Body = std::function<Result<void>(results::Store&)>;

  // `made`: what the command makes. A store that is missing is made where this lies inside the project, or
  // the project has a hwnas.json; elsewhere nothing is kept.
  Ledger(const Context& context, const std::filesystem::path& made);
  // A run that was not ended failed: its command returned an error.
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Runs `body` in one transaction; false: not kept. After a failure nothing is tried for half a minute,
  // unless this is the `last` write.
  bool write(const Body& body, bool last = false);

  // Makes the run of this command, or takes up an interrupted one that was asked the same (name, kind, config
  // and origin). `fresh`: never takes one up. An older run of the name keeps its rows as NAME.1, NAME.2, …; a
  // job's run keeps the name and this one is called NAME-KIND.
  bool begin(results::Run run, bool fresh = false);
  // A run was begun; where the store could not be written, the next write makes it.
  bool has_run() const { return run_ != 0 || pending_; }
  // Inside a write: the run's id.
  results::Id run() const { return run_; }
  // Ends the run as the command ended: done (also with exit code 3), partial (6) or failed, with the error.
  Result<int> end(Result<int> result);
  // Seconds spent here so far.
  double seconds() const { return seconds_; }

 private:
  bool open();
  Result<void> attempt(const Body& body);
  void say(const Error& error);
  std::filesystem::path project_;
  bool wanted_ = false;
  std::unique_ptr<results::Store> store_;
  results::Id run_ = 0;
  std::optional<results::Run> pending_;
  bool fresh_ = false, said_ = false, ended_ = false;
  double seconds_ = 0;
  std::optional<std::chrono::steady_clock::time_point> muted_until_;
};

// What `hwnas extend` gave the job that this process is a task of: {"evaluations": 500} or, on top of what
// the task has itself, {"+evaluations": 200}, {"+seconds": 60}; nothing where it is no job or was not
// extended.
Result<std::optional<nlohmann::json>> budget_of_job(const std::filesystem::path& project);

// The process that works on a run, as kept with it; and whether it is gone (false where that cannot be told).
std::string this_process();
bool is_abandoned(const results::Run& run);

Result<results::Id> keep_space(results::Store& store, const SearchSpace& space);
// Ids in the order of the genotypes.
Result<std::vector<results::Id>> keep_networks(results::Store& store, const SearchSpace& space,
                                               std::span<const Genotype> genotypes);

// The checkpoint whose weights have this SHA-256; nothing where the store does not know it.
Result<std::optional<results::Checkpoint>> checkpoint_of(results::Store& store, const std::string& sha256);

// Holds a folder for this process until destroyed, also when it dies: two commands must not write the same
// run. Fails (store) when another process has it.
class FolderLock {
 public:
  static Result<FolderLock> take(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace nas::apps
