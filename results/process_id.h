#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace nas::results {

// "boot/pid namespace/start time" of a process: with its number, a name that no other process ever has. Empty
// when there is no such process.
std::string process_name(std::int64_t pid);

// Whether the process still exists; nothing when its boot or namespace is another one than ours.
std::optional<bool> process_exists(std::int64_t pid, const std::string& name);

}  // namespace nas::results
