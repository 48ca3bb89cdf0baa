#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/clock.h"
#include "results/records.h"
#include "results/sqlite.h"
#include "space/base/result.h"

namespace nas::results {

enum class Access { read, write };

struct StoreOptions {
  Access access = Access::write;
  bool create = true;   // writers make a missing store
  bool migrate = true;  // writers bring an older store to the current format, after a backup
  std::chrono::milliseconds patience{10000};  // with a busy file
  Clock clock = system_clock();
  // statfs's magic number of the folder's file system; tests replace it.
  std::optional<std::int64_t> file_system = {};
};

// A project's store: `hwnas.db` (SQLite in WAL mode) and `objects/` (files named by their SHA-256). A process
// opens one writer at most; any number of processes may write, in turn, and readers never wait. Not
// thread-safe: one thread at a time. Must not be carried over a fork.
class Store {
 public:
  // Fails, with what to do, on a network file system, a store of a newer version, a file that is no store or
  // is damaged, and folders without the needed permission. Readers accept read-only media.
  static Result<Store> open(const std::filesystem::path& project, StoreOptions options = {});

  Database& db() { return *database_; }
  const std::filesystem::path& project() const { return project_; }
  const std::filesystem::path& file() const { return database_->path(); }
  const Clock& clock() const { return clock_; }
  Time now() const { return clock_.wall(); }
  // Where a migration at open() left the copy of the older store.
  const std::filesystem::path& backup() const { return backup_; }

  // Rolls back unless committed; may be nested, the functions of this folder do so themselves. When the file
  // was deleted under us, saves what this process still holds as hwnas.rescued-<pid>.db and says so.
  Result<Transaction> begin();

  // Keeps `content` under objects/ and returns its SHA-256; what is there already is not written again.
  Result<std::string> put_object(std::string_view content);
  // The same for a file, which is linked or copied.
  Result<std::string> put_object_file(const std::filesystem::path& source);
  // The content, verified against its name.
  Result<std::string> get_object(const std::string& sha256) const;
  std::filesystem::path object_path(const std::string& sha256) const;

 private:
  Store(std::filesystem::path project, std::unique_ptr<Database> database, Clock clock)
      : project_(std::move(project)), database_(std::move(database)), clock_(std::move(clock)) {}
  std::filesystem::path project_;
  std::unique_ptr<Database> database_;
  Clock clock_;
  std::filesystem::path backup_;
};

// The name of the store in a project folder.
constexpr const char* kStoreFile = "hwnas.db";

// "NFS", "SMB", … when statfs's magic number is a file system on which SQLite's locks or shared memory cannot
// be trusted, nothing otherwise. FUSE needs the type from the mount table ("fuse.sshfs").
std::optional<std::string> network_file_system(std::int64_t magic, std::string_view mount_type);

// 32 random hexadecimal digits from the operating system, the identity of runs and sessions across stores.
// Not for searching: nothing that is computed depends on it.
std::string new_uid();

struct StoreInfo {
  std::filesystem::path path;
  int version = 0;
  std::int64_t bytes = 0;    // of the database with its journal
  std::int64_t objects = 0;  // files under objects/
  std::int64_t object_bytes = 0;
  std::vector<std::pair<std::string, std::int64_t>> rows;  // per table
};
Result<StoreInfo> info(Store& store);

// Everything that is wrong, one line each; empty: clean. Structure (SQLite's integrity check), foreign keys,
// and our own invariants: counters, attempts, leases, fronts; with `objects` the hash of every object as
// well.
Result<std::vector<std::string>> check(Store& store, bool objects = true);

// A consistent copy beside running writers.
Result<void> backup(Store& store, const std::filesystem::path& target);

// Gives unused space back and folds the journal in.
Result<void> vacuum(Store& store);

// Deletes objects that no record names and that are older than an hour; returns how many.
Result<std::int64_t> remove_unused_objects(Store& store);

}  // namespace nas::results
