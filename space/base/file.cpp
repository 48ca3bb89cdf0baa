#include "space/base/file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace nas {
namespace {

Error io_error(const char* what, const std::filesystem::path& path) {
  return {std::string(what) + ": " + std::strerror(errno), path.string()};
}

// Owns a file descriptor.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

bool write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::string hex(std::span<const unsigned char> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char b : bytes) {
    text += kDigits[b >> 4];
    text += kDigits[b & 15];
  }
  return text;
}

using Digest = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

Digest new_digest() {
  Digest digest(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  return digest;
}

std::string finish(Digest digest) {
  std::array<unsigned char, 32> bytes{};
  unsigned length = 0;
  EVP_DigestFinal_ex(digest.get(), bytes.data(), &length);
  return hex(bytes);
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t limit) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return io_error("cannot open", path);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return io_error("cannot stat", path);
  if (!S_ISREG(info.st_mode)) return Error{"not a regular file", path.string()};
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > limit)
    return Error{"holds " + std::to_string(size) + " bytes; at most " + std::to_string(limit) + " are read",
                 path.string()};
  std::string content(size, '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(file.fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot read", path);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  content.resize(done);
  return content;
}

Result<void> write_file(const std::filesystem::path& path, std::string_view content) {
  static std::atomic<unsigned> serial{0};
  std::error_code failed;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), failed);
  if (failed) return Error{"cannot make the folder: " + failed.message(), path.parent_path().string()};
  const std::string beside =
      path.string() + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(serial++);
  bool written = false;
  {
    const Descriptor file{::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (file.fd < 0) return io_error("cannot create", path);
    written = write_all(file.fd, content) && ::fsync(file.fd) == 0;
  }
  if (written && std::rename(beside.c_str(), path.c_str()) == 0) return {};
  const Error error = io_error("cannot write", path);
  std::remove(beside.c_str());
  return error;
}

std::string sha256(std::string_view content) {
  Digest digest = new_digest();
  EVP_DigestUpdate(digest.get(), content.data(), content.size());
  return finish(std::move(digest));
}

Result<std::string> sha256_file(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return io_error("cannot open", path);
  Digest digest = new_digest();
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t n = ::read(file.fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot read", path);
    if (n == 0) return finish(std::move(digest));
    EVP_DigestUpdate(digest.get(), buffer.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace nas
