#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
