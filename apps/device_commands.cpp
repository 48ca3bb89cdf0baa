#include <ctime>
#include <memory>

#include "apps/command.h"
#include "devices/agent_client.h"
#include "devices/device_lock.h"
#include "devices/kernel_writer.h"
#include "devices/profile.h"
#include "devices/transport.h"
#include "latency/measure/profiler.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;
using devices::DeviceProfile;

struct DeviceOptions {
  std::string device;
  std::string like;
  std::string address;
  std::string folder;
  int port = 0;
  int baud = 0;
  std::string reason = "taken by hand";
  int minutes = 60;
};

fs::path devices_folder(const Context& context) { return fs::path(context.project) / "devices"; }
fs::path locks_folder() { return devices::cache_folder() / "locks"; }

Result<int> list_devices(const Context& context) {
  std::vector<Record> records;
  for (const std::string& name : devices::profile_names(devices_folder(context))) {
    NAS_TRY(profile, devices::load_profile(name, devices_folder(context)));
    NAS_TRY(lock, devices::DeviceLock::look(locks_folder(), profile.name, std::time(nullptr)));
    records.push_back({{"name", profile.name},
                       {"kind", profile.kind},
                       {"engine", profile.engine},
                       {"core", profile.core},
                       {"transport", devices::to_string(profile.transport.kind)},
                       {"unit", profile.unit()},
                       {"locked_by", lock ? lock->owner : ""},
                       {"description", profile.description}});
  }
  print_records(context,
                {{"name", "device"},
                 {"kind", "kind"},
                 {"engine", "engine"},
                 {"core", "core"},
                 {"transport", "transport"},
                 {"unit", "unit"},
                 {"locked_by", "locked by"},
                 {"description", "description"}},
                records);
  return 0;
}

Result<int> show_device(const Context& context, const DeviceOptions& options) {
  NAS_TRY(profile, devices::load_profile(options.device, devices_folder(context)));
  NAS_TRY(text, devices::profile_text(options.device, devices_folder(context)));
  std::puts(Record::parse(text, nullptr, false, true).dump(2).c_str());
  return 0;
}

// Writes the profile of a new device: a file as it is, or a known one with another address.
Result<int> add_device(const Context& context, const DeviceOptions& options) {
  std::string text;
  if (options.device.ends_with(".json")) {
    NAS_TRY(content, read_file(options.device, 1 << 20));
    text = content;
  } else {
    if (options.like.empty())
      return usage_error(
          "a new device needs a profile (FILE.json), or --like with a known device to start from");
    NAS_TRY(base, devices::profile_text(options.like, devices_folder(context)));
    Record json = Record::parse(base, nullptr, false, true);
    json["name"] = options.device;
    if (!options.address.empty()) json["transport"]["address"] = options.address;
    if (!options.folder.empty()) json["transport"]["folder"] = options.folder;
    if (options.port != 0) json["transport"]["port"] = options.port;
    if (options.baud != 0) json["transport"]["baud"] = options.baud;
    text = json.dump(2) + "\n";
  }
  NAS_TRY(profile, devices::parse_profile(text, options.device));
  const fs::path path = devices_folder(context) / (profile.name + ".json");
  if (fs::exists(path)) return usage_error("device " + profile.name + " exists already", path.string());
  NAS_CHECK(write_file(path, text));
  print_record(context, {{"name", "device"}, {"file", "file"}},
               {{"name", profile.name}, {"file", path.string()}});
  return 0;
}

// One small kernel through the whole chain: compiler, transport, agent, clock or counter.
Result<int> test_device(const Context& context, const DeviceOptions& options) {
  NAS_TRY(profile, devices::load_profile(options.device, devices_folder(context)));
  NAS_TRY(lock, devices::DeviceLock::take(locks_folder(),
                                          {profile.name, devices::lock_owner(), "device test", ::getpid(),
                                           std::time(nullptr) + 600},
                                          std::time(nullptr)));
  latency::ProfileOptions how;
  how.cache = devices::cache_folder() / "builds";
  how.measure.max_secs = 0.5;
  NAS_TRY(info, latency::describe_session(profile, how));
  const std::string bits = info.precision == "int8" ? " w8a8 i8" : " w32a32 i32";
  NAS_TRY(kernel, parse_signature("conv k3 s1 p1 g1 8x8x8->16x8x8" + bits));
  latency::KernelRecord result;
  latency::ProfileHooks hooks;
  hooks.done = [&](const latency::KernelRecord& record) -> Result<void> {
    result = record;
    return {};
  };
  NAS_CHECK(latency::profile_kernels(profile, std::vector{kernel}, how, info, hooks));
  if (!result.failure.empty()) return Error{result.failure, profile.name, ErrorKind::device};
  Record record{
      {"device", profile.name}, {"kernel", result.signature}, {"median", result.median}, {"unit", info.unit}};
  std::vector<Column> columns{
      {"device", "device"}, {"kernel", "kernel"}, {"median", "median"}, {"unit", "unit"}};
  for (const auto& [key, value] : info.context) {
    record[key] = value;
    columns.push_back({key, key});
  }
  print_record(context, columns, record);
  return 0;
}

Result<int> lock_device(const Context& context, const DeviceOptions& options) {
  NAS_TRY(profile, devices::load_profile(options.device, devices_folder(context)));
  const std::int64_t now = std::time(nullptr);
  NAS_TRY(lock,
          devices::DeviceLock::take(
              locks_folder(),
              {profile.name, devices::lock_owner(), options.reason, 0, now + 60 * options.minutes}, now));
  lock.keep();
  print_record(context, {{"name", "locked"}, {"minutes", "for", "minutes"}},
               {{"name", profile.name}, {"minutes", options.minutes}});
  return 0;
}

Result<int> unlock_device(const Context& context, const DeviceOptions& options) {
  NAS_TRY(profile, devices::load_profile(options.device, devices_folder(context)));
  const bool was = devices::DeviceLock::release(locks_folder(), profile.name);
  print_record(context, {{"name", "device"}, {"was_locked", "was locked"}},
               {{"name", profile.name}, {"was_locked", was}});
  return 0;
}

}  // namespace

void add_device_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<DeviceOptions>();
  CLI::App* group = add_command(app, "device", "Devices: what networks run on and how to reach it",
                                {"hwnas device list", "hwnas device test cortex-m4-qemu"});
  group->require_subcommand(0, 1);
  using Verb = Result<int> (*)(const Context&, const DeviceOptions&);
  const auto verb = [&](const char* name, const char* description, const char* example, Verb run) {
    CLI::App* command = add_command(*group, name, description, {example});
    command
        ->add_option("device", options->device, "A device of `hwnas device list`, or a profile (FILE.json)")
        ->required();
    command->callback([&context, options, run] {
      context.action = [&context, options, run] { return run(context, *options); };
    });
    return command;
  };
  add_command(*group, "list", "All devices, shipped ones and the project's", {"hwnas device list -f json"})
      ->callback([&context] { context.action = [&context] { return list_devices(context); }; });
  verb("show", "The profile of a device", "hwnas device show cortex-m4-qemu", show_device);
  verb("test", "Compile, send, run and time one small kernel", "hwnas device test host", test_device);
  verb("unlock", "Remove the lock of a device, whoever holds it", "hwnas device unlock my-phone",
       unlock_device);
  CLI::App* add = verb("add", "Add a device to the project",
                       "hwnas device add my-board --like aarch64-a72-ssh --address me@board", add_device);
  add->add_option("--like", options->like, "The known device to start from");
  add->add_option("--address", options->address, "ssh: [user@]host; adb: serial number; serial: tty");
  add->add_option("--folder", options->folder, "Where programs are put on the device");
  add->add_option("--port", options->port, "ssh port")->check(CLI::Range(1, 65535));
  add->add_option("--baud", options->baud, "Rate of a serial line");
  CLI::App* lock = verb("lock", "Keep a device for oneself",
                        "hwnas device lock my-phone --reason 'charging' --minutes 30", lock_device);
  lock->add_option("--reason", options->reason, "Shown to others");
  lock->add_option("--minutes", options->minutes, "How long")->check(CLI::Range(1, 100000));
}

}  // namespace nas::apps
