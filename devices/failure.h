#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "space/base/result.h"

namespace nas::devices {

// How talking to a device can go wrong. Each has its own words, so that logs and stores never mix them up.
enum class Failure {
  not_responding,  // nothing came back, or the line is gone
  timed_out,       // it was alive, but the work took longer than allowed
  crashed,         // the program on the device ended by a signal or with an exit status
  rejected,        // it answered that it cannot or will not, or what it said makes no sense
  lock_held,       // somebody else measures on it
};

// "not responding", "timed out", "crashed", "rejected", "lock held".
std::string_view to_string(Failure failure);

// An error of kind device whose message starts with the failure's words.
Error device_failure(Failure failure, const std::string& what, std::string where = {});

// The failure an error stands for; empty for other errors.
std::optional<Failure> failure_of(const Error& error);

}  // namespace nas::devices
