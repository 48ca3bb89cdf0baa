#include "apps/arch_reference.h"

#include <charconv>

#include "search/run_folder.h"

namespace nas::apps {

namespace fs = std::filesystem;

fs::path run_folder(const fs::path& project, const std::string& name) {
  fs::path direct(name);
  std::error_code ignored;
  if (fs::exists(direct / "run.json", ignored)) return direct;
  return (project / "runs" / name).lexically_normal();
}

Result<std::string> resolve_architecture(const fs::path& project, const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return text;
  const std::string which = text.substr(colon + 1);
  if (which != "best" && !which.starts_with("front[")) return text;
  NAS_TRY(run, search::load_run(run_folder(project, text.substr(0, colon))));
  const auto front = run.history.front();
  if (front.empty())
    return Error{"nothing on the front of this run satisfies its limits", text, ErrorKind::infeasible};
  if (which == "best") return run.texts[*run.history.best()];
  std::size_t index = 0;
  const char* begin = which.data() + 6;
  const auto [end, error] = std::from_chars(begin, which.data() + which.size(), index);
  if (error != std::errc{} || std::string_view(end) != "]" || index >= front.size())
    return usage_error("required front[0] to front[" + std::to_string(front.size() - 1) + "], found " + which,
                       text);
  return run.texts[front[index]];
}

Result<std::vector<std::string>> resolve_architectures(const fs::path& project, const std::string& text) {
  if (!text.ends_with(":front")) {
    NAS_TRY(one, resolve_architecture(project, text));
    return std::vector<std::string>{one};
  }
  NAS_TRY(run, search::load_run(run_folder(project, text.substr(0, text.size() - 6))));
  const auto front = run.history.front();
  if (front.empty())
    return Error{"nothing on the front of this run satisfies its limits", text, ErrorKind::infeasible};
  std::vector<std::string> all;
  for (const auto row : front) all.push_back(run.texts[row]);
  return all;
}

}  // namespace nas::apps
