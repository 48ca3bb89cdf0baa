#include "supernet/data/cache_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace nas::data {
namespace {

constexpr std::uint64_t kPixelStart = 4096;
constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 32;

struct Header {
  std::array<char, 8> magic = {'H', 'W', 'N', 'A', 'S', 'I', 'M', 'G'};
  std::uint32_t version = 1;
  std::uint32_t side = 0;
  std::uint64_t count = 0;
  std::uint64_t index_bytes = 0;
  Hash128 index_hash;
};

Error system_error(const char* what, const std::filesystem::path& path) {
  return {std::string(what) + ": " + std::strerror(errno), path.string()};
}

// Appends fixed-size values and counted texts.
class Packer {
 public:
  template <class T>
  void value(const T& v) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&v);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof v);
  }
  void text(const std::string& s) {
    value(static_cast<std::uint32_t>(s.size()));
    bytes_.insert(bytes_.end(), s.begin(), s.end());
  }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
};

// Reads them back; after the first short read everything is zero and ok() false.
class Unpacker {
 public:
  explicit Unpacker(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  template <class T>
  T value() {
    T v{};
    if (!take(sizeof v)) return v;
    std::memcpy(&v, taken_, sizeof v);
    return v;
  }
  std::string text() {
    const auto size = value<std::uint32_t>();
    if (!take(size)) return {};
    return {reinterpret_cast<const char*>(taken_), size};
  }
  // A list length that the remaining bytes can hold at `least` bytes an entry.
  std::uint64_t count(std::uint64_t n, std::uint64_t least) {
    if (n > rest_.size() / least) ok_ = false;
    return ok_ ? n : 0;
  }
  bool ok() const { return ok_; }
  bool finished() const { return ok_ && rest_.empty(); }

 private:
  bool take(std::size_t size) {
    if (!ok_ || size > rest_.size()) return ok_ = false;
    taken_ = rest_.data();
    rest_ = rest_.subspan(size);
    return true;
  }
  std::span<const std::uint8_t> rest_;
  const std::uint8_t* taken_ = nullptr;
  bool ok_ = true;
};

std::vector<std::uint8_t> pack(const StoreIndex& index) {
  Packer out;
  out.text(index.description);
  out.text(index.fingerprint);
  out.value(static_cast<std::uint64_t>(index.classes.size()));
  for (const auto& name : index.classes) out.text(name);
  for (std::size_t i = 0; i < index.labels.size(); ++i) {
    out.value(index.labels[i]);
    out.value(static_cast<std::uint8_t>(index.parts[i]));
    out.value(index.contents[i]);
    out.text(index.names[i]);
  }
  out.value(static_cast<std::uint64_t>(index.bad.size()));
  for (const auto& bad : index.bad) {
    out.text(bad.name);
    out.text(bad.reason);
  }
  return out.bytes();
}

bool unpack_items(Unpacker& in, std::uint64_t count, StoreIndex& index) {
  for (std::uint64_t i = 0, n = in.count(count, 25); i < n && in.ok(); ++i) {
    const auto label = in.value<std::uint32_t>();
    const auto part = in.value<std::uint8_t>();
    if (label >= index.classes.size() || part > static_cast<std::uint8_t>(Part::test)) return false;
    index.labels.push_back(label);
    index.parts.push_back(static_cast<Part>(part));
    index.contents.push_back(in.value<Hash128>());
    index.names.push_back(in.text());
  }
  return in.ok() && index.labels.size() == count;
}

bool unpack(std::span<const std::uint8_t> bytes, std::uint64_t count, StoreIndex& index) {
  Unpacker in(bytes);
  index.description = in.text();
  index.fingerprint = in.text();
  for (std::uint64_t i = 0, n = in.count(in.value<std::uint64_t>(), 4); i < n; ++i)
    index.classes.push_back(in.text());
  if (!in.ok() || !unpack_items(in, count, index)) return false;
  for (std::uint64_t i = 0, n = in.count(in.value<std::uint64_t>(), 8); i < n; ++i) {
    std::string name = in.text();
    index.bad.push_back({std::move(name), in.text()});
  }
  return in.finished();
}

std::span<const std::uint8_t> bytes_of(const Header& header) {
  return {reinterpret_cast<const std::uint8_t*>(&header), sizeof header};
}

Result<StoreIndex> read_index(std::span<const std::uint8_t> file, const std::string& where) {
  Header header, expected;
  const auto damaged = [&](const char* what) {
    return Error{std::string("damaged image cache (") + what + "); delete it and it is made again", where};
  };
  if (file.size() < kPixelStart) return damaged("shorter than its header");
  std::memcpy(&header, file.data(), sizeof header);
  if (header.magic != expected.magic) return damaged("not an image cache");
  if (header.version != expected.version) return damaged("another version");
  if (header.side < 1 || header.side > 4096 || header.count > kMaxCount) return damaged("impossible size");
  StoreIndex index;
  index.side = static_cast<int>(header.side);
  const std::uint64_t pixels = index.picture_bytes() * header.count;
  if (file.size() - kPixelStart < pixels || file.size() - kPixelStart - pixels != header.index_bytes)
    return damaged("its length does not fit its header");
  const auto packed = file.subspan(kPixelStart + pixels);
  if (hash_bytes(packed) != header.index_hash) return damaged("checksum of the index");
  if (!unpack(packed, header.count, index)) return damaged("index");
  return index;
}

}  // namespace

Result<std::shared_ptr<const Store>> map_store(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return system_error("cannot open", file);
  struct stat info {};
  void* base = MAP_FAILED;
  if (::fstat(descriptor, &info) == 0 && info.st_size > 0)
    base = ::mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ, MAP_SHARED, descriptor, 0);
  ::close(descriptor);
  if (info.st_size == 0)
    return Error{"damaged image cache (empty); delete it and it is made again", file.string()};
  if (base == MAP_FAILED) return system_error("cannot map", file);
  const auto size = static_cast<std::size_t>(info.st_size);
  const std::shared_ptr<const std::uint8_t> mapping(
      static_cast<const std::uint8_t*>(base),
      [size](const std::uint8_t* p) { ::munmap(const_cast<std::uint8_t*>(p), size); });
  NAS_TRY(index, read_index({mapping.get(), size}, file.string()));
  return std::make_shared<const Store>(
      std::move(index), std::shared_ptr<const std::uint8_t>(mapping, mapping.get() + kPixelStart));
}

std::filesystem::path CacheWriter::part() const { return file_.string() + ".part"; }

Result<CacheWriter> CacheWriter::start(std::filesystem::path file) {
  std::error_code failed;
  std::filesystem::create_directories(file.parent_path(), failed);
  if (failed) return Error{"cannot make the cache folder: " + failed.message(), file.parent_path().string()};
  const std::string part = file.string() + ".part";
  while (true) {
    const int descriptor = ::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) return system_error("cannot create", part);
    while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
    }
    // The writer we waited for has renamed or removed the file we hold: open the new one.
    struct stat held {
    }, named{};
    if (::fstat(descriptor, &held) == 0 && ::stat(part.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev && ::ftruncate(descriptor, 0) == 0)
      return CacheWriter(std::move(file), descriptor);
    ::close(descriptor);
  }
}

CacheWriter::CacheWriter(CacheWriter&& other) noexcept
    : file_(std::move(other.file_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      pixel_bytes_(other.pixel_bytes_) {}

CacheWriter::~CacheWriter() {
  if (descriptor_ < 0) return;
  ::unlink(part().c_str());
  ::close(descriptor_);
}

Result<void> CacheWriter::write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return system_error("cannot write", part());
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> CacheWriter::append(std::span<const std::uint8_t> pixels) {
  NAS_CHECK(write_at(kPixelStart + pixel_bytes_, pixels));
  pixel_bytes_ += pixels.size();
  return {};
}

Result<void> CacheWriter::finish(const StoreIndex& index) {
  const std::vector<std::uint8_t> packed = pack(index);
  Header header;
  header.side = static_cast<std::uint32_t>(index.side);
  header.count = index.labels.size();
  header.index_bytes = packed.size();
  header.index_hash = hash_bytes(packed);
  NAS_CHECK(write_at(kPixelStart + pixel_bytes_, packed));
  NAS_CHECK(write_at(0, bytes_of(header)));
  if (::fsync(descriptor_) != 0) return system_error("cannot flush", part());
  if (::rename(part().c_str(), file_.c_str()) != 0) return system_error("cannot rename", part());
  ::close(std::exchange(descriptor_, -1));
  return {};
}

}  // namespace nas::data
