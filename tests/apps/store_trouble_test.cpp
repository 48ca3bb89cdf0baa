#include <sys/mount.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "results/store.h"
#include "space/base/rng.h"
#include "tests/apps/program.h"

// What users read, and which exit code a batch system gets, when something is wrong with a project's store.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class StoreTrouble : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    ASSERT_EQ(hwnas("-q submit --shell 'echo hello' --name kept"), 0) << errors_;
  }
  // The command ends with the code and one line that has the words.
  void expect_line(const std::string& command, int code, std::initializer_list<const char*> words,
                   const std::string& before = "") {
    EXPECT_EQ(hwnas(command, before), code) << command << ": " << errors_;
    EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << command << ": " << errors_;
    for (const char* word : words) EXPECT_THAT(errors_, HasSubstr(word)) << command;
  }
  // Everything is folded into the file, which nobody has open.
  void close_store() {
    auto store = results::Store::open(project_);
    ASSERT_TRUE(store) << to_string(store.error());
    ASSERT_TRUE(store->db().script("PRAGMA wal_checkpoint(TRUNCATE)"));
  }
  void wait_until(const std::function<bool()>& ready) {
    for (int i = 0; i < 3000 && !ready(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(ready());
  }
  bool is(const std::string& run, const std::string& state) {
    return hwnas("-q -f value --columns state status " + run) == 0 && output_ == state + "\n";
  }
};

TEST_F(StoreTrouble, AStoreOfANewerVersionIsLeftAlone) {
  {
    auto store = results::Store::open(project_);
    ASSERT_TRUE(store && store->db().script("PRAGMA user_version=99"));
  }
  for (const char* command : {"ls", "worker --drain", "submit --shell true", "cancel kept", "db migrate"})
    expect_line(command, 7, {"format 99", "newer hwnas", "nothing was changed"});
}

TEST_F(StoreTrouble, ADamagedStoreIsCalledSoWithTheWaysOut) {
  close_store();
  const std::string good = bytes("hwnas.db");
  std::string bad = good;
  for (std::size_t page = 4096; page < bad.size(); page += 4096) bad.replace(page, 60, 60, '\xFF');
  put("hwnas.db", bad);
  for (const char* command : {"ls", "worker --drain", "submit --shell true", "db check"})
    expect_line(command, 7, {"damaged", "backup", "hwnas db dump"});
  put("hwnas.db", "garbage");
  expect_line("ls", 7, {"not a database"});
  // One damaged value: found by the check, the rest stays readable.
  put("hwnas.db", good);
  {
    auto store = results::Store::open(project_);
    ASSERT_TRUE(store && store->db().script("UPDATE run SET candidates=7"));
  }
  EXPECT_EQ(hwnas("db check"), 4);
  EXPECT_THAT(output_, HasSubstr("run kept: counts 7 candidates, holds 0"));
  EXPECT_EQ(hwnas("db dump"), 0);
}

TEST_F(StoreTrouble, AReadOnlyFolderServesReadersAndTellsWriters) {
  const std::string nobody = "setpriv --reuid 65534 --clear-groups";
  if (::geteuid() != 0 || std::system((nobody + " test -x " + HWNAS_PROGRAM).c_str()) != 0)
    GTEST_SKIP() << "needs root, and a program that others may run";
  close_store();
  for (const char* suffix : {"-wal", "-shm"}) fs::remove(project_ / ("hwnas.db" + std::string(suffix)));
  fs::permissions(project_ / "hwnas.db", fs::perms(0444));
  fs::permissions(project_, fs::perms(0555));
  for (const char* command : {"submit --shell true", "worker --drain", "cancel kept"})
    expect_line(command, 7, {"may only be read", "write permission"}, nobody);
  EXPECT_EQ(hwnas("ls", nobody), 0) << errors_;
  EXPECT_THAT(output_, HasSubstr("kept"));
  EXPECT_EQ(hwnas("db check", nobody), 0) << errors_;
}

TEST_F(StoreTrouble, OnAFullDiskNothingIsLostAndTheWorkGoesOnWhenThereIsRoom) {
  const fs::path home = project_;
  project_ /= "disk";
  fs::create_directories(project_);
  if (::mount("tmpfs", project_.c_str(), "tmpfs", 0, "size=2m") != 0) {
    project_ = home;
    GTEST_SKIP() << "a small file system cannot be mounted here";
  }
  ASSERT_EQ(hwnas("-q submit --shell 'sleep 2; echo hello' --name kept"), 0) << errors_;
  std::string many;
  for (int i = 0; i < 4000; ++i) many += (i == 0 ? "" : ",") + std::to_string(i);
  std::ofstream(home / "many.json")
      << R"({"name": "many", "argv": ["true"], "together": true, "matrix": {"n": [)" << many << "]}}";
  const std::string submit = "submit " + (home / "many.json").string();
  const pid_t worker = start("worker --drain");
  wait_until([&] { return is("kept", "running"); });
  { std::ofstream(project_ / "ballast") << std::string(4 << 20, 'x'); }  // as much as there is room for
  // stderr must not lie on the full disk.
  const std::string full = std::string(HWNAS_PROGRAM) + " -C " + project_.string() + " " + submit + " 2>" +
                           (home / "words").string();
  const int status = std::system(full.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  const auto said = read_file(home / "words");
  EXPECT_THAT(said ? *said : "", HasSubstr("disk is full"));
  std::this_thread::sleep_for(std::chrono::seconds(3));  // the task ends meanwhile
  fs::remove(project_ / "ballast");
  EXPECT_EQ(WEXITSTATUS(end_of(worker)), 0);
  EXPECT_TRUE(is("kept", "done")) << output_;
  EXPECT_EQ(hwnas("db check"), 0) << output_;
  EXPECT_EQ(hwnas("-q " + submit), 0) << errors_;
  ::umount(project_.c_str());
  project_ = home;
}

TEST_F(StoreTrouble, AFileDeletedUnderAWorkerIsSavedAndTheWorkGoesOnWithIt) {
  ASSERT_EQ(hwnas("-q submit --shell 'sleep 0.7; echo hello' --name long"), 0);
  const pid_t worker = start("worker");
  wait_until([&] { return is("long", "running"); });
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(project_ / ("hwnas.db" + std::string(suffix)));
  EXPECT_EQ(WEXITSTATUS(end_of(worker)), 7);
  expect_line("ls", 2, {"no store here"});
  fs::rename(project_ / ("hwnas.rescued-" + std::to_string(worker) + ".db"), project_ / "hwnas.db");
  EXPECT_EQ(hwnas("-q worker --drain"), 0) << errors_;
  EXPECT_TRUE(is("kept", "done")) << output_;
  EXPECT_TRUE(is("long", "done")) << output_;
  EXPECT_EQ(hwnas("db check"), 0) << output_;
}

TEST_F(StoreTrouble, TwoWorkersOfOneNameAndAHeldLockAreTold) {
  const pid_t worker = start("worker --name one");
  wait_until([&] { return is("kept", "done"); });
  expect_line("worker --name one --drain", 7, {"\"one\" is at work already", "--name"});
  ::kill(worker, SIGTERM);
  EXPECT_EQ(WEXITSTATUS(end_of(worker)), 143);
  auto store = results::Store::open(project_);
  ASSERT_TRUE(store);
  auto held = store->begin();
  ASSERT_TRUE(held);
  EXPECT_EQ(hwnas("ls"), 0) << "readers never wait";
  expect_line("submit --shell true", 7, {"store is busy", "hwnas ls workers"});
}

}  // namespace
}  // namespace nas::apps
