#include "devices/transport.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "devices/failure.h"
#include "space/base/file.h"

namespace nas::devices {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// adb has no exit status on old devices, and ssh's 255 may be the program's own: the status comes as a last
// line.
constexpr std::string_view kStatusMark = "hwnas-status ";

// Takes the status line off the output; empty when it is not there.
std::optional<int> take_status(std::string& output) {
  const std::size_t at = output.rfind(kStatusMark);
  if (at == std::string::npos) return {};
  int status = 0;
  const char* begin = output.data() + at + kStatusMark.size();
  if (std::from_chars(begin, output.data() + output.size(), status).ec != std::errc{}) return {};
  output.resize(at);
  return status;
}

std::string last_words(const Finished& finished) {
  std::string words = finished.errors.empty() ? finished.output : finished.errors;
  while (!words.empty() && (words.back() == '\n' || words.back() == '\r')) words.pop_back();
  return words.size() > 300 ? words.substr(words.size() - 300) : words;
}

}  // namespace

std::string shell_quote(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

Result<Transport> Transport::make(const TransportSpec& spec) {
  if (spec.kind != TransportKind::local && spec.kind != TransportKind::ssh && spec.kind != TransportKind::adb)
    return usage_error("programs can be sent over local, ssh and adb, found " +
                       std::string(to_string(spec.kind)));
  if (spec.kind == TransportKind::ssh && spec.address.empty())
    return usage_error("transport ssh needs an address ([user@]host), found none");
  return Transport(spec);
}

std::vector<std::string> Transport::shell(const std::string& shell_command) const {
  switch (spec_.kind) {
    case TransportKind::ssh: {
      std::vector<std::string> command{"ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-T"};
      if (spec_.port != 0) command.insert(command.end(), {"-p", std::to_string(spec_.port)});
      command.insert(command.end(), spec_.options.begin(), spec_.options.end());
      command.insert(command.end(), {spec_.address, shell_command});
      return command;
    }
    case TransportKind::adb: {
      std::vector<std::string> command{"adb"};
      if (!spec_.address.empty()) command.insert(command.end(), {"-s", spec_.address});
      command.insert(command.end(), {"shell", "-T", shell_command});
      return command;
    }
    default:
      return {"sh", "-c", shell_command};
  }
}

std::string Transport::remote(const std::string& name) const { return spec_.folder + "/" + name; }

Result<Finished> Transport::checked_shell(const std::string& shell_command,
                                          std::chrono::milliseconds timeout) const {
  const std::string where = std::string(to_string(spec_.kind)) + " " + spec_.address;
  const auto finished =
      run_process({.arguments = shell("( " + shell_command + " ); echo " + std::string(kStatusMark) + "$?"),
                   .timeout = timeout});
  if (!finished) return device_failure(Failure::not_responding, finished.error().message, where);
  Finished result = *finished;
  if (result.timed_out)
    return device_failure(Failure::timed_out, "no end in " + std::to_string(timeout.count()) + " ms", where);
  const std::optional<int> status = take_status(result.output);
  if (!status) return device_failure(Failure::not_responding, last_words(result), where);
  result.exit_code = *status;
  // A shell reports a program that died by signal N as 128 + N.
  if (result.exit_code > 128 && result.exit_code < 160) result.signal = result.exit_code - 128;
  return result;
}

Result<void> Transport::connect() const {
  auto answer = checked_shell("echo hwnas", 20s);
  if (!answer && failure_of(answer.error()) == Failure::not_responding)
    answer = checked_shell("echo hwnas", 20s);
  if (!answer) return answer.error();
  if (answer->output.find("hwnas") == std::string::npos)
    return device_failure(Failure::rejected, "its shell must echo, found " + last_words(*answer),
                          spec_.address);
  return {};
}

Result<void> Transport::push(const fs::path& file, const std::string& name) const {
  NAS_TRY(sum, sha256_file(file));
  const std::string target = shell_quote(remote(name));
  const auto same = checked_shell("sha256sum " + target, 30s);
  if (same && same->exit_code == 0 && same->output.starts_with(sum)) return {};
  NAS_TRY(made, checked_shell("mkdir -p " + shell_quote(spec_.folder), 20s));
  if (!made.ok())
    return device_failure(Failure::rejected, "the folder cannot be made: " + last_words(made), spec_.folder);
  const std::string part = remote(name + ".part");
  if (spec_.kind == TransportKind::adb) {
    std::vector<std::string> command{"adb"};
    if (!spec_.address.empty()) command.insert(command.end(), {"-s", spec_.address});
    command.insert(command.end(), {"push", file.string(), part});
    NAS_TRY(pushed, run_process({.arguments = command, .timeout = 120s}));
    if (!pushed.ok())
      return device_failure(pushed.timed_out ? Failure::timed_out : Failure::not_responding,
                            "the file was not taken: " + last_words(pushed), spec_.address);
  } else {
    NAS_TRY(content, read_file(file, std::uint64_t{1} << 30));
    NAS_TRY(
        pushed,
        run_process({.arguments = shell("cat > " + shell_quote(part)), .timeout = 120s, .input = content}));
    if (!pushed.ok())
      return device_failure(pushed.timed_out ? Failure::timed_out : Failure::not_responding,
                            "the file was not taken: " + last_words(pushed), spec_.address);
  }
  NAS_TRY(
      moved,
      checked_shell("chmod 755 " + shell_quote(part) + " && mv -f " + shell_quote(part) + " " + target, 30s));
  if (moved.ok()) return {};
  return device_failure(Failure::rejected, "the file cannot be put in place: " + last_words(moved),
                        remote(name));
}

Result<Finished> Transport::run(const std::string& name, const std::vector<std::string>& arguments,
                                std::chrono::milliseconds timeout) const {
  std::string command = "cd " + shell_quote(spec_.folder) + " && ./" + shell_quote(name);
  for (const std::string& argument : arguments) command += " " + shell_quote(argument);
  return checked_shell(command, timeout);
}

Result<ByteStream> Transport::start(const std::string& name,
                                    const std::vector<std::string>& arguments) const {
  std::string command = "cd " + shell_quote(spec_.folder) + " && exec ./" + shell_quote(name);
  for (const std::string& argument : arguments) command += " " + shell_quote(argument);
  return ByteStream::start(shell(command));
}

Result<std::string> Transport::pull(const std::string& name) const {
  const auto finished =
      run_process({.arguments = shell("cat " + shell_quote(remote(name))), .timeout = 120s});
  if (!finished) return device_failure(Failure::not_responding, finished.error().message, spec_.address);
  if (finished->timed_out) return device_failure(Failure::timed_out, "the file did not come", remote(name));
  if (!finished->ok()) return device_failure(Failure::rejected, last_words(*finished), remote(name));
  return finished->output;
}

Result<void> Transport::remove(const std::string& name) const {
  NAS_TRY(finished, checked_shell("rm -f " + shell_quote(remote(name)), 20s));
  if (!finished.ok()) return device_failure(Failure::rejected, last_words(finished), remote(name));
  return {};
}

Result<std::map<std::string, std::string>> Transport::probe() const {
  NAS_TRY(finished,
          checked_shell("echo machine $(uname -m); echo kernel $(uname -r); echo cores $(nproc); "
                        "echo memory_kb $(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)",
                        20s));
  std::map<std::string, std::string> words;
  std::istringstream lines(finished.output);
  for (std::string line; std::getline(lines, line);)
    if (const std::size_t space = line.find(' '); space != std::string::npos)
      words[line.substr(0, space)] = line.substr(space + 1);
  return words;
}

}  // namespace nas::devices
