#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <map>
#include <memory>
#include <set>

#include "apps/accuracy_file.h"
#include "apps/command.h"
#include "apps/engine_models.h"
#include "apps/fusion_pairs.h"
#include "apps/profile_store.h"
#include "apps/progress.h"
#include "devices/device_lock.h"
#include "devices/profile.h"
#include "latency/measure/design.h"
#include "latency/measure/kernel_set.h"
#include "latency/measure/profiler.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;
using latency::KernelRecord;

struct ProfileCommand {
  std::string device;
  std::string space;
  std::string arch;
  std::string session;
  std::size_t max_kernels = 0;
  std::size_t whole = 0;  // networks to measure as wholes, beside the kernels
  std::string engine;
  std::string design = "all";
  double sure = 0.1;  // cover: a predicted kernel's 90 % interval, relative
  bool dry_run = false;
  bool unsteady = false;
  bool fresh = false;
  bool fusion = false;
  latency::ProfileOptions options;
};

std::atomic<bool> interrupted{false};

Precision bits_of(const std::string& precision) {
  const std::uint8_t bits = precision == "int8" ? 8 : 32;
  return {bits, bits};
}

// An architecture as text, or a file that holds it as text or as JSON genes.
Result<Genotype> read_arch(const SearchSpace& space, const std::string& arch) {
  std::error_code ignored;
  if (!fs::is_regular_file(arch, ignored)) return space.parse(arch);
  NAS_TRY(text, read_file(arch, 1 << 20));
  if (const auto genes = space.from_json(text, arch)) return *genes;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return space.parse(text);
}

Result<latency::KernelSet> wanted_kernels(const ProfileCommand& command, const devices::DeviceProfile& device,
                                          const std::string& precision) {
  NAS_TRY(space, open_space(command.space));
  if (command.arch.empty()) return latency::reachable_kernels(space, device.fusion, bits_of(precision));
  NAS_TRY(genotype, read_arch(space, command.arch));
  return latency::kernels_of(std::vector{space.lower(genotype)}, device.fusion, bits_of(precision));
}

fs::path session_path(const Context& context, const ProfileCommand& command, const std::string& device,
                      const std::string& precision) {
  if (!command.session.empty()) return command.session;
  return fs::path(context.project) / "sessions" /
         (device + "-" + precision + "-" + fs::path(command.space).stem().string() + ".jsonl");
}

Result<int> print_plan(const Context& context, const ProfileCommand& command,
                       const devices::DeviceProfile& device, const latency::KernelSet& set,
                       std::size_t chosen, const latency::TimeEstimate& time) {
  Record record{{"device", device.name},
                {"space", command.space},
                {"reachable_kernels", set.kernels.size()},
                {"exact", set.exact},
                {"coverage", set.coverage},
                {"lowered", set.lowered},
                {"to_measure", chosen},
                {"estimated_seconds", time.seconds},
                {"estimate_from", time.basis},
                {"unit", device.unit()}};
  print_record(context,
               {{"device", "device"},
                {"space", "space"},
                {"reachable_kernels", "reachable kernels"},
                {"exact", "every genotype looked at"},
                {"coverage", "share of a random network's kernels covered"},
                {"lowered", "networks lowered"},
                {"to_measure", "to measure"},
                {"estimated_seconds", "about", "s"},
                {"estimate_from", "known from"},
                {"unit", "unit"}},
               record);
  return 0;
}

// The kernels that the session file does not hold yet; with --unsteady those that were not steady.
std::vector<Kernel> still_open(const std::vector<Kernel>& kernels, const latency::Session& session,
                               bool unsteady) {
  std::map<std::string, bool> known;
  for (const KernelRecord& r : session.kernels)
    if (r.failure.empty() && !r.provisional) known[r.signature] = r.steady;
  std::vector<Kernel> open;
  for (const Kernel& kernel : kernels) {
    const auto found = known.find(signature(kernel));
    if (unsteady ? found != known.end() && !found->second : found == known.end()) open.push_back(kernel);
  }
  return open;
}

Result<int> summarise_session(const Context& context, const latency::SessionLog& log, const fs::path& path,
                              double seconds) {
  std::size_t failed = 0, unsteady = 0;
  std::set<std::string> reasons;
  for (const KernelRecord& r : log.session().kernels) {
    failed += !r.failure.empty();
    unsteady += r.failure.empty() && !r.steady;
    if (!r.failure.empty() && reasons.size() < 5) reasons.insert(r.failure);
  }
  for (const std::string& reason : reasons) std::fprintf(stderr, "not measured: %s\n", reason.c_str());
  const std::size_t total = log.session().kernels.size();
  Record record{{"device", log.session().info.device},
                {"precision", log.session().info.precision},
                {"unit", log.session().info.unit},
                {"measured", total - failed},
                {"failed", failed},
                {"unsteady", unsteady},
                {"seconds", seconds},
                {"session", path.string()}};
  print_record(context,
               {{"device", "device"},
                {"precision", "precision"},
                {"unit", "unit (measured)"},
                {"measured", "kernels measured"},
                {"failed", "kernels without a number"},
                {"unsteady", "unsteady"},
                {"seconds", "took", "s"},
                {"session", "session"}},
               record);
  if (interrupted) return 130;
  return failed == 0 ? 0 : 6;
}

void print_coverage(const latency::Coverage& c, double sure) {
  std::fprintf(stderr,
               "of %zu reachable kernels: %zu measured, %zu predicted within +-%.0f %%, %zu less surely, %zu "
               "not at all\n",
               c.kernels, c.measured, c.sure, 100 * sure, c.unsure, c.unknown);
}

// Random networks of the space that the session does not hold yet.
Result<std::vector<latency::NamedNetwork>> open_networks(const ProfileCommand& command,
                                                         const latency::Session& session) {
  NAS_TRY(space, open_space(command.space));
  std::set<std::string> known;
  for (const KernelRecord& r : session.kernels)
    if (r.failure.empty() && !r.provisional) known.insert(r.signature);
  std::vector<latency::NamedNetwork> networks;
  for (std::size_t i = 0; i < command.whole; ++i) {
    Rng rng(command.options.measure.seed, "whole networks", i);
    const Genotype genotype = space.sample(rng);
    const std::string name = space.text(genotype);
    if (known.insert(latency::kNetworkPrefix + name).second)
      networks.push_back({name, space.lower(genotype)});
  }
  return networks;
}

// Everything that a profiling works with once its device is locked.
struct Job {
  const ProfileCommand& command;
  const devices::DeviceProfile& device;
  const latency::ProfileOptions& options;
  latency::SessionInfo& info;
  latency::SessionLog& log;
  latency::ProfileHooks hooks;
};

// Measures on in a session: against the baseline of what it holds already, whose reference kernel is visited
// again.
Result<void> measure_on(Job& job, std::vector<Kernel> kernels,
                        const std::vector<latency::NamedNetwork>& networks) {
  latency::ProfileOptions options = job.options;
  options.earlier = job.log.session().kernels;
  const auto& context = job.log.session().info.context;
  if (const auto known = context.find("reference"); known != context.end() && !options.earlier.empty()) {
    options.reference = known->second;
    const auto reference = parse_signature(known->second);
    if (reference && !kernels.empty() &&
        std::ranges::find(kernels, known->second, signature) == kernels.end())
      kernels.push_back(*reference);
  }
  return latency::profile_with_networks(job.device, kernels, networks, options, job.info, job.hooks);
}

// Half of the budget fills the space; the rest goes, an eighth at a time, where measuring is expected to
// teach most of the kernels of which the table is not sure.
Result<void> measure_cover(Job& job, const std::vector<Kernel>& all, std::size_t budget) {
  const auto measured = [&] {
    return latency::coverage_of(all, job.log.session(), job.command.sure).measured;
  };
  std::vector<Kernel> next = latency::space_filling(all, std::max<std::size_t>(1, (budget + 1) / 2));
  for (;;) {
    NAS_CHECK(measure_on(job, still_open(next, job.log.session(), false), {}));
    const std::size_t done = measured();
    if (interrupted || done >= budget) return {};
    const std::size_t share = std::min(budget - done, std::max<std::size_t>(4, budget / 8));
    NAS_TRY(chosen, latency::next_kernels(all, job.log.session(), share, job.command.sure));
    if (chosen.empty()) return {};
    next = std::move(chosen);
  }
}

// With --whole, random networks are measured among the kernels, or after a cover is found.
Result<void> measure_job(Job& job, const std::vector<Kernel>& all, const std::vector<Kernel>& open,
                         bool cover, std::size_t budget, const std::vector<latency::NamedNetwork>& networks) {
  if (cover) NAS_CHECK(measure_cover(job, all, budget));
  if (interrupted) return {};
  return measure_on(job, cover ? std::vector<Kernel>{} : open, networks);
}

Result<int> measure_and_store(const Context& context, const ProfileCommand& command,
                              const devices::DeviceProfile& device, const latency::ProfileOptions& options,
                              latency::SessionInfo info, const std::vector<Kernel>& all, std::size_t wanted) {
  ::signal(SIGINT, [](int) { interrupted = true; });
  const fs::path path = session_path(context, command, device.name, info.precision);
  if (command.fresh) fs::remove(path);
  NAS_TRY(log, latency::SessionLog::open(path, info));
  NAS_TRY(stored, StoredSession::open(context, device, log.session().info));
  NAS_CHECK(stored.add_missing(log.session()));
  const bool cover = command.design == "cover" && !command.unsteady;
  const std::vector<Kernel> open = still_open(all, log.session(), command.unsteady);
  const auto begin = std::chrono::steady_clock::now();
  {
    NAS_TRY(networks, open_networks(command, log.session()));
    Progress progress("profile " + device.name, (cover ? wanted : open.size()) + networks.size(),
                      context.quiet);
    std::size_t finished = 0;
    latency::ProfileHooks hooks;
    hooks.begun = [&](const latency::SessionInfo& now) { return log.add_context(now.context); };
    hooks.done = [&](const KernelRecord& record) -> Result<void> {
      NAS_CHECK(log.add(record));
      return stored.add(record);
    };
    hooks.progress = [&](std::size_t, std::size_t, const std::string& what) {
      progress.update(++finished, what);
    };
    hooks.stop = [] { return interrupted.load(); };
    // A disk that is full shows with the next record.
    hooks.state = [&](const latency::DeviceState& state) { static_cast<void>(log.add(state)); };
    Job job{command, device, options, info, log, hooks};
    NAS_CHECK(measure_job(job, all, open, cover, wanted, networks));
  }
  NAS_CHECK(log.add_context(info.context));
  NAS_CHECK(stored.close(!interrupted));
  if (cover) print_coverage(latency::coverage_of(all, log.session(), command.sure), command.sure);
  return summarise_session(context, log, path,
                           std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

Result<int> run_profile(const Context& context, const ProfileCommand& command) {
  const fs::path folder = fs::path(context.project) / "devices";
  NAS_TRY(name, device_with_engine(command.device, command.engine, folder));
  NAS_TRY(device, devices::load_profile(name, folder));
  latency::ProfileOptions options = command.options;
  options.parts = engine_parts();
  options.cache = devices::cache_folder() / "builds";
  options.space = command.space;
  NAS_TRY(info, latency::describe_session(device, options));
  if (!command.fusion && command.space.empty())
    return usage_error("profile needs --space (what the kernels are for), found none");
  const fs::path locks = devices::cache_folder() / "locks";
  const std::int64_t now = std::time(nullptr);
  latency::KernelSet set;
  std::size_t wanted = 0;
  if (!command.fusion) {
    NAS_TRY(found, wanted_kernels(command, device, info.precision));
    set = std::move(found);
    wanted =
        command.max_kernels == 0 ? set.kernels.size() : std::min(command.max_kernels, set.kernels.size());
    if (command.design == "cover" && command.max_kernels == 0) wanted = (set.kernels.size() + 2) / 3;
  }
  const std::vector<Kernel> filling = latency::space_filling(set.kernels, wanted);
  if (command.design == "all") wanted = filling.size();
  if (command.dry_run) {
    const auto busy = devices::DeviceLock::look(locks, device.name, now);
    return print_plan(context, command, device, set, wanted,
                      latency::estimated_seconds(device, filling, options, busy && !*busy));
  }
  NAS_TRY(lock, devices::DeviceLock::take(locks,
                                          {device.name, devices::lock_owner(), "profile " + command.space,
                                           ::getpid(), now + 12 * 3600},
                                          now));
  ProfileCommand ready = command;
  ready.options = options;
  if (command.fusion) return test_fusion_pairs(context, device, options, info);
  if (!context.quiet)
    std::fprintf(stderr, "%zu of %zu reachable kernels (%.2f %% of a random network's)\n", wanted,
                 set.kernels.size(), 100 * set.coverage);
  return measure_and_store(context, command, device, options, info,
                           command.design == "cover" ? set.kernels : filling, wanted);
}

}  // namespace

void add_profile_commands(CLI::App& app, Context& context) {
  auto command = std::make_shared<ProfileCommand>();
  CLI::App* profile = add_command(
      app, "profile", "Measure the kernels of a space on a device: its latency table",
      {"hwnas profile host --space cifar-mbv3 --dry-run", "hwnas profile cortex-m4-qemu --space tiny"});
  profile->add_option("device", command->device, "A device of `hwnas device list`, or a profile (FILE.json)")
      ->required();
  profile->add_option("--space", command->space,
                      "A built-in space, a JSON file, or a sweep's .jsonl for the space as trained");
  profile->add_option("--network", command->arch,
                      "Only this architecture of the space: text, or a file with it");
  profile
      ->add_option("--engine", command->engine,
                   "What runs the kernels, instead of the device's own: its profile is DEVICE-ENGINE")
      ->check(CLI::IsMember({"c", "torch", "onnxruntime", "tflite"}));
  profile->add_option("--precision", command->options.precision, "int8 or fp32; default: the device's first");
  profile
      ->add_option("--design", command->design,
                   "all: every reachable kernel; cover: as few as the table's own errors allow")
      ->check(CLI::IsMember({"all", "cover"}));
  profile->add_option("--max-kernels,--budget", command->max_kernels,
                      "Measure that many at most; cover: default a third");
  profile->add_option("--sure", command->sure, "cover: the 90 % interval that is narrow enough, relative")
      ->check(CLI::Range(0.001, 10.0));
  profile->add_flag("--energy", command->options.energy,
                    "Also read this machine's energy counter (RAPL) for each kernel");
  profile->add_option("--whole", command->whole,
                      "Also measure that many random networks as wholes: what `hwnas predict` learns from");
  profile->add_option("--session", command->session, "The session's file; one that exists is continued");
  auto& m = command->options.measure;
  profile->add_option("--num-runs", m.num_runs, "Samples of a kernel at least")->check(CLI::Range(1, 100000));
  profile->add_option("--warmup-runs", m.warmup_runs, "Runs before every visit")->check(CLI::Range(0, 10000));
  profile->add_option("--max-secs", m.max_secs, "Measuring time of one kernel at most")
      ->check(CLI::Range(0.001, 3600.0));
  profile->add_option("--half-width", m.half_width, "Stop when the interval is +- this share of the median")
      ->check(CLI::Range(1e-6, 1.0));
  profile->add_option("--reference-every", m.reference_every,
                      "Visits between two of the reference kernel; 0: no drift correction");
  profile->add_option("--seed", m.seed, "Seed of the measuring order");
  profile
      ->add_option("--num-threads", command->options.threads,
                   "Threads of the engine; generated C runs on one")
      ->check(CLI::Range(1, 256));
  profile->add_option("--taskset", command->options.taskset, "Cores of the agent, a hexadecimal mask");
  profile->add_flag("--cold", command->options.cold, "Evict the caches before every sample");
  profile->add_flag("--dry-run", command->dry_run, "Say what would be measured and how long it takes");
  profile->add_flag("--unsteady", command->unsteady, "Only measure again what was not steady in the session");
  profile->add_flag("--fresh", command->fresh, "Throw an existing session file away");
  profile->add_flag("--fusion-test", command->fusion, "Test which pairs of layers the engine fuses, instead");
  profile->callback([&context, command] {
    context.action = [&context, command] { return run_profile(context, *command); };
  });
}

}  // namespace nas::apps
