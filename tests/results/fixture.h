#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "results/catalog.h"
#include "results/runs.h"
#include "results/store.h"

namespace nas::results {

// A project folder of one test, removed at its end.
class ProjectTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    project_ = std::filesystem::temp_directory_path() /
               ("hwnas-" + std::to_string(::getpid()) + "-" + test->test_suite_name() + "-" + test->name());
    std::filesystem::remove_all(project_);
  }
  void TearDown() override { std::filesystem::remove_all(project_); }

  Store open(StoreOptions options = {}) {
    auto store = Store::open(project_, std::move(options));
    if (!store) throw std::runtime_error(to_string(store.error()));
    return *std::move(store);
  }
  Store open_reader() { return open({.access = Access::read}); }

  std::filesystem::path project_;
};

// The value of a Result that must be there.
template <class T>
T need(Result<T> result) {
  if (!result) throw std::runtime_error(to_string(result.error()));  // GoogleTest fails the test with it
  return *std::move(result);
}
inline void need(const Result<void>& result) {
  if (!result) ADD_FAILURE() << to_string(result.error());
}

inline void expect_clean(Store& store) { EXPECT_THAT(need(check(store)), testing::IsEmpty()); }

// A space with `n` architectures to hang candidates on.
inline std::vector<Id> make_architectures(Store& store, std::size_t n) {
  const Id space = need(keep(store, Space{.name = "tiny", .json = "{}"}));
  std::vector<Architecture> records(n);
  for (std::size_t i = 0; i < n; ++i)
    records[i] = {.space_id = space,
                  .hash = hash_text(std::to_string(i)),
                  .genes = {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)},
                  .text = "a=" + std::to_string(i)};
  return need(keep_architectures(store, records));
}

}  // namespace nas::results
