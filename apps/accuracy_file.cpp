#include "apps/accuracy_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string header_line(const AccuracyFile& f) {
  return Json{{"space", f.space},
              {"classes", f.classes},
              {"resolutions", f.resolutions},
              {"supernet", f.supernet},
              {"split", f.split}}
             .dump() +
         "\n";
}

Error bad_line(const fs::path& path, std::size_t line, const std::string& what) {
  return Error{what, path.string() + ":" + std::to_string(line), ErrorKind::usage};
}

Result<void> read_header(const Json& json, AccuracyFile& file, const fs::path& path) {
  try {
    file.space = json.at("space").get<std::string>();
    file.classes = json.at("classes").get<int>();
    file.resolutions = json.at("resolutions").get<std::vector<int>>();
    file.supernet = json.at("supernet").get<std::string>();
    file.split = json.at("split").get<std::string>();
  } catch (const Json::exception&) {
    return bad_line(path, 1, "required a header with space, classes, resolutions, supernet and split");
  }
  return {};
}

Result<void> read_row(const Json& json, AccuracyFile& file, const fs::path& path, std::size_t line) {
  if (!json.is_object() || !json.contains("arch") || !json["arch"].is_string() || !json.contains("top1") ||
      !json["top1"].is_number())
    return bad_line(path, line, "required {\"arch\": \"...\", \"top1\": 0.9}");
  const double top1 = json["top1"].get<double>();
  if (!(top1 >= 0 && top1 <= 1))
    return bad_line(path, line, "top1: required a share from 0 to 1, found " + std::to_string(top1));
  file.networks.push_back(json["arch"].get<std::string>());
  file.top1.push_back(top1);
  return {};
}

}  // namespace

Result<SearchSpace> AccuracyFile::load_space() const {
  SpaceOverrides change;
  change.classes = classes;
  change.resolutions = resolutions;
  return nas::load_space(space, change);
}

std::optional<double> AccuracyFile::noise() const {
  const std::size_t comma = split.rfind(", ");
  long long images = 0;
  if (comma == std::string::npos || std::sscanf(split.c_str() + comma, ", %lld images", &images) != 1 ||
      images < 1 || top1.empty())
    return std::nullopt;
  double sum = 0;
  for (const double share : top1) sum += std::sqrt(share * (1 - share) / static_cast<double>(images));
  return sum / static_cast<double>(top1.size());
}

Result<AccuracyFile> read_accuracy_file(const fs::path& path) {
  NAS_TRY(text, read_file(path, std::uint64_t{1} << 30));
  AccuracyFile file;
  std::size_t line = 0;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find('\n', start);
    if (end == std::string::npos) break;  // torn by a kill
    ++line;
    const Json json = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(start),
                                  text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (json.is_discarded()) return bad_line(path, line, "not JSON");
    NAS_CHECK(line == 1 ? read_header(json, file, path) : read_row(json, file, path, line));
    start = end + 1;
  }
  if (line == 0) return bad_line(path, 1, "required a header line, found nothing");
  return file;
}

Result<AccuracyFile> open_accuracy_file(const fs::path& path, const AccuracyFile& header) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    NAS_CHECK(write_file(path, header_line(header)));
    return header;
  }
  NAS_TRY(file, read_accuracy_file(path));
  if (header_line(file) != header_line(header))
    return usage_error("holds accuracies of another supernet or space; choose another --out or remove it",
                       path.string());
  // Cut a torn line off before anything is appended.
  std::string clean = header_line(file);
  for (std::size_t i = 0; i < file.networks.size(); ++i)
    clean += Json{{"arch", file.networks[i]}, {"top1", file.top1[i]}}.dump() + "\n";
  NAS_CHECK(write_file(path, clean));
  return file;
}

Result<SearchSpace> open_space(const std::string& name, const SpaceOverrides& change) {
  if (!name.ends_with(".jsonl")) return nas::load_space(name, change);
  NAS_TRY(file, read_accuracy_file(name));
  return file.load_space();
}

Result<void> append_accuracies(const fs::path& path, const std::vector<std::string>& networks,
                               const std::vector<double>& top1) {
  std::string text;
  for (std::size_t i = 0; i < networks.size(); ++i)
    text += Json{{"arch", networks[i]}, {"top1", top1[i]}}.dump() + "\n";
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return Error{std::string("cannot append: ") + std::strerror(errno), path.string()};
  const bool written =
      ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fdatasync(fd) == 0;
  const int reason = errno;
  ::close(fd);
  if (!written) return Error{std::string("cannot append: ") + std::strerror(reason), path.string()};
  return {};
}

}  // namespace nas::apps
