#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>

#include "results/queue.h"
#include "results/runs.h"
#include "results/schema.h"
#include "space/base/file.h"
#include "space/base/rng.h"
#include "tests/results/fixture.h"

// What happens to a store when the world around it misbehaves.
namespace nas::results {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class RobustStore : public ProjectTest {
 protected:
  // Runs `body` in a process of its own, which may lose rights or limits; true: it returned true.
  static bool in_child(const std::function<bool()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      bool good = false;
      try {
        good = body();
      } catch (const std::exception& exception) {
        std::fprintf(stderr, "%s\n", exception.what());
      }
      ::_exit(good ? 0 : 1);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  static bool says(const Error& error, std::initializer_list<const char*> words) {
    for (const char* word : words)
      if (error.message.find(word) == std::string::npos) {
        std::fprintf(stderr, "\"%s\" is not in: %s\n", word, to_string(error).c_str());
        return false;
      }
    return true;
  }
};

TEST_F(RobustStore, AStoreOfVersion1IsMigratedAfterACopyAndLosesNothing) {
  std::filesystem::create_directories(project_);
  const std::string fixture = need(read_file(HWNAS_SOURCE_DIR "/tests/results/data/store_v1.sql"));
  {
    auto old = need(Database::open(project_ / kStoreFile, Database::Mode::create, std::chrono::seconds(1)));
    need(old->script("PRAGMA journal_mode=WAL"));
    need(old->script(fixture));
  }
  const auto reader = Store::open(project_, {.access = Access::read});
  ASSERT_FALSE(reader);
  EXPECT_TRUE(says(reader.error(), {"older format 1", "hwnas db migrate"}));
  std::filesystem::path copy;
  {
    Store store = open();
    copy = store.backup();
    EXPECT_EQ(copy, project_ / "hwnas.db.v1.bak");
    expect_clean(store);
    EXPECT_EQ(need(get_run(store, 7)).note, "");
    EXPECT_EQ(need(list_candidates(store, 7)).size(), 2u);
    EXPECT_EQ(need(best_candidates(store, 7, 5)).size(), 1u);
    EXPECT_EQ(need(list_tasks(store)).size(), 1u);
    // The migrated schema is the one that new stores get.
    auto fresh = need(Store::open(project_ / "fresh"));
    constexpr const char* kShape =
        "SELECT group_concat(name, ';') FROM (SELECT m.name || '.' || c.name || ' ' || c.type || "
        "c.\"notnull\" AS name "
        "FROM sqlite_schema m, pragma_table_info(m.name) c UNION SELECT name FROM sqlite_schema ORDER BY 1)";
    EXPECT_EQ(need(store.db().value<std::string>(kShape)), need(fresh.db().value<std::string>(kShape)));
  }
  {
    Store again = open();
    EXPECT_TRUE(again.backup().empty());
  }
  auto old = need(Database::open(copy, Database::Mode::read, std::chrono::seconds(1)));
  EXPECT_EQ(need(old->value<std::int64_t>("PRAGMA user_version")), 1);
  EXPECT_EQ(need(old->value<std::int64_t>("SELECT count(*) FROM candidate")), 2);
}

TEST_F(RobustStore, AStoreOfVersion2IsMigratedAfterACopyOfItsOwn) {
  std::filesystem::create_directories(project_);
  {
    auto old = need(Database::open(project_ / kStoreFile, Database::Mode::create, std::chrono::seconds(1)));
    need(old->script(need(read_file(HWNAS_SOURCE_DIR "/tests/results/data/store_v1.sql"))));
    // What format 2 added, as it was released.
    need(
        old->script("ALTER TABLE run ADD COLUMN note TEXT NOT NULL DEFAULT '';"
                    "CREATE INDEX candidate_accuracy ON candidate(run_id, accuracy) WHERE state = 'ok';"
                    "PRAGMA user_version = 2; UPDATE run SET note='mine'"));
  }
  Store store = open();
  EXPECT_EQ(store.backup(), project_ / "hwnas.db.v2.bak");
  EXPECT_EQ(need(get_run(store, 7)).note, "mine");
  EXPECT_EQ(need(get_run(store, 7)).process, "");
  expect_clean(store);
  auto copy = need(Database::open(store.backup(), Database::Mode::read, std::chrono::seconds(1)));
  EXPECT_EQ(need(copy->value<std::int64_t>("PRAGMA user_version")), 2);
}

TEST_F(RobustStore, AWriterNoticesThatAnotherProgramMigratedItsStore) {
  Store store = open();
  Store other = open();
  need(other.db().script("PRAGMA user_version = 99"));
  const auto written = keep(store, Space{.name = "s"});
  ASSERT_FALSE(written);
  EXPECT_TRUE(says(written.error(), {"format 99", "start this program again"}));
}

TEST_F(RobustStore, AFullFileSystemIsCalledSo) {
  std::filesystem::create_directories(project_);
  if (::mount("tmpfs", project_.c_str(), "tmpfs", 0, "size=1m") != 0)
    GTEST_SKIP() << "a small file system cannot be mounted here";
  {
    Store store = open();
    const Id run = need(add_run(store, {.name = "kept"}));
    const Bytes8 big(100'000, 7);
    Result<void> result;
    std::int64_t kept = 0;
    for (; kept < 40 && result; ++kept) result = add_snapshot(store, run, kept, big, 100);
    ASSERT_FALSE(result);
    EXPECT_TRUE(says(result.error(), {"disk is full", "rolled back"}));
    EXPECT_EQ(need(store.db().value<std::int64_t>("SELECT count(*) FROM snapshot")), kept - 1);
    expect_clean(store);
    const auto object = store.put_object(std::string(2'000'000, 'x'));
    EXPECT_FALSE(object);
  }
  ::umount(project_.c_str());
}

TEST_F(RobustStore, AFileThatMayNotGrowEndsTheTransactionInWordsAndLosesNothing) {
  {
    Store store = open();
    need(add_run(store, {.name = "kept"}));
  }
  EXPECT_TRUE(in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{400'000, 400'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Store store = open();
    const Bytes8 big(100'000, 7);
    Result<void> result;
    for (int i = 0; i < 20 && result; ++i) result = add_snapshot(store, 1, i, big, 100);
    if (result) return false;
    // The connection stays usable for looking.
    return says(result.error(), {"rolled back", "run again"}) && need(get_run(store, 1)).name == "kept";
  }));
  Store store = open();
  expect_clean(store);
  EXPECT_GE(need(store.db().value<std::int64_t>("SELECT count(*) FROM snapshot")), 1);
}

TEST_F(RobustStore, AReadOnlyFolderIsRefusedToWritersAndServesReaders) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become a user without rights";
  {
    Store store = open();
    need(add_run(store, {.name = "kept"}));
  }
  for (const char* suffix : {"-wal", "-shm"})
    std::filesystem::remove(project_ / (std::string(kStoreFile) + suffix));
  ::chmod((project_ / kStoreFile).c_str(), 0444);
  ::chmod(project_.c_str(), 0555);
  EXPECT_TRUE(in_child([&] {
    if (::setuid(65534) != 0) return false;
    const auto writer = Store::open(project_);
    if (writer || !says(writer.error(), {"write permission"}) || writer.error().kind != ErrorKind::store)
      return false;
    auto reader = Store::open(project_, {.access = Access::read});
    if (!reader) return says(reader.error(), {"no error"});
    return need(find_run(*reader, "kept")).id == 1 && need(check(*reader)).empty();
  }));
  std::ofstream(project_ / "hwnas.db-wal") << "not folded in";
  ::chmod((project_ / "hwnas.db-wal").c_str(), 0444);
  EXPECT_TRUE(in_child([&] {
    if (::setuid(65534) != 0) return false;
    auto reader = Store::open(project_, {.access = Access::read});
    return !reader;
  }));
}

TEST_F(RobustStore, AFileDeletedUnderAWriterIsSavedBesideAndNothingMoreIsWritten) {
  Store store = open();
  need(add_run(store, {.name = "first"}));
  for (const char* suffix : {"", "-wal", "-shm"})
    std::filesystem::remove(project_ / (std::string(kStoreFile) + suffix));
  const auto written = add_run(store, {.name = "second"});
  ASSERT_FALSE(written);
  const std::string saved = "hwnas.rescued-" + std::to_string(::getpid()) + ".db";
  EXPECT_TRUE(says(written.error(), {"deleted or replaced", saved.c_str()}));
  std::filesystem::rename(project_ / saved, project_ / kStoreFile);
  Store again = open();
  EXPECT_EQ(need(find_run(again, "first")).id, 1);
  expect_clean(again);
}

TEST_F(RobustStore, ADamagedPageIsFoundAndNamedAndNeverCrashes) {
  {
    Store store = open();
    const auto archs = make_architectures(store, 3000);
    need(store.db().run("PRAGMA wal_checkpoint(TRUNCATE)"));
  }
  const std::string good = need(read_file(project_ / kStoreFile));
  Rng rng(7, "damage");
  int found = 0;
  for (int i = 0; i < 60; ++i) {
    std::string bad = good;
    const std::uint64_t page = 1 + rng.below(bad.size() / 4096 - 1);
    for (int k = 0; k < 40; ++k) bad[page * 4096 + rng.below(200)] = static_cast<char>(rng.below(256));
    std::ofstream(project_ / kStoreFile, std::ios::binary) << bad;
    auto store = Store::open(project_, {.access = Access::read});
    if (!store) {
      EXPECT_THAT(store.error().message, HasSubstr("hwnas db check"));
      ++found;
      continue;
    }
    const auto problems = check(*store);
    found += !problems || !problems->empty() ? 1 : 0;
  }
  // Damage of a free part or of a value without rules cannot be seen.
  EXPECT_GE(found, 50);
}

TEST_F(RobustStore, AHeldWriteLockEndsInWordsAndReadersNeverWait) {
  Store first = open();
  Store second = open({.patience = std::chrono::milliseconds(100)});
  auto held = need(first.begin());
  need(keep(first, Space{.name = "s"}));
  const auto refused = keep(second, Space{.name = "t"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::store);
  EXPECT_TRUE(says(refused.error(), {"busy", "hwnas ls workers"}));
  Store reader = open_reader();
  EXPECT_THAT(need(list_spaces(reader)), IsEmpty());
}

TEST_F(RobustStore, ACopyIsConsistentWhileOthersWrite) {
  Store store = open();
  make_architectures(store, 2000);
  std::filesystem::create_directories(project_ / "copy");
  need(backup(store, project_ / "copy" / "hwnas.db"));
  EXPECT_FALSE(backup(store, project_ / "copy" / "hwnas.db"));
  auto copy = need(Store::open(project_ / "copy"));
  expect_clean(copy);
  EXPECT_EQ(need(copy.db().value<std::int64_t>("SELECT count(*) FROM arch")), 2000);
  need(vacuum(store));
  expect_clean(store);
}

}  // namespace
}  // namespace nas::results
