#include "apps/ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "results/catalog.h"
#include "results/process_id.h"
#include "results/runs.h"
#include "results/tables.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using results::Run;
using results::RunState;
using results::Store;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{3};  // with a locked store, while the command waits
constexpr std::chrono::seconds kMute{30};     // after a failure nothing is tried for so long

bool lies_in(const fs::path& folder, const fs::path& path) {
  std::error_code failed;
  const fs::path relative =
      fs::weakly_canonical(path, failed).lexically_relative(fs::weakly_canonical(folder, failed));
  return !relative.empty() && *relative.begin() != "..";
}

// The run of the job that this command is a task of, where that is a job of this project.
std::optional<results::Id> run_of_job(const fs::path& project) {
  const char* const folder = std::getenv("HWNAS_JOB_PROJECT");
  const char* const run = std::getenv("HWNAS_RUN");
  std::error_code failed;
  if (folder == nullptr || run == nullptr || !fs::equivalent(folder, project, failed)) return {};
  return std::atoll(run);
}

Result<bool> is_job(Store& store, const Run& run) {
  NAS_TRY(task, store.db().value<results::Id>("SELECT id FROM task WHERE run_id=? LIMIT 1", run.id));
  return task.has_value();
}

// NAME.1, NAME.2, …: the first that no run has.
Result<void> set_aside(Store& store, const Run& run) {
  for (int i = 1;; ++i) {
    const std::string name = run.name + "." + std::to_string(i);
    NAS_TRY(taken, store.db().value<results::Id>("SELECT id FROM run WHERE name=?", name));
    if (taken) continue;
    return store.db().run("UPDATE run SET name=? WHERE id=?", name, run.id);
  }
}

// The name for `wanted`, and the run to take up where there is one.
struct Place {
  std::string name;
  std::optional<results::Id> id;
};

// A run that goes on with more budget is the same run.
nlohmann::json without_budget(const std::string& config) {
  nlohmann::json json = nlohmann::json::parse(config, nullptr, false);
  if (json.is_object()) json.erase("budget");
  return json;
}

Result<Place> find_place(Store& store, const Run& wanted, bool fresh) {
  Place place{wanted.name, {}};
  for (;;) {
    NAS_TRY(found, (results::select_one<Run>(store.db(), "WHERE name=?", place.name)));
    if (!found) return place;
    NAS_TRY(job, is_job(store, *found));
    if (job) {
      place.name += "-" + wanted.kind;
      continue;
    }
    const bool same_budget = found->config_sha256 == sha256(wanted.config);
    const bool same = found->kind == wanted.kind && found->origin == wanted.origin &&
                      (same_budget || without_budget(found->config) == without_budget(wanted.config));
    if (same && (!fresh || (same_budget && found->candidates == 0)))
      place.id = found->id;
    else
      NAS_CHECK(set_aside(store, *found));
    return place;
  }
}

Result<void> begin_run(Store& store, Run& run, bool fresh) {
  NAS_TRY(place, find_place(store, run, fresh));
  run.name = place.name;
  if (place.id) {
    run.id = *place.id;
    NAS_CHECK(
        store.db().run("UPDATE run SET process=?, config=?, config_sha256=?, budget=?, note='' WHERE id=?",
                       run.process, run.config, sha256(run.config), run.budget, run.id));
  } else {
    if (run.parent_id) {
      NAS_TRY(parent, store.db().value<results::Id>("SELECT id FROM run WHERE id=?", *run.parent_id));
      run.parent_id = parent;
    }
    NAS_TRY(id, results::add_run(store, run));
    run.id = id;
  }
  return results::set_run_state(store, run.id, RunState::running);
}

}  // namespace

Ledger::Ledger(const Context& context, const fs::path& made) : project_(context.project) {
  std::error_code ignored;
  wanted_ = fs::exists(project_ / results::kStoreFile, ignored) ||
            fs::exists(project_ / "hwnas.json", ignored) || lies_in(project_, made);
}

Ledger::~Ledger() {
  const Result<int> ended = end(Error{"the command ended early; its output says why"});
  static_cast<void>(ended);
}

bool Ledger::open() {
  if (store_) return true;
  std::error_code ignored;
  fs::create_directories(project_, ignored);
  auto store = Store::open(project_, {.patience = kPatience});
  if (!store) {
    say(store.error());
    return false;
  }
  store_ = std::make_unique<Store>(*std::move(store));
  return true;
}

void Ledger::say(const Error& error) {
  muted_until_ = Clock::now() + kMute;
  if (said_) return;
  said_ = true;
  std::fprintf(stderr, "warning: not kept in the project's store for now: %s%s%s\n", error.where.c_str(),
               error.where.empty() ? "" : ": ", error.message.c_str());
}

Result<void> Ledger::attempt(const Body& body) {
  NAS_TRY(transaction, store_->begin());
  if (pending_) {
    Run run = *pending_;
    NAS_CHECK(begin_run(*store_, run, fresh_));
    run_ = run.id;
  }
  NAS_CHECK(body(*store_));
  return transaction.commit();
}

bool Ledger::write(const Body& body, bool last) {
  if (!wanted_ || (!last && muted_until_ && Clock::now() < *muted_until_)) return false;
  const auto start = Clock::now();
  bool kept = open();
  if (kept)
    if (const Result<void> done = attempt(body); !done) {
      say(done.error());
      kept = false;
    }
  if (kept) pending_.reset();
  if (pending_) run_ = 0;  // rolled back
  seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  return kept;
}

bool Ledger::begin(Run run, bool fresh) {
  run.process = this_process();
  run.tool_version = version();
  if (!run.parent_id) run.parent_id = run_of_job(project_);
  pending_ = std::move(run);
  fresh_ = fresh;
  return write([](Store&) { return Result<void>(); });
}

Result<int> Ledger::end(Result<int> result) {
  if (!has_run() || ended_) return result;
  ended_ = true;
  if (result && (*result == 75 || *result == 130)) return result;  // stopped; the same command goes on
  write(
      [&](Store& store) {
        if (!result) return results::set_run_state(store, run_, RunState::failed, to_string(result.error()));
        const std::string error = *result == 3 ? "nothing satisfies the constraints" : "";
        return results::set_run_state(store, run_, *result == 6 ? RunState::partial : RunState::done, error);
      },
      true);
  return result;
}

Result<std::optional<nlohmann::json>> budget_of_job(const fs::path& project) {
  const auto run = run_of_job(project);
  if (!run) return std::optional<nlohmann::json>();
  NAS_TRY(store, Store::open(project, {.access = results::Access::read}));
  NAS_TRY(text, store.db().value<std::string>("SELECT budget FROM run WHERE id=? AND budget<>'{}'", *run));
  if (!text) return std::optional<nlohmann::json>();
  return std::optional(nlohmann::json::parse(*text, nullptr, false));
}

std::string this_process() { return std::to_string(::getpid()) + " " + results::process_name(::getpid()); }

bool is_abandoned(const Run& run) {
  const std::size_t blank = run.process.find(' ');
  if (run.state != RunState::running || blank == std::string::npos) return false;
  const auto exists = results::process_exists(std::atoll(run.process.c_str()), run.process.substr(blank + 1));
  return exists && !*exists;
}

Result<results::Id> keep_space(Store& store, const SearchSpace& space) {
  return results::keep(store, results::Space{.name = space.name(), .json = space.json()});
}

Result<std::vector<results::Id>> keep_networks(Store& store, const SearchSpace& space,
                                               std::span<const Genotype> genotypes) {
  NAS_TRY(space_id, keep_space(store, space));
  std::vector<results::Architecture> records;
  for (const Genotype& g : genotypes)
    records.push_back({.space_id = space_id,
                       .hash = space.hash(g),
                       .genes = results::Bytes8(g.begin(), g.end()),
                       .text = space.text(g)});
  return results::keep_architectures(store, records);
}

Result<std::optional<results::Checkpoint>> checkpoint_of(Store& store, const std::string& sha256) {
  return results::select_one<results::Checkpoint>(store.db(), "WHERE object=? ORDER BY id DESC", sha256);
}

Result<FolderLock> FolderLock::take(const fs::path& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Error{std::string("cannot be opened: ") + std::strerror(errno), folder.string()};
  // A command whose parent was just killed needs a moment to die.
  for (int tries = 0; ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (errno != EINTR && (errno != EWOULDBLOCK || tries >= 30)) {
      ::close(fd);
      return Error{
          "another hwnas process works in this folder; wait until it has ended, or give this run "
          "another name",
          folder.string(), ErrorKind::store};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return FolderLock(fd);
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace nas::apps
