#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "space/base/hash.h"
#include "space/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

// A thin owner of SQLite's C API: connection, statement, transaction. Every failure is a Result that names
// the file and says what to do. One connection belongs to one thread at a time.
namespace nas::results {

using Bytes8 = std::vector<std::uint8_t>;

// How an enumeration is written in the store: one word per value, in order. Specialised in records.h.
template <class E>
struct Words;  // static constexpr std::array kAll{"queued", …};

template <class E>
std::string_view to_word(E value) {
  return Words<E>::kAll[static_cast<std::size_t>(value)];
}
template <class E>
std::optional<E> from_word(std::string_view word) {
  for (std::size_t i = 0; i < Words<E>::kAll.size(); ++i)
    if (Words<E>::kAll[i] == word) return static_cast<E>(i);
  return std::nullopt;
}

class Database;

// A prepared statement, borrowed from its connection's cache and given back when destroyed.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Parameters count from 1.
  void bind(int index, std::int64_t value);
  void bind(int index, int value) { bind(index, std::int64_t{value}); }
  void bind(int index, bool value) { bind(index, std::int64_t{value}); }
  void bind(int index, double value);  // NaN becomes NULL
  void bind(int index, std::string_view value);
  void bind(int index, const char* value) { bind(index, std::string_view(value)); }
  void bind(int index, const std::string& value) { bind(index, std::string_view(value)); }
  void bind(int index, const Bytes8& value);
  void bind(int index, Hash128 value);  // 16 bytes, high half first, big-endian
  void bind(int index, std::nullopt_t);
  template <class E>
  requires std::is_enum_v<E>
  void bind(int index, E value) { bind(index, to_word(value)); }
  template <class T>
  void bind(int index, const std::optional<T>& value) {
    if (value)
      bind(index, *value);
    else
      bind(index, std::nullopt);
  }
  template <class... Args>
  void bind_all(const Args&... args) {
    int index = 0;
    (bind(++index, args), ...);
  }

  // True: a row is there. False: no more rows.
  Result<bool> step();
  // Steps to the end and makes the statement ready for other parameters.
  Result<void> run();
  void reset();

  // Columns count from 0. NULL reads as 0, NaN, "" or empty; ask is_null() where it matters.
  int columns() const;
  std::string_view name(int column) const;
  bool is_null(int column) const;
  char type(int column) const;  // 'i' integer, 'r' real, 't' text, 'b' blob, 'n' null
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  Bytes8 blob(int column) const;
  void read(int column, std::int64_t& out) const { out = integer(column); }
  void read(int column, int& out) const { out = static_cast<int>(integer(column)); }
  void read(int column, bool& out) const { out = integer(column) != 0; }
  void read(int column, double& out) const {
    out = is_null(column) ? std::numeric_limits<double>::quiet_NaN() : real(column);
  }
  void read(int column, std::string& out) const { out = text(column); }
  void read(int column, Bytes8& out) const { out = blob(column); }
  void read(int column, Hash128& out) const;
  template <class E>
  requires std::is_enum_v<E>
  void read(int column, E& out) const { out = from_word<E>(text(column)).value_or(E{}); }
  template <class T>
  void read(int column, std::optional<T>& out) const {
    if (is_null(column)) {
      out.reset();
      return;
    }
    T value{};
    read(column, value);
    out = std::move(value);
  }

 private:
  friend class Database;
  Statement(Database& database, std::string sql, sqlite3_stmt* handle);
  Database* database_;
  std::string sql_;
  sqlite3_stmt* handle_;
};

// Commits when told to, rolls back otherwise. The outermost one takes SQLite's write lock at once, so that a
// transaction never fails half-way for want of it; inner ones are savepoints.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept;
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  Transaction(Database& database, bool outermost) : database_(&database), outermost_(outermost) {}
  void roll_back();
  Database* database_;
  bool outermost_;
};

// With a file that others hold.
struct Patience {
  std::chrono::milliseconds limit{};
  std::chrono::steady_clock::time_point since{};
};

// One connection. Movable only behind its unique_ptr, because statements point to it.
class Database {
 public:
  enum class Mode { create, write, read, immutable };  // immutable: read-only media, no locks, no journal
  // `patience`: how long a busy file is waited for.
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& path, Mode mode,
                                                std::chrono::milliseconds patience);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // `sql` holds one statement.
  Result<Statement> prepare(std::string_view sql);
  // Any number of statements without parameters.
  Result<void> script(const std::string& sql);
  // Prepares, binds and steps to the end.
  template <class... Args>
  Result<void> run(std::string_view sql, const Args&... args) {
    NAS_TRY(statement, prepare(sql));
    statement.bind_all(args...);
    return statement.run();
  }
  // The first column of the first row; nothing when there is no row or it is NULL.
  template <class T, class... Args>
  Result<std::optional<T>> value(std::string_view sql, const Args&... args) {
    NAS_TRY(statement, prepare(sql));
    statement.bind_all(args...);
    NAS_TRY(found, statement.step());
    if (!found || statement.is_null(0)) return std::optional<T>();
    T out{};
    statement.read(0, out);
    return std::optional<T>(std::move(out));
  }

  std::int64_t last_id() const;
  std::int64_t changes() const;
  bool in_transaction() const;
  // The file under `path` is no longer the one that is open.
  bool moved() const;
  // A consistent copy of everything, also while others write. `target` must not exist.
  Result<void> copy_to(const std::filesystem::path& target);
  const std::filesystem::path& path() const { return path_; }

  // The error of the last call, as words for users: what, why, what to do.
  Error error(std::string_view doing) const;
  // Transaction::begin fails where the store's format is another one than this (0: any): somebody migrated
  // it.
  void expect_version(int version) { expected_version_ = version; }

 private:
  friend class Statement;
  friend class Transaction;
  Database(std::filesystem::path path, sqlite3* handle);
  void give_back(std::string sql, sqlite3_stmt* statement);
  struct Cache;
  std::filesystem::path path_;
  sqlite3* handle_;
  Patience patience_;
  int expected_version_ = 0;
  std::unique_ptr<Cache> cache_;
};

}  // namespace nas::results
