#include "results/store.h"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include "results/schema.h"
#include "space/base/file.h"

namespace nas::results {
namespace {

namespace fs = std::filesystem;

// The type of the mount that holds `path`, from /proc/self/mountinfo ("ext4", "fuse.sshfs").
std::string mount_type(const fs::path& path) {
  std::error_code failed;
  const std::string place = fs::weakly_canonical(path, failed).string();
  std::ifstream table("/proc/self/mountinfo");
  std::string line, best_type;
  std::size_t best = 0;
  while (std::getline(table, line)) {
    std::istringstream words(line);
    std::string word, point, type;
    for (int i = 0; i < 5 && words >> word; ++i) point = word;
    while (words >> word && word != "-") {
    }
    words >> type;
    const bool inside = place.starts_with(point) &&
                        (point == "/" || place.size() == point.size() || place[point.size()] == '/');
    if (!inside || point.size() < best) continue;
    best = point.size();
    best_type = type;
  }
  return best_type;
}

Result<void> refuse_network_file_system(const fs::path& project, std::optional<std::int64_t> magic) {
  if (!magic) {
    struct statfs information {};
    if (::statfs(project.c_str(), &information) != 0) return {};  // opening the file tells more
    magic = static_cast<std::int64_t>(information.f_type) & 0xFFFFFFFF;
  }
  constexpr std::int64_t kFuse = 0x65735546;
  const auto name = network_file_system(*magic, *magic == kFuse ? mount_type(project) : "");
  if (!name) return {};
  return Error{
      "the project lies on " + *name +
          ", where file locks and shared memory of several processes cannot be trusted and stores get "
          "damaged; keep the project on a local disk (-C /local/folder), give each machine its own "
          "project there, and join them with `hwnas db merge`; to look at one from afar, use a copy made "
          "by `hwnas db backup`",
      project.string(), ErrorKind::store};
}

// Makes a complete empty store beside `path` and links it into place: of several processes that do so at once
// exactly one wins, and nobody ever sees a half-made file.
Result<void> create_file(const fs::path& path, std::chrono::milliseconds patience) {
  std::error_code failed;
  fs::create_directories(path.parent_path(), failed);
  if (failed)
    return Error{"cannot make the project folder: " + failed.message(), path.parent_path().string(),
                 ErrorKind::store};
  const fs::path beside = path.string() + ".new-" + new_uid();
  const auto make = [&]() -> Result<void> {
    NAS_TRY(database, Database::open(beside, Database::Mode::create, patience));
    NAS_CHECK(database->script("PRAGMA journal_mode = WAL"));
    return database->script("BEGIN;" + schema_sql() + "COMMIT;");
  };
  const Result<void> made = make();
  const bool linked = made && (::link(beside.c_str(), path.c_str()) == 0 || errno == EEXIST);
  const int code = errno;
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(beside.string() + suffix, failed);
  if (!made) return Error{made.error().message, path.string(), ErrorKind::store};
  if (!linked)
    return Error{std::string("cannot create the store: ") + std::strerror(code), path.string(),
                 ErrorKind::store};
  return {};
}

Result<int> version_of(Database& database) {
  NAS_TRY(id, database.value<std::int64_t>("PRAGMA application_id"));
  if (id != kApplicationId)
    return Error{
        "this is a database of another program, not a store of hwnas; move it away or name another "
        "project with -C",
        database.path().string(), ErrorKind::store};
  NAS_TRY(version, database.value<std::int64_t>("PRAGMA user_version"));
  return static_cast<int>(version.value_or(0));
}

Error newer_error(const Database& database, int version) {
  return {"the store has format " + std::to_string(version) + ", this program knows formats up to " +
              std::to_string(kSchemaVersion) + ": use the newer hwnas that wrote it; nothing was changed",
          database.path().string(), ErrorKind::store};
}

Result<std::unique_ptr<Database>> open_writer(const fs::path& path, const StoreOptions& options) {
  NAS_TRY(database, Database::open(path, Database::Mode::write, options.patience));
  NAS_CHECK(database->script("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL;"));
  if (::access(path.c_str(), W_OK) != 0 || ::access(path.parent_path().c_str(), W_OK) != 0)
    return Error{
        std::string("cannot write the store: ") + std::strerror(errno) +
            "; give this user write permission for the file and its folder, or work in a copy of the "
            "project; commands that only look need none",
        path.string(), ErrorKind::store};
  return database;
}

// A read-only connection in WAL mode wants to make the -shm file; where the folder cannot be written and no
// journal is pending, the file cannot change either and is opened as immutable.
Result<std::unique_ptr<Database>> open_reader(const fs::path& path, const StoreOptions& options) {
  NAS_TRY(database, Database::open(path, Database::Mode::read, options.patience));
  const auto probe = database->value<std::int64_t>("SELECT count(*) FROM sqlite_schema");
  if (probe || ::access(path.parent_path().c_str(), W_OK) == 0) {
    if (!probe) return probe.error();
    return database;
  }
  std::error_code failed;
  const fs::path journal = path.string() + "-wal";
  const auto pending = fs::file_size(journal, failed);
  if (!failed && pending > 0)
    return Error{
        "the folder is read-only and the journal " + journal.filename().string() +
            " holds changes that were not folded in: copy both files to a writable folder and open them "
            "there",
        path.string(), ErrorKind::store};
  return Database::open(path, Database::Mode::immutable, options.patience);
}

// Content reaches the disk before the name does.
void flush(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

std::optional<std::string> network_file_system(std::int64_t magic, std::string_view type) {
  struct Known {
    std::int64_t magic;
    const char* name;
  };
  // linux/magic.h and the projects' own headers.
  constexpr std::array<Known, 14> kKnown{{{0x6969, "NFS"},
                                          {0x517B, "SMB"},
                                          {0xFF534D42, "CIFS"},
                                          {0xFE534D42, "SMB2"},
                                          {0x0BD00BD0, "Lustre"},
                                          {0x47504653, "GPFS"},
                                          {0x00C36400, "Ceph"},
                                          {0x01021997, "9P"},
                                          {0x5346414F, "AFS"},
                                          {0x6B414653, "AFS"},
                                          {0x73757245, "Coda"},
                                          {0x19830326, "BeeGFS"},
                                          {0x7461636F, "OCFS2"},
                                          {0x01161970, "GFS2"}}};
  for (const Known& known : kKnown)
    if (magic == known.magic) return std::string("a network file system (") + known.name + ")";
  if (type.starts_with("fuse.")) return "a file system of a user program (" + std::string(type) + ")";
  return std::nullopt;
}

std::string new_uid() {
  std::random_device device;
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%08x%08x%08x%08x", device(), device(), device(), device());
  return text.data();
}

Result<Store> Store::open(const fs::path& project, StoreOptions options) {
  const fs::path folder = project.empty() ? fs::path(".") : project;
  const fs::path path = folder / kStoreFile;
  const bool writing = options.access == Access::write;
  if (fs::exists(folder)) NAS_CHECK(refuse_network_file_system(folder, options.file_system));
  std::error_code failed;
  if (!fs::exists(path, failed)) {
    if (!writing || !options.create)
      return usage_error("there is no store here: `hwnas init` makes a project, or name one with -C",
                         path.string());
    NAS_CHECK(create_file(path, options.patience));
  }
  NAS_TRY(database, writing ? open_writer(path, options) : open_reader(path, options));
  NAS_TRY(version, version_of(*database));
  if (version > kSchemaVersion) return newer_error(*database, version);
  Store store(folder, std::move(database), std::move(options.clock));
  if (version < kSchemaVersion) {
    if (!writing || !options.migrate)
      return Error{"the store has the older format " + std::to_string(version) +
                       "; `hwnas db migrate` brings it to " + std::to_string(kSchemaVersion) +
                       " and keeps a copy",
                   path.string(), ErrorKind::store};
    NAS_TRY(copy, migrate(store.db()));
    store.backup_ = std::move(copy);
  }
  store.db().expect_version(kSchemaVersion);
  return store;
}

Result<Transaction> Store::begin() {
  Result<Transaction> transaction = Transaction::begin(*database_);
  if (transaction || !database_->moved()) return transaction;
  const fs::path rescue = project_ / ("hwnas.rescued-" + std::to_string(::getpid()) + ".db");
  std::error_code failed;
  const bool saved = fs::exists(rescue, failed) || database_->copy_to(rescue);
  Error error = transaction.error();
  error.message += saved ? "; all that was in it is saved as " + rescue.filename().string() +
                               ": stop the workers of this project, rename that file to " + kStoreFile +
                               " and start them again"
                         : "; a copy of it could not be written either";
  return error;
}

fs::path Store::object_path(const std::string& sha256) const {
  return project_ / "objects" / sha256.substr(0, 2) / sha256;
}

Result<std::string> Store::put_object(std::string_view content) {
  std::string name = sha256(content);
  if (!fs::exists(object_path(name))) NAS_CHECK(write_file(object_path(name), content));
  return name;
}

Result<std::string> Store::put_object_file(const fs::path& source) {
  NAS_TRY(name, sha256_file(source));
  const fs::path target = object_path(name);
  if (fs::exists(target)) return name;
  std::error_code failed;
  fs::create_directories(target.parent_path(), failed);
  const fs::path beside = target.string() + ".tmp-" + new_uid();
  fs::copy_file(source, beside, failed);
  if (!failed) flush(beside);
  if (!failed) fs::rename(beside, target, failed);
  if (!failed) return name;
  std::error_code ignored;
  fs::remove(beside, ignored);
  return Error{"cannot keep the file in the store: " + failed.message(), source.string()};
}

Result<std::string> Store::get_object(const std::string& name) const {
  NAS_TRY(content, read_file(object_path(name)));
  if (sha256(content) != name)
    return Error{
        "the content does not match its name (SHA-256): the file was changed or damaged; restore it from "
        "a copy of the project",
        object_path(name).string()};
  return content;
}

}  // namespace nas::results
