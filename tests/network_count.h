#pragma once
#include <cstdint>
#include <cstdlib>

namespace nas::testing_support {

// Random sub-networks a space: `usual` in every run, as many as HWNAS_TEST_NETWORKS says where that is set.
inline std::uint64_t network_count(std::uint64_t usual) {
  const char* wanted = std::getenv("HWNAS_TEST_NETWORKS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : usual;
}

}  // namespace nas::testing_support
