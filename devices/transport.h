#pragma once
#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "devices/byte_stream.h"
#include "devices/process.h"
#include "devices/profile.h"
#include "space/base/result.h"

namespace nas::devices {

// A way to a device that can take files and run programs: local, ssh or adb. Stateless; every call has its
// time-out, and those that change nothing on the way are tried again once. ssh and adb are run as programs.
class Transport {
 public:
  // Fails for transports that run no programs (serial, qemu).
  static Result<Transport> make(const TransportSpec& spec);

  // Reachable, and able to run a command.
  Result<void> connect() const;
  // Puts a local file into the device's folder under `name`, executable; a file of equal content is left
  // alone.
  Result<void> push(const std::filesystem::path& file, const std::string& name) const;
  // Runs a pushed program to its end.
  Result<Finished> run(const std::string& name, const std::vector<std::string>& arguments,
                       std::chrono::milliseconds timeout) const;
  // Starts a pushed program; its stdin and stdout are the line.
  Result<ByteStream> start(const std::string& name, const std::vector<std::string>& arguments) const;
  // The content of a file of the device's folder.
  Result<std::string> pull(const std::string& name) const;
  Result<void> remove(const std::string& name) const;
  // Words about the machine: "machine" (uname -m), "kernel", "cores", "memory_kb".
  Result<std::map<std::string, std::string>> probe() const;

 private:
  explicit Transport(TransportSpec spec) : spec_(std::move(spec)) {}
  // The command of this machine that has `shell_command` run on the device.
  std::vector<std::string> shell(const std::string& shell_command) const;
  Result<Finished> checked_shell(const std::string& shell_command, std::chrono::milliseconds timeout) const;
  std::string remote(const std::string& name) const;
  TransportSpec spec_;
};

// One shell word, quoted.
std::string shell_quote(const std::string& word);

}  // namespace nas::devices
