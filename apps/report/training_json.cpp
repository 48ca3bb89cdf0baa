#include <algorithm>
#include <map>

#include "apps/report/part_json.h"
#include "space/base/file.h"
#include "space/search_space.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
constexpr std::size_t kMostPoints = 400;  // of a curve

struct Point {
  double epoch = 0, value = 0;
};

// The mean of every run of neighbours, so that at most kMostPoints are left.
Json thinned(const std::vector<Point>& points) {
  const std::size_t group = (points.size() + kMostPoints - 1) / std::max<std::size_t>(kMostPoints, 1);
  Json x = Json::array(), y = Json::array();
  for (std::size_t i = 0; i < points.size(); i += group) {
    const std::size_t end = std::min(points.size(), i + group);
    double value = 0;
    for (std::size_t j = i; j < end; ++j) value += points[j].value / static_cast<double>(end - i);
    x.push_back(points[end - 1].epoch);
    y.push_back(value);
  }
  return {{"x", x}, {"y", y}};
}

class Curves {
 public:
  explicit Curves(const Json& config) {
    if (!config.is_object() || !config.contains("space") || !config["space"].is_string()) return;
    const auto space = load_space(config["space"].get<std::string>());
    if (!space) return;
    smallest_ = without_resolution(space->text(space->smallest()));
    largest_ = without_resolution(space->text(space->largest()));
  }

  void add(const Json& line) {
    if (line.contains("score")) {
      scores_.push_back(line["score"]);
      return;
    }
    if (!line.contains("paths")) return;
    // Epochs count from 0 in every phase; the pictures go on.
    const std::string phase = line.value("phase", "");
    const double epoch = line.value("epoch", 0.0);
    if (phase != phase_) {
      start_ = last_;
      phases_.push_back({{"name", phase}, {"start", start_}});
      phase_ = phase;
    }
    last_ = std::max(last_, start_ + epoch);
    ++lines_;
    rates_.push_back({start_ + epoch, line.value("learning_rate", 0.0)});
    speeds_.push_back(line.value("images_per_second", 0.0));
    for (const Json& path : line["paths"]) {
      const std::string who = name_of(path.value("genotype", ""));
      add_point(losses_[who], start_ + epoch, path, "loss");
      add_point(accuracies_[who], start_ + epoch, path, "accuracy");
    }
  }

  Json json() {
    Json loss = Json::object(), accuracy = Json::object();
    for (const char* who : {"smallest", "largest", "others", "network"}) {
      if (losses_.contains(who)) loss[who] = thinned(losses_[who]);
      if (accuracies_.contains(who)) accuracy[who] = thinned(accuracies_[who]);
    }
    Json speed = nullptr;
    if (!speeds_.empty()) {
      std::nth_element(speeds_.begin(), speeds_.begin() + static_cast<std::ptrdiff_t>(speeds_.size() / 2),
                       speeds_.end());
      speed = speeds_[speeds_.size() / 2];
    }
    return {{"phases", phases_},       {"loss", loss},      {"accuracy", accuracy},
            {"rate", thinned(rates_)}, {"scores", scores_}, {"images_per_second", speed},
            {"steps_recorded", lines_}};
  }

 private:
  // Training may change the resolution from step to step; the network's size is in the rest.
  static std::string without_resolution(const std::string& text) {
    const std::size_t colon = text.find(':');
    return text.starts_with("r=") && colon != std::string::npos ? text.substr(colon + 1) : text;
  }
  static void add_point(std::vector<Point>& curve, double epoch, const Json& path, const char* key) {
    if (path.contains(key) && path[key].is_number()) curve.push_back({epoch, path[key].get<double>()});
  }
  std::string name_of(const std::string& genotype) const {
    const std::string plain = without_resolution(genotype);
    if (plain == smallest_) return "smallest";
    if (plain == largest_) return "largest";
    return smallest_.empty() ? "network" : "others";
  }

  std::string smallest_, largest_, phase_;
  double start_ = 0, last_ = 0;
  std::size_t lines_ = 0;
  std::map<std::string, std::vector<Point>> losses_, accuracies_;
  std::vector<Point> rates_;
  std::vector<double> speeds_;
  Json phases_ = Json::array(), scores_ = Json::array();
};

}  // namespace

Result<Json> training_json(const fs::path& folder) {
  NAS_TRY(text, read_file(folder / "config.json", std::uint64_t{1} << 20));
  const Json config = Json::parse(text, nullptr, false);
  if (!config.is_object()) return Error{"is no JSON object", (folder / "config.json").string()};
  Curves curves(config);
  std::size_t bad = 0;
  if (const auto metrics = read_file(folder / "metrics.jsonl", std::uint64_t{1} << 30)) {
    for (std::size_t at = 0; at < metrics->size();) {
      const std::size_t end = std::min(metrics->find('\n', at), metrics->size());
      const Json line = Json::parse(metrics->begin() + static_cast<std::ptrdiff_t>(at),
                                    metrics->begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
      at = end + 1;
      try {
        if (line.is_object()) curves.add(line);
        bad += !line.is_object();
      } catch (const Json::exception&) {
        ++bad;
      }
    }
  }
  Json json = curves.json();
  json["name"] = folder.filename().string();
  json["config"] = config;
  json["unreadable_lines"] = bad;
  return json;
}

}  // namespace nas::report
