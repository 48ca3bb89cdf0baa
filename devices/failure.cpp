#include "devices/failure.h"

#include <array>

namespace nas::devices {
namespace {

constexpr std::array<std::pair<Failure, std::string_view>, 5> kWords{{
    {Failure::not_responding, "not responding"},
    {Failure::timed_out, "timed out"},
    {Failure::crashed, "crashed"},
    {Failure::rejected, "rejected"},
    {Failure::lock_held, "lock held"},
}};

}  // namespace

std::string_view to_string(Failure failure) {
  for (const auto& [kind, words] : kWords)
    if (kind == failure) return words;
  return "failed";
}

Error device_failure(Failure failure, const std::string& what, std::string where) {
  return {std::string(to_string(failure)) + ": " + what, std::move(where), ErrorKind::device};
}

std::optional<Failure> failure_of(const Error& error) {
  if (error.kind != ErrorKind::device) return {};
  for (const auto& [kind, words] : kWords)
    if (error.message.starts_with(std::string(words) + ": ")) return kind;
  return {};
}

}  // namespace nas::devices
