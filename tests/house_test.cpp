#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Folders = std::set<std::string>;

// Who may include whom (docs/architecture.md). The most specific folder of a file decides.
const std::map<std::string, Folders> kMayInclude = {
    {"space/base", {"space/base"}},
    {"space/learn", {"space/base", "space/learn"}},
    {"space", {"space/base", "space"}},
    {"devices", {"space/base", "space", "devices"}},
    {"latency", {"space/base", "space", "space/learn", "devices", "latency"}},
    {"supernet", {"space/base", "space", "supernet"}},
    {"search", {"space/base", "space", "space/learn", "search"}},
    {"results", {"space/base", "space", "devices", "search", "results"}},
};

std::string folder_of(const std::string& path) {
  std::string best;
  for (const auto& [folder, allowed] : kMayInclude)
    if (path.starts_with(folder + "/") && folder.size() > best.size()) best = folder;
  return best;
}

struct Include {
  std::string file, target;
  bool ours;
};

std::vector<Include> all_includes() {
  std::vector<Include> found;
  const fs::path root = HWNAS_SOURCE_DIR;
  const std::regex line_form(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  for (const char* top : {"space", "devices", "latency", "supernet", "search", "results", "apps"})
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp") continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);)
        if (std::smatch m; std::regex_search(line, m, line_form))
          found.push_back({fs::relative(entry.path(), root).string(), m[2], m[1] == "\""});
    }
  return found;
}

TEST(House, FoldersIncludeOnlyWhatTheTableAllows) {
  int checked = 0;
  for (const Include& include : all_includes()) {
    const std::string from = folder_of(include.file), to = folder_of(include.target);
    if (from.empty() || to.empty() || !include.ours) continue;
    ++checked;
    EXPECT_TRUE(kMayInclude.at(from).contains(to)) << include.file << " includes " << include.target;
  }
  EXPECT_GT(checked, 100);
}

TEST(House, KeepsLibTorchInsideSupernetAndTheFewFilesThatNeedIt) {
  const std::regex torch(R"(^(torch|ATen|c10|caffe2)/)");
  for (const Include& include : all_includes()) {
    if (!std::regex_search(include.target, torch)) continue;
    const bool header = include.file.ends_with(".h");
    const bool allowed =
        header ? include.file.starts_with("supernet/detail/")
               : include.file.starts_with("supernet/") || include.file == "latency/measure/torch_engine.cpp";
    EXPECT_TRUE(allowed) << include.file << " includes " << include.target;
  }
}

TEST(House, KeepsHeavyThirdPartyHeadersOutOfHeaders) {
  const std::regex heavy(R"(^(tbb/|oneapi/|sqlite3\.h|onnx/|google/protobuf|xgboost/|httplib\.h))");
  for (const Include& include : all_includes())
    if (include.file.ends_with(".h")) {
      EXPECT_FALSE(std::regex_search(include.target, heavy))
          << include.file << " includes " << include.target;
    }
}

// What a command prints on stdout and stderr.
std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  ::pclose(pipe);
  return text;
}

// Versions differ in what they do: only Debian 12's decides. C files (the agent) have their own layout.
TEST(House, FormatsEveryFileByClangFormat) {
  if (output_of("clang-format --version").find("version 14.") == std::string::npos)
    GTEST_SKIP() << "no clang-format 14; scripts/packages-tests.txt lists it";
  const fs::path root = HWNAS_SOURCE_DIR;
  std::string files;
  for (const char* top : {"space", "devices", "latency", "supernet", "search", "results", "apps", "tests"})
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string name = fs::relative(entry.path(), root).string();
      const bool ours =
          name.ends_with(".cpp") || (name.ends_with(".h") && !name.starts_with("devices/agent/"));
      if (ours) files += " " + name;
    }
  const std::string found = output_of("cd '" + root.string() + "' && clang-format --dry-run -Werror" + files +
                                      " 2>&1 | grep error:");
  EXPECT_EQ(found, "") << "clang-format -i on these files mends it";
}

// A machine that has only these programs: the scripts' own tools, and what is given.
std::string start_on_a_bare_machine(const std::string& given) {
  const fs::path folder = fs::temp_directory_path() / ("hwnas-bare-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::string link = "{ for p in bash dirname id grep cat mktemp tail rm env " + given +
                     "; do ln -sf $(command -v $p) '" + folder.string() + "'; done; ";
  const std::string output =
      output_of(link + "PATH='" + folder.string() + "' '" HWNAS_SOURCE_DIR "/scripts/demo'; echo rc=$?; }");
  fs::remove_all(folder);
  return output;
}

TEST(Scripts, SayWhatToDoOnAnotherSystemAndStop) {
  const std::string bare = start_on_a_bare_machine("");
  EXPECT_THAT(bare, testing::HasSubstr("install by hand what scripts/packages.txt lists"));
  EXPECT_THAT(bare, testing::HasSubstr("g++ is missing: install it, then start this again"));
  EXPECT_THAT(bare, testing::EndsWith("rc=1\n"));
  EXPECT_THAT(start_on_a_bare_machine("g++ cmake"), testing::HasSubstr("ninja is missing"));
}

}  // namespace
