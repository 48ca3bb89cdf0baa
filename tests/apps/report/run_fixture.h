#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace nas::report::test {

namespace fs = std::filesystem;

// A project folder of its own, removed at the end.
class Project {
 public:
  explicit Project(const std::string& name)
      : folder_(fs::temp_directory_path() / ("hwnas-report-" + name + "-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Project() { fs::remove_all(folder_); }
  Project(const Project&) = delete;
  Project& operator=(const Project&) = delete;
  const fs::path& folder() const { return folder_; }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  void append(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary | std::ios::app) << text;
  }

 private:
  fs::path folder_;
};

// run.json of a search with two genes, accuracy up, latency down, latency at most 8 ms.
inline std::string run_json(const std::string& strategy = "nsga2", int seed = 1,
                            const std::string& space = "none") {
  return R"({"space": ")" + space + R"(", "strategy": ")" + strategy + R"(", "seed": )" +
         std::to_string(seed) +
         R"(, "problem": {"objectives": [{"metric": "accuracy", "goal": "max"}, {"metric": "ms", "goal": "min"}],
 "constraints": [{"metric": "ms", "max": 8}]},
 "metrics": [{"name": "accuracy", "unit": "share", "source": "measured"}, {"name": "ms", "unit": "ms", "source": "predicted"}],
 "genes": ["a", "b"], "config": {"budget": "9evals"}})";
}

// One line of candidates.jsonl; values are JSON texts, so that null can be written.
inline std::string line(int number, int a, int b, const std::string& accuracy, const std::string& ms,
                        const std::string& arch = "") {
  return R"({"number":)" + std::to_string(number) + R"(,"arch":")" +
         (arch.empty() ? "a=" + std::to_string(a) + ":b=" + std::to_string(b) : arch) + R"(","genes":[)" +
         std::to_string(a) + "," + std::to_string(b) +
         R"(],"origin":"random","generation":0,"parents":[-1,-1],"fidelity":1.0,"values":{"accuracy":)" +
         accuracy + R"(,"ms":)" + ms + R"(},"violation":0.0})" + "\n";
}

}  // namespace nas::report::test
