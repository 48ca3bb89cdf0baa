#include "results/sqlite.h"

#include <sqlite3.h>

#include <cassert>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <thread>
#include <unordered_map>

namespace nas::results {
namespace {

// Short, slightly spread sleeps: with many processes on one file SQLite's own steps (up to 100 ms) leave the
// lock idle for most of the time.
int wait_for_lock(void* waiting, int tries) {
  auto& patience = *static_cast<Patience*>(waiting);
  const auto now = std::chrono::steady_clock::now();
  if (tries == 0) patience.since = now;
  if (now - patience.since > patience.limit) return 0;
  std::this_thread::sleep_for(std::chrono::microseconds(200 + 150 * (tries % 16) + 100 * (tries % 7)));
  return 1;
}

std::string uri_of(const std::filesystem::path& path, const char* query) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%') {
      uri += '%';
      uri += kDigits[static_cast<unsigned char>(c) >> 4];
      uri += kDigits[c & 15];
    } else {
      uri += c;
    }
  }
  return uri + query;
}

std::string advice(int code, int system_error) {
  if (system_error == ENOSPC || system_error == EDQUOT || code == SQLITE_FULL)
    return "the disk is full; the change was rolled back and the store is as it was before it: free some "
           "space "
           "and run again";
  if (system_error == EFBIG)
    return "the file may not grow (ulimit -f); the change was rolled back and the store is as it was before "
           "it: "
           "raise the limit and run again";
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "the store is busy: another process has held its write lock for too long; `hwnas ls workers` "
             "shows "
             "who works here, then try again";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "the file is damaged or no store: keep it, look with `hwnas db check`, then restore the newest "
             "backup (hwnas.db.*.bak, `hwnas db backup`) or save what is readable with `hwnas db dump`";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "the file or its folder may only be read: give this user write permission, or work in a copy of "
             "the project";
    case SQLITE_CANTOPEN:
      return "the file cannot be opened: check that the folder exists and may be read and written by this "
             "user";
    case SQLITE_IOERR:
      return "the file could not be read or written (no space, a quota, a limit on file sizes, or a failing "
             "disk); the change was rolled back and the store is as it was before it: make room or repair, "
             "then "
             "run again";
    default:
      return {};
  }
}

ErrorKind kind_of(int code) {
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return ErrorKind::store;
    default:
      return ErrorKind::failure;
  }
}

}  // namespace

struct Database::Cache {
  std::unordered_multimap<std::string, sqlite3_stmt*> statements;
};

// ---- Statement ----

Statement::Statement(Database& database, std::string sql, sqlite3_stmt* handle)
    : database_(&database), sql_(std::move(sql)), handle_(handle) {}

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_),
      sql_(std::move(other.sql_)),
      handle_(std::exchange(other.handle_, nullptr)) {}

Statement::~Statement() {
  if (handle_ == nullptr) return;
  reset();
  sqlite3_clear_bindings(handle_);
  database_->give_back(std::move(sql_), handle_);
}

// A failed bind is a wrong index or a statement in use: our own bug.
#define NAS_BIND(call)                      \
  do {                                      \
    [[maybe_unused]] const int code = call; \
    assert(code == SQLITE_OK);              \
  } while (false)

void Statement::bind(int index, std::int64_t value) { NAS_BIND(sqlite3_bind_int64(handle_, index, value)); }
void Statement::bind(int index, double value) { NAS_BIND(sqlite3_bind_double(handle_, index, value)); }
void Statement::bind(int index, std::string_view value) {
  NAS_BIND(sqlite3_bind_text64(handle_, index, value.data() == nullptr ? "" : value.data(), value.size(),
                               SQLITE_TRANSIENT, SQLITE_UTF8));
}
void Statement::bind(int index, const Bytes8& value) {
  NAS_BIND(sqlite3_bind_blob64(handle_, index, value.empty() ? static_cast<const void*>("") : value.data(),
                               value.size(), SQLITE_TRANSIENT));
}
void Statement::bind(int index, Hash128 value) {
  Bytes8 bytes(16);
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(value.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(value.low >> (56 - 8 * i));
  }
  bind(index, bytes);
}
void Statement::bind(int index, std::nullopt_t) { NAS_BIND(sqlite3_bind_null(handle_, index)); }

Result<bool> Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const Error error = database_->error("cannot use the store");
  reset();
  return error;
}

Result<void> Statement::run() {
  while (true) {
    NAS_TRY(row, step());
    if (!row) break;
  }
  reset();
  return {};
}

void Statement::reset() { sqlite3_reset(handle_); }

int Statement::columns() const { return sqlite3_column_count(handle_); }
std::string_view Statement::name(int column) const { return sqlite3_column_name(handle_, column); }
bool Statement::is_null(int column) const { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }
char Statement::type(int column) const {
  switch (sqlite3_column_type(handle_, column)) {
    case SQLITE_INTEGER:
      return 'i';
    case SQLITE_FLOAT:
      return 'r';
    case SQLITE_TEXT:
      return 't';
    case SQLITE_BLOB:
      return 'b';
    default:
      return 'n';
  }
}
std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }
double Statement::real(int column) const { return sqlite3_column_double(handle_, column); }
std::string Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
}
Bytes8 Statement::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(handle_, column));
  if (data == nullptr) return {};
  return {data, data + sqlite3_column_bytes(handle_, column)};
}
void Statement::read(int column, Hash128& out) const {
  out = {};
  const Bytes8 bytes = blob(column);
  if (bytes.size() != 16) return;
  for (std::size_t i = 0; i < 8; ++i) {
    out.high = out.high << 8 | bytes[i];
    out.low = out.low << 8 | bytes[8 + i];
  }
}

// ---- Transaction ----

Result<Transaction> Transaction::begin(Database& database) {
  if (database.in_transaction()) {
    NAS_CHECK(database.run("SAVEPOINT inner"));
    return Transaction(database, false);
  }
  if (database.moved())
    return Error{
        "the file was deleted or replaced while this process worked with it; nothing more is written to it",
        database.path().string(), ErrorKind::store};
  NAS_CHECK(database.run("BEGIN IMMEDIATE"));
  Transaction transaction(database, true);
  if (database.expected_version_ != 0) {
    NAS_TRY(version, database.value<std::int64_t>("PRAGMA user_version"));
    if (version != database.expected_version_)
      return Error{"the store was changed to format " + std::to_string(version.value_or(0)) +
                       " while this process worked with format " +
                       std::to_string(database.expected_version_) +
                       ": start this program again in its new version",
                   database.path().string(), ErrorKind::store};
  }
  return transaction;
}

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)), outermost_(other.outermost_) {}

Transaction::~Transaction() {
  if (database_ != nullptr) roll_back();
}

void Transaction::roll_back() {
  if (!database_->in_transaction()) return;  // SQLite has rolled back by itself, e.g. on a full disk
  // A failing rollback leaves the journal to the next opener, who rolls back: nothing to report.
  if (outermost_)
    (void)database_->run("ROLLBACK");
  else
    (void)database_->script("ROLLBACK TO inner; RELEASE inner");
}

Result<void> Transaction::commit() {
  NAS_CHECK(database_->run(outermost_ ? "COMMIT" : "RELEASE inner"));
  database_ = nullptr;
  return {};
}

// ---- Database ----

Database::Database(std::filesystem::path path, sqlite3* handle)
    : path_(std::move(path)), handle_(handle), cache_(std::make_unique<Cache>()) {}

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& path, Mode mode,
                                                 std::chrono::milliseconds patience) {
  const bool reading = mode == Mode::read || mode == Mode::immutable;
  const std::string uri =
      uri_of(path, mode == Mode::immutable
                       ? "?mode=ro&immutable=1"
                       : (reading ? "?mode=ro" : (mode == Mode::create ? "?mode=rwc" : "?mode=rw")));
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_URI | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE |
                    (reading ? SQLITE_OPEN_READONLY
                             : SQLITE_OPEN_READWRITE | (mode == Mode::create ? SQLITE_OPEN_CREATE : 0));
  const int code = sqlite3_open_v2(uri.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Database> database(new Database(path, handle));
  database->patience_.limit = patience;
  if (code != SQLITE_OK) return database->error("cannot open the store");
  sqlite3_busy_handler(handle, wait_for_lock, &database->patience_);
  return database;
}

Database::~Database() {
  for (const auto& [sql, statement] : cache_->statements) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

Result<Statement> Database::prepare(std::string_view sql) {
  std::string key(sql);
  if (const auto found = cache_->statements.find(key); found != cache_->statements.end()) {
    sqlite3_stmt* const statement = found->second;
    cache_->statements.erase(found);
    return Statement(*this, std::move(key), statement);
  }
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(handle_, key.c_str(), static_cast<int>(key.size()) + 1, SQLITE_PREPARE_PERSISTENT,
                         &statement, nullptr) != SQLITE_OK)
    return error("cannot use the store");
  return Statement(*this, std::move(key), statement);
}

void Database::give_back(std::string sql, sqlite3_stmt* statement) {
  cache_->statements.emplace(std::move(sql), statement);
}

Result<void> Database::script(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return error("cannot use the store");
  return {};
}

std::int64_t Database::last_id() const { return sqlite3_last_insert_rowid(handle_); }
std::int64_t Database::changes() const { return sqlite3_changes64(handle_); }
bool Database::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

bool Database::moved() const {
  int moved = 0;
  return sqlite3_file_control(handle_, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

Result<void> Database::copy_to(const std::filesystem::path& target) {
  if (std::filesystem::exists(target))
    return usage_error("exists already; a copy never overwrites: name another file", target.string());
  NAS_TRY(copy, open(target, Mode::create, patience_.limit));
  sqlite3_backup* const backup = sqlite3_backup_init(copy->handle_, "main", handle_, "main");
  if (backup == nullptr) return copy->error("cannot write the copy");
  const int stepped = sqlite3_backup_step(backup, -1);
  const int code = sqlite3_backup_finish(backup);
  if (stepped == SQLITE_DONE && code == SQLITE_OK) return {};
  const Error failed = copy->error("cannot write the copy");
  copy.reset();
  std::error_code ignored;
  std::filesystem::remove(target, ignored);
  return failed;
}

Error Database::error(std::string_view doing) const {
  const int code = handle_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(handle_) & 0xff;
  const int system_error = handle_ == nullptr ? 0 : sqlite3_system_errno(handle_);
  const bool from_system = code == SQLITE_IOERR || code == SQLITE_CANTOPEN || code == SQLITE_FULL;
  std::string message(doing);
  message += ": ";
  message += handle_ == nullptr ? "out of memory" : sqlite3_errmsg(handle_);
  if (from_system && system_error != 0) message += std::string(" (") + std::strerror(system_error) + ")";
  const std::string help = advice(code, from_system ? system_error : 0);
  if (!help.empty()) message += "; " + help;
  return {std::move(message), path_.string(), kind_of(code)};
}

}  // namespace nas::results
