#include "space/picture.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "space/cost.h"

namespace nas {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:  // control characters are not allowed in XML
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

// Okabe and Ito's palette: told apart with any colour vision, visible on white and on black.
struct Colour {
  const char* css;
  const char* meaning;
};
constexpr Colour kColours[] = {{"#0072b2", "1x1"},       {"#e69f00", "3x3"},
                               {"#009e73", "5x5"},       {"#d55e00", "7x7"},
                               {"#cc79a7", "larger"},    {"#56b4e9", "linear, attention"},
                               {"#8c8c8c", "no weights"}};

std::size_t colour_of(const Layer& l) {
  if (l.kind == LayerKind::linear || l.kind == LayerKind::attention) return 5;
  if (l.kind != LayerKind::conv && l.kind != LayerKind::patch_embed) return 6;
  if (l.kernel > 7) return 4;
  return static_cast<std::size_t>(l.kernel / 2);
}

std::string shape_text(const Shape& s) {
  return std::to_string(s.channels) + "x" + std::to_string(s.height) + "x" + std::to_string(s.width);
}

std::string box_text(const Kernel& k) {
  return layer_name(k.anchor) + ": " + signature(k) + ", " + to_string(macs(k.anchor));
}

struct Strip {
  std::vector<Kernel> kernels;
  std::vector<double> widths;   // pixels
  std::vector<double> heights;  // pixels
};

Strip lay_out(const Network& network, const PictureOptions& options, double room) {
  Strip s;
  s.kernels = kernels(network, options.fusion);
  double all = 0, tallest = 1;
  for (const Kernel& k : s.kernels) {
    all += static_cast<double>(macs(k.anchor).count());
    tallest = std::max(tallest, std::sqrt(static_cast<double>(k.anchor.out.channels)));
  }
  const double floor = s.kernels.empty() ? 0 : 0.35 * options.width / static_cast<double>(s.kernels.size());
  for (const Kernel& k : s.kernels) {
    const double share = all > 0 ? static_cast<double>(macs(k.anchor).count()) / all : 0;
    s.widths.push_back(floor + 0.65 * options.width * share);
    s.heights.push_back(
        std::max(3.0, room * std::sqrt(static_cast<double>(k.anchor.out.channels)) / tallest));
  }
  return s;
}

std::string legend(double y) {
  std::string out = "<g class=\"legend\">";
  double x = 0;
  for (const Colour& c : kColours) {
    out += "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"12\" height=\"12\" fill=\"" +
           c.css + "\"/><text x=\"" + number(x + 16) + "\" y=\"" + number(y + 10) + "\">" + c.meaning +
           "</text>";
    x += 40 + 7.0 * static_cast<double>(std::string_view(c.meaning).size());
  }
  return out + "</g>\n";
}

std::string box(const Kernel& k, double x, double base, double width, double height) {
  return "<rect class=\"kernel\" x=\"" + number(x) + "\" y=\"" + number(base - height) + "\" width=\"" +
         number(width) + "\" height=\"" + number(height) + "\" fill=\"" + kColours[colour_of(k.anchor)].css +
         "\"><title>" + escaped(box_text(k)) + "</title></rect>\n";
}

std::string marks(const Kernel& k, const Kernel* before, double x, double base) {
  std::string out;
  if (before != nullptr && before->anchor.site.stage != k.anchor.site.stage) {
    out += "<line class=\"stage\" x1=\"" + number(x) + "\" x2=\"" + number(x) + "\" y1=\"24\" y2=\"" +
           number(base + 6) + "\"/>";
    if (k.anchor.site.stage > 0)
      out += "<text x=\"" + number(x + 2) + "\" y=\"" + number(base + 16) + "\">" +
             std::to_string(k.anchor.site.stage) + "</text>";
    out += "\n";
  }
  if (k.anchor.stride > 1)
    out += "<text class=\"stride\" x=\"" + number(x) + "\" y=\"36\">\xE2\x86\x93" +
           std::to_string(k.anchor.out.height) + "</text>\n";
  return out;
}

constexpr const char* kStyle =
    "<style>text{font:11px sans-serif;fill:#222}.stage{stroke:#222;stroke-dasharray:2 3}"
    ".kernel{stroke:#fff;stroke-width:.5}@media(prefers-color-scheme:dark){text{fill:#ddd}"
    ".stage{stroke:#ddd}.kernel{stroke:#111}}</style>\n";

}  // namespace

std::string svg(const Network& network, const PictureOptions& options) {
  const double base = options.height - 40.0;
  const Strip strip = lay_out(network, options, base - 44);
  const std::string size = std::to_string(options.width) + " " + std::to_string(options.height);
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 " + size +
                    "\" aria-labelledby=\"t d\">\n<title id=\"t\">" + escaped(options.title) +
                    "</title>\n<desc id=\"d\">";
  out += std::to_string(strip.kernels.size()) + " kernels, " + to_string(macs(network)) + ", " +
         to_string(params(network)) +
         ". One box per kernel: height grows with the channels, width with the share of "
         "the MACs, colour is the window size.</desc>\n";
  out += kStyle;
  out += "<text x=\"0\" y=\"12\">" + escaped(options.title) + "</text>\n";
  double x = 0;
  for (std::size_t i = 0; i < strip.kernels.size(); ++i) {
    out += box(strip.kernels[i], x, base, strip.widths[i], strip.heights[i]);
    out += marks(strip.kernels[i], i > 0 ? &strip.kernels[i - 1] : nullptr, x, base);
    x += strip.widths[i];
  }
  return out + legend(options.height - 16.0) + "</svg>\n";
}

std::string dot(const Network& network, const PictureOptions& options) {
  const std::vector<Kernel> all = kernels(network, options.fusion);
  std::vector<std::int32_t> made_by(network.layers.size(), -1);
  for (const Kernel& k : all)
    for (const std::int32_t layer : k.layers) made_by[static_cast<std::size_t>(layer)] = k.layers.front();
  std::string out = "digraph " + quoted(options.title) + " {\n  node [shape=box];\n";
  out += "  n0 [label=" + quoted("input " + shape_text(network.layers.front().out)) + "];\n";
  for (const Kernel& k : all) {
    const std::string self = "n" + std::to_string(k.layers.front());
    out += "  " + self + " [label=" + quoted(layer_name(k.anchor) + " " + shape_text(k.anchor.out)) +
           ", color=" + quoted(kColours[colour_of(k.anchor)].css) + "];\n";
    for (const std::int32_t layer : k.layers)
      for (const std::int32_t from : network.layers[static_cast<std::size_t>(layer)].inputs) {
        if (from < 0) continue;
        const std::int32_t source = std::max<std::int32_t>(made_by[static_cast<std::size_t>(from)], 0);
        if (source != k.layers.front()) out += "  n" + std::to_string(source) + " -> " + self + ";\n";
      }
  }
  return out + "}\n";
}

}  // namespace nas
