#include <cstdint>
#include <span>

#include "apps/report/report.h"
#include "apps/report/static_page.h"
#include "space/base/embedded.h"
#include "space/base/file.h"

namespace nas::report {

// page.js and page.css as esbuild made them; page.js is empty in a build without Node.js.
std::span<const EmbeddedFile> page_files();

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNotice =
    "<!-- This page contains Apache ECharts (Apache-2.0): Copyright 2017-2026 The Apache Software "
    "Foundation. This "
    "product includes software developed at The Apache Software Foundation (https://www.apache.org/). It "
    "also "
    "contains zrender (BSD-3-Clause): Copyright (c) 2017, Baidu Inc. -->\n";

std::string_view file_named(std::string_view name) {
  for (const EmbeddedFile& file : page_files())
    if (file.name == name) return file.text;
  return {};
}

std::string base64(const std::string& hex) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::uint32_t bits = 0;
  int have = 0;
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bits = (bits << 8) | static_cast<std::uint32_t>(std::stoul(hex.substr(i, 2), nullptr, 16));
    for (have += 8; have >= 6; have -= 6) out += kDigits[(bits >> (have - 6)) & 63];
  }
  if (have > 0) out += kDigits[(bits << (6 - have)) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

std::string source_of(std::string_view text) { return "'sha256-" + base64(sha256(text)) + "'"; }

// JSON inside a script element: no end tag and no comment can begin without '<'. Text that is no UTF-8 is
// replaced, not refused.
std::string json_block(const Json& document) {
  std::string out;
  for (const char c : document.dump(-1, ' ', false, Json::error_handler_t::replace))
    out += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return out;
}

std::string policy(bool live) {
  return "default-src 'none'; script-src " + source_of(file_named("page.js")) + "; style-src " +
         source_of(file_named("page.css")) + "; img-src data:; connect-src " + (live ? "'self'" : "'none'") +
         "; base-uri 'none'; form-action 'none'";
}

}  // namespace

std::string content_policy(bool live) { return policy(live) + "; frame-ancestors 'none'"; }

std::string page(const Json& document, bool live) {
  const std::string_view script = file_named("page.js"), style = file_named("page.css");
  const std::string plain = static_page(document), title = html_escaped(document["title"].get<std::string>());
  std::string html = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  html += kNotice;
  html += "<meta http-equiv=\"Content-Security-Policy\" content=\"" + policy(live) + "\">\n";
  html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  html +=
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" + title + " - hwnas</title>\n<style>";
  html += style;
  html += "</style>\n</head>\n<body>\n";
  if (script.empty()) return html + "<main><h1>" + title + "</h1>\n" + plain + "</main>\n</body>\n</html>\n";
  html += "<div id=\"app\"></div>\n<noscript><main><h1>" + title + "</h1>\n" + plain + "</main></noscript>\n";
  html +=
      std::string("<script type=\"application/json\" id=\"data\"") + (live ? " data-live=\"1\"" : "") + ">";
  html += json_block(document);
  html += "</script>\n<script>";
  html += script;
  return html + "</script>\n</body>\n</html>\n";
}

}  // namespace nas::report
