#pragma once
#include <nlohmann/json.hpp>

#include <string>

namespace nas::report {

// The report's essence as plain HTML for readers without scripts: headline, front as a table, and the picture
// of the front as SVG. Everything is escaped.
std::string static_page(const nlohmann::ordered_json& document);
// One run's candidates by its first two objectives (or first objective against the order of evaluation):
// dots, the front as a step line, limits dashed.
std::string scatter_svg(const nlohmann::ordered_json& run);

std::string html_escaped(const std::string& text);

}  // namespace nas::report
