#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "space/base/result.h"

namespace nas {

// The whole file. Fails when it is missing, unreadable, no regular file, or larger than `limit` bytes.
Result<std::string> read_file(const std::filesystem::path& path,
                              std::uint64_t limit = std::uint64_t{4} << 30);

// Writes beside `path`, flushes to disk and renames: readers see the old content or all of the new, also
// after a kill or a full disk. Makes missing parent folders.
Result<void> write_file(const std::filesystem::path& path, std::string_view content);

// SHA-256 as 64 hexadecimal digits.
std::string sha256(std::string_view content);
Result<std::string> sha256_file(const std::filesystem::path& path);

}  // namespace nas
