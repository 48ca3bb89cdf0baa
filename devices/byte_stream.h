#pragma once
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::devices {

// A line to a device: a child's standard input and output, a serial tty or a TCP connection. Owns its
// descriptors and its child; destroying it kills the child's process group. Not for several threads.
class ByteStream {
 public:
  // Starts a program (looked up in PATH unless it holds a slash) whose stdin and stdout are the line.
  // Its stderr is collected for take_errors().
  static Result<ByteStream> start(const std::vector<std::string>& arguments);
  // Opens a tty raw, 8N1, at one of the usual rates (9600 … 921600).
  static Result<ByteStream> open_tty(const std::string& path, int baud);
  static Result<ByteStream> open_tcp(const std::string& host, int port, std::chrono::milliseconds timeout);
  // Takes over two descriptors (they may be the same), for tests and for lines made elsewhere.
  static ByteStream from_descriptors(int read_fd, int write_fd, std::string name);

  ByteStream(ByteStream&& other) noexcept;
  ByteStream& operator=(ByteStream&& other) noexcept;
  ~ByteStream();

  // At least one byte, or the failure: timed out; crashed with the child's end; not responding when the line
  // was closed.
  Result<std::size_t> read(std::span<std::uint8_t> into, std::chrono::milliseconds timeout);
  Result<void> write(std::span<const std::uint8_t> bytes, std::chrono::milliseconds timeout);

  // What the child wrote to stderr since the last call.
  std::string take_errors();
  // Closes the line, waits up to `patience` for the child to end by itself, then kills it.
  void close(std::chrono::milliseconds patience = std::chrono::milliseconds(0));
  const std::string& name() const { return name_; }
  int process() const { return pid_; }

 private:
  ByteStream() = default;
  void drain_errors();
  Error ended();

  int read_fd_ = -1;
  int write_fd_ = -1;
  int error_fd_ = -1;
  int pid_ = 0;
  std::string errors_;
  std::string name_;
};

}  // namespace nas::devices
