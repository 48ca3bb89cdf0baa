#include "apps/report/static_page.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <vector>

#include "search/text.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
constexpr double kWidth = 720, kHeight = 380, kLeft = 80, kRight = 16, kTop = 14, kBottom = 46;
constexpr std::size_t kMostDots = 3000;

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

std::string value_text(const Json& value) {
  return value.is_number() ? search::number(value.get<double>()) : "-";
}

std::size_t metric_index(const Json& run, const std::string& name) {
  for (std::size_t i = 0; i < run["metrics"].size(); ++i)
    if (run["metrics"][i]["name"] == name) return i;
  return 0;
}

std::string metric_label(const Json& metric) {
  const std::string unit = metric["unit"];
  return metric["name"].get<std::string>() + (unit.empty() ? "" : " [" + unit + "]") + ", " +
         metric["source"].get<std::string>();
}

// A linear scale over what is finite, with round ticks.
struct Axis {
  double low = 0, high = 1, from = 0, to = 1;
  Axis(const std::vector<double>& values, double start, double end) : from(start), to(end) {
    if (values.empty()) return;
    low = *std::min_element(values.begin(), values.end());
    high = *std::max_element(values.begin(), values.end());
    const double room = high > low ? 0.05 * (high - low) : std::max(std::abs(high) * 0.05, 1e-9);
    low -= room;
    high += room;
  }
  double place(double v) const { return from + (to - from) * (v - low) / (high - low); }
  std::vector<double> ticks() const {
    const double rough = (high - low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
    const double step = power * (rough / power < 1.5   ? 1
                                 : rough / power < 3.5 ? 2
                                 : rough / power < 7.5 ? 5
                                                       : 10);
    std::vector<double> out;
    for (double t = std::ceil(low / step) * step; t <= high; t += step) out.push_back(t);
    return out;
  }
};

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + fixed(x) + "\" y=\"" + fixed(y) + "\" text-anchor=\"" + anchor +
         "\" fill=\"#777\" font-size=\"12\" font-family=\"sans-serif\">" + html_escaped(text) + "</text>\n";
}

std::string line_at(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line x1=\"" + fixed(x1) + "\" y1=\"" + fixed(y1) + "\" x2=\"" + fixed(x2) + "\" y2=\"" +
         fixed(y2) + "\" " + style + "/>\n";
}

struct Plotted {
  double x, y;
  std::int64_t number;
  bool feasible;
};

std::vector<Plotted> plotted(const Json& run, std::size_t x, std::size_t y, bool by_order) {
  std::vector<Plotted> points;
  const Json& c = run["candidates"];
  for (std::size_t i = 0; i < c["number"].size(); ++i) {
    const Json &vx = c["values"][x][i], &vy = c["values"][y][i];
    if (!vx.is_number() || !vy.is_number()) continue;
    const std::int64_t number = c["number"][i];
    points.push_back({by_order ? static_cast<double>(number) : vx.get<double>(), vy.get<double>(), number,
                      c["violation"][i] == 0.0 && c["fidelity"][i] >= 1.0});
  }
  return points;
}

std::string frame(const Axis& ax, const Axis& ay, const std::string& x_label, const std::string& y_label) {
  const std::string grid = "stroke=\"#8884\"";
  std::string out;
  for (const double t : ax.ticks()) {
    out += line_at(ax.place(t), kTop, ax.place(t), kHeight - kBottom, grid);
    out += text_at(ax.place(t), kHeight - kBottom + 16, "middle", search::number(t));
  }
  for (const double t : ay.ticks()) {
    out += line_at(kLeft, ay.place(t), kWidth - kRight, ay.place(t), grid);
    out += text_at(kLeft - 6, ay.place(t) + 4, "end", search::number(t));
  }
  out += text_at((kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", x_label);
  return out + text_at(4, 10, "start", y_label);
}

std::string headline(const Json& run) {
  const Json& counts = run["counts"];
  return "<p>" + html_escaped(run["strategy"]) + " in " + html_escaped(run["space"]) + ", seed " +
         run["seed"].dump() + ": " + counts["candidates"].dump() + " candidates, " +
         counts["feasible"].dump() + " within the limits, " + std::to_string(run["front"].size()) +
         " on the front; " + html_escaped(run["state"]) + ".</p>\n";
}

std::string front_table(const Json& run) {
  std::string out = "<table><thead><tr><th>#</th>";
  for (const Json& metric : run["metrics"]) out += "<th>" + html_escaped(metric_label(metric)) + "</th>";
  out += "<th>architecture</th></tr></thead><tbody>\n";
  const Json& c = run["candidates"];
  for (const Json& number : run["front"]) {
    const auto at = std::lower_bound(c["number"].begin(), c["number"].end(), number) - c["number"].begin();
    const auto i = static_cast<std::size_t>(at);
    out += "<tr><td>" + number.dump() + "</td>";
    for (const Json& column : c["values"]) out += "<td>" + value_text(column[i]) + "</td>";
    out += "<td>" + html_escaped(c["arch"][i]) + "</td></tr>\n";
  }
  return out + "</tbody></table>\n";
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

std::string scatter_svg(const Json& run) {
  const Json& objectives = run["question"]["objectives"];
  const bool by_order = objectives.size() < 2;
  const std::size_t y = metric_index(run, objectives[0]["metric"]);
  const std::size_t x = by_order ? y : metric_index(run, objectives[1]["metric"]);
  const auto points = plotted(run, x, y, by_order);
  std::vector<double> xs, ys;
  for (const Plotted& p : points) xs.push_back(p.x), ys.push_back(p.y);
  const Axis ax(xs, kLeft, kWidth - kRight), ay(ys, kHeight - kBottom, kTop);
  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"Candidates and front\" "
      "viewBox=\"0 0 720 380\" width=\"720\" height=\"380\">\n";
  out += frame(ax, ay, by_order ? "evaluation" : metric_label(run["metrics"][x]),
               metric_label(run["metrics"][y]));
  std::set<std::int64_t> front;
  for (const Json& number : run["front"]) front.insert(number.get<std::int64_t>());
  std::vector<Plotted> best;
  // A plain picture has no use for more than a few thousand dots.
  const std::size_t step = points.size() / kMostDots + 1;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Plotted& p = points[i];
    if (front.contains(p.number)) best.push_back(p);
    if (front.contains(p.number) || i % step != 0) continue;
    out += "<circle cx=\"" + fixed(ax.place(p.x)) + "\" cy=\"" + fixed(ay.place(p.y)) +
           "\" r=\"2.5\" fill=\"" + (p.feasible ? "#4878d0" : "#999") + "\" opacity=\"0.5\"/>\n";
  }
  std::sort(best.begin(), best.end(), [](const Plotted& a, const Plotted& b) { return a.x < b.x; });
  std::string path;
  for (std::size_t i = 0; i < best.size(); ++i)
    path += (i == 0 ? "M" + fixed(ax.place(best[i].x)) + " " + fixed(ay.place(best[i].y))
                    : " H" + fixed(ax.place(best[i].x)) + " V" + fixed(ay.place(best[i].y)));
  if (!by_order && !path.empty()) out += "<path d=\"" + path + "\" fill=\"none\" stroke=\"#d0342c\"/>\n";
  for (const Plotted& p : best)
    out += "<circle class=\"front\" cx=\"" + fixed(ax.place(p.x)) + "\" cy=\"" + fixed(ay.place(p.y)) +
           "\" r=\"4\" fill=\"#d0342c\"><title>#" + std::to_string(p.number) + "</title></circle>\n";
  for (const Json& c : run["question"]["constraints"])
    if (!by_order && c["metric"] == objectives[1]["metric"] && c["max"].is_number() && c["max"] < ax.high)
      out += line_at(ax.place(c["max"]), kTop, ax.place(c["max"]), kHeight - kBottom,
                     "stroke=\"#d0342c\" stroke-dasharray=\"5 4\"");
  return out + "</svg>\n";
}

std::string static_page(const Json& document) {
  std::string out;
  for (const Json& run : document["runs"])
    out +=
        "<h2>" + html_escaped(run["name"]) + "</h2>\n" + headline(run) + scatter_svg(run) + front_table(run);
  if (document["runs"].empty()) out += "<p>No search was found.</p>\n";
  if (const std::string command = document["command"]; !command.empty())
    out += "<p>Made by <code>" + html_escaped(command) + "</code></p>\n";
  return out;
}

}  // namespace nas::report
