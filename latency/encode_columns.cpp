#include "latency/encode_columns.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>

namespace nas::latency {
namespace {

using learn::Matrix;

Error at(const Csv& csv, std::size_t row, std::string message) {
  return usage_error(std::move(message), csv.where + ":" + std::to_string(csv.lines[row]));
}

Result<std::vector<std::size_t>> columns_of(const Csv& csv, const std::vector<std::string>& names,
                                            const std::string& space) {
  std::vector<std::size_t> out;
  for (const std::string& name : names) {
    if (!csv.has(name)) {
      return usage_error("space '" + space + "' reads column '" + name +
                             "', which the file lacks; is it another space's file?",
                         csv.where + ":1");
    }
    NAS_TRY(index, csv.column(name));
    out.push_back(index);
  }
  return out;
}

// Whole number in [low, high] from a field.
Result<int> whole(const Csv& csv, std::size_t row, std::size_t column, int low, int high) {
  NAS_TRY(value, number_at(csv, row, column));
  if (value != std::floor(value) || value < low || value > high) {
    return at(csv, row,
              "column '" + csv.header[column] + "' needs a whole number from " + std::to_string(low) +
                  " to " + std::to_string(high) + ", found " + csv.rows[row][column]);
  }
  return static_cast<int>(value);
}

// --- NAS-Bench-201: |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, edges (0,1) (0,2) (1,2) (0,3) (1,3) (2,3).

constexpr std::array<std::string_view, 5> kCellOps = {"none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3",
                                                      "avg_pool_3x3"};
constexpr std::array<std::array<int, 2>, 6> kCellEdges = {{{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}}};
using Cell = std::array<int, 6>;

std::optional<Cell> parse_cell(std::string_view text) {
  Cell cell{};
  std::size_t edge = 0;
  std::size_t position = 0;
  for (int node = 1; node <= 3; ++node) {
    const std::string_view opening = node > 1 ? "+|" : "|";
    if (!text.substr(std::min(position, text.size())).starts_with(opening)) return std::nullopt;
    position += opening.size();
    for (int from = 0; from < node; ++from) {
      const std::size_t bar = text.find('|', position);
      if (bar == std::string_view::npos) return std::nullopt;
      const std::string_view item = text.substr(position, bar - position);
      position = bar + 1;
      const std::size_t tilde = item.find('~');
      if (tilde == std::string_view::npos || item.substr(tilde + 1) != std::to_string(from))
        return std::nullopt;
      const auto op = std::find(kCellOps.begin(), kCellOps.end(), item.substr(0, tilde));
      if (op == kCellOps.end()) return std::nullopt;
      cell[edge++] = static_cast<int>(op - kCellOps.begin());
    }
  }
  return position == text.size() ? std::optional(cell) : std::nullopt;
}

// Edges that do not lie on a path from input to output do no useful work: they become "none".
Cell without_dead_edges(const Cell& cell) {
  std::array<bool, 4> from_input{true, false, false, false};
  std::array<bool, 4> to_output{false, false, false, true};
  for (std::size_t e = 0; e < 6;
       ++e) {  // edges are in an order in which each node is complete before it is used
    if (cell[e] != 0 && from_input[kCellEdges[e][0]]) from_input[kCellEdges[e][1]] = true;
  }
  for (const std::size_t e : {5UL, 4UL, 3UL, 2UL, 1UL, 0UL}) {
    if (cell[e] != 0 && to_output[kCellEdges[e][1]]) to_output[kCellEdges[e][0]] = true;
  }
  Cell out = cell;
  for (std::size_t e = 0; e < 6; ++e) {
    if (!from_input[kCellEdges[e][0]] || !to_output[kCellEdges[e][1]]) out[e] = 0;
  }
  return out;
}

// Longest chain of convolutions, operations, from input to output.
double depth_of(const Cell& cell, bool convolutions_only) {
  std::array<double, 4> deepest{0, -100, -100, -100};
  for (const std::size_t e : {0UL, 1UL, 2UL, 3UL, 4UL, 5UL}) {
    if (cell[e] == 0) continue;
    const bool counts = cell[e] == 2 || cell[e] == 3 || (!convolutions_only && cell[e] == 4);
    double& to = deepest[kCellEdges[e][1]];
    to = std::max(to, deepest[kCellEdges[e][0]] + (counts ? 1 : 0));
  }
  return std::max(0.0, deepest[3]);
}

Result<Encoded> encode_cells(const Csv& csv, const std::string& space) {
  NAS_TRY(columns, columns_of(csv, {"arch"}, space));
  const std::size_t n = csv.rows.size();
  Encoded out{Matrix(n, 60), Matrix(n, 60 + 15 * 16), Matrix(n, 60 + 14), std::vector<std::string>(n), false};
  for (std::size_t i = 0; i < n; ++i) {
    const std::string& text = csv.rows[i][columns[0]];
    const auto cell = parse_cell(text);
    if (!cell) return at(csv, i, "not a NAS-Bench-201 cell: '" + text.substr(0, 60) + "'");
    const Cell live = without_dead_edges(*cell);
    out.key[i] = text;
    auto table = out.table.row(i);
    for (std::size_t e = 0; e < 6; ++e) {
      table[e * 5 + static_cast<std::size_t>((*cell)[e])] = 1;
      table[30 + e * 5 + static_cast<std::size_t>(live[e])] = 1;
    }
    auto crossed = out.cross.row(i);
    auto numbers = out.numbers.row(i);
    std::copy(table.begin(), table.end(), crossed.begin());
    std::copy(table.begin(), table.end(), numbers.begin());
    std::size_t pair = 60;
    for (std::size_t a = 0; a < 6; ++a) {
      for (std::size_t b = 0; b < a; ++b, pair += 16) {
        if (live[a] > 0 && live[b] > 0)
          crossed[pair + static_cast<std::size_t>((live[a] - 1) * 4 + live[b] - 1)] = 1;
      }
      ++numbers[60 + static_cast<std::size_t>((*cell)[a])];
      ++numbers[65 + static_cast<std::size_t>(live[a])];
    }
    numbers[70] = depth_of(live, true);
    numbers[71] = depth_of(live, false);
    numbers[72] = 9 * numbers[68] + numbers[67];
    numbers[73] = 9 * numbers[63] + numbers[62];
  }
  return out;
}

// --- FBNet: 22 operators of 9 kinds.

Result<Encoded> encode_operators(const Csv& csv, const std::string& space) {
  std::vector<std::string> names;
  for (int i = 0; i < 22; ++i) names.push_back("op" + std::to_string(i));
  NAS_TRY(columns, columns_of(csv, names, space));
  const std::size_t n = csv.rows.size();
  Encoded out{Matrix(n, 22 * 9), {}, Matrix(n, 22 * 9 + 9 + 22), std::vector<std::string>(n), true};
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t g = 0; g < 22; ++g) {
      NAS_TRY(op, whole(csv, i, columns[g], 0, 8));
      out.table(i, g * 9 + static_cast<std::size_t>(op)) = 1;
      out.numbers(i, g * 9 + static_cast<std::size_t>(op)) = 1;
      ++out.numbers(i, 198 + static_cast<std::size_t>(op));
      // Operators in ascending work: expansion 1 grouped, 1, 3, 6 with kernels 3 and 5, skip last.
      out.numbers(i, 207 + g) = op == 8 ? -1 : op;
      out.key[i] += static_cast<char>('0' + op);
    }
  }
  return out;
}

// --- Once-for-all MobileNetV3: "r", depths "2-3-…" of 5 stages, kernels and expansions of 20 blocks.

Result<std::vector<int>> dashed(const Csv& csv, std::size_t row, std::size_t column, std::size_t count,
                                const std::set<int>& allowed) {
  std::vector<int> out;
  const std::string& text = csv.rows[row][column];
  for (const char* p = text.data(); p < text.data() + text.size();) {
    int value = 0;
    const auto [end, code] = std::from_chars(p, text.data() + text.size(), value);
    const bool last = end == text.data() + text.size();
    if (code != std::errc() || allowed.count(value) == 0 ||
        (!last && (*end != '-' || end + 1 == text.data() + text.size()))) {
      out.clear();
      break;
    }
    out.push_back(value);
    p = end + 1;
  }
  if (out.size() == count) return out;
  std::string values;
  for (const int v : allowed) values += (values.empty() ? "" : ", ") + std::to_string(v);
  return at(csv, row,
            "column '" + csv.header[column] + "' needs " + std::to_string(count) + " of {" + values +
                "} joined by '-', found '" + text.substr(0, 60) + "'");
}

Result<Encoded> encode_ofa(const Csv& csv, const std::string& space) {
  NAS_TRY(columns, columns_of(csv, {"r", "d", "ks", "e"}, space));
  const std::size_t n = csv.rows.size();
  constexpr std::size_t kEntries = 20 * 9;
  Encoded out{Matrix(n, 2 * kEntries + 25), {},    Matrix(n, 40 + 5 + 15 + 3),
              std::vector<std::string>(n),  false, Matrix(n, 5 + 15 + 3)};
  for (std::size_t i = 0; i < n; ++i) {
    NAS_TRY(r, whole(csv, i, columns[0], 128, 224));
    if (r % 4 != 0) return at(csv, i, "resolution must be a multiple of 4 from 128 to 224");
    NAS_TRY(d, dashed(csv, i, columns[1], 5, {2, 3, 4}));
    NAS_TRY(ks, dashed(csv, i, columns[2], 20, {3, 5, 7}));
    NAS_TRY(e, dashed(csv, i, columns[3], 20, {3, 4, 6}));
    out.key[i] = std::to_string(r);
    const double area = (r / 224.0) * (r / 224.0);
    auto numbers = out.numbers.row(i);
    for (std::size_t stage = 0; stage < 5; ++stage) {
      const auto depth = static_cast<std::size_t>(d[stage]);
      numbers[40 + stage] = static_cast<double>(depth);
      for (std::size_t b = 0; b < depth; ++b) {
        const std::size_t block = stage * 4 + b;
        const int expand = e[block] == 3 ? 0 : e[block] == 4 ? 1 : 2;
        const std::size_t entry = block * 9 + static_cast<std::size_t>((ks[block] - 3) / 2 * 3 + expand);
        out.table(i, entry) = 1;
        out.table(i, kEntries + entry) = area;
        numbers[block] = ks[block];
        numbers[20 + block] = e[block];
        numbers[45 + stage * 3] += e[block] * area;
        numbers[46 + stage * 3] += e[block];
        numbers[47 + stage * 3] += e[block] * ks[block] * ks[block] * area;
        out.key[i] += ' ' + std::to_string(entry);
      }
    }
    out.table(i, 2 * kEntries + static_cast<std::size_t>((r - 128) / 4)) = 1;
    numbers[60] = r;
    numbers[61] = numbers[40] + numbers[41] + numbers[42] + numbers[43] + numbers[44];
    for (std::size_t s = 0; s < 5; ++s) numbers[62] += numbers[45 + s * 3];
    std::copy(numbers.begin() + 40, numbers.end(), out.ordered.row(i).begin());
  }
  return out;
}

// --- MnasNet-like blocks of Accel-NASBench: expansion, kernel, layers, squeeze-excite of 7 blocks.

Result<Encoded> encode_blocks(const Csv& csv, const std::string& space) {
  std::vector<std::string> names;
  for (int b = 0; b < 7; ++b) {
    for (const char* part : {"e", "k", "l", "se"}) names.push_back("block" + std::to_string(b) + "_" + part);
  }
  NAS_TRY(columns, columns_of(csv, names, space));
  const std::size_t n = csv.rows.size();
  Encoded out{Matrix(n, 7 * 36), Matrix(n, 7 * 36 + 6 * 9), Matrix(n, 28 + 7 * 2),
              std::vector<std::string>(n), false};
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t layers_before = 0;
    for (std::size_t b = 0; b < 7; ++b) {
      NAS_TRY(e, whole(csv, i, columns[b * 4], 1, 6));
      NAS_TRY(k, whole(csv, i, columns[b * 4 + 1], 3, 5));
      NAS_TRY(l, whole(csv, i, columns[b * 4 + 2], 1, 3));
      NAS_TRY(se, whole(csv, i, columns[b * 4 + 3], 0, 1));
      if ((e != 1 && e != 4 && e != 6) || k == 4)
        return at(csv, i, "expansion must be 1, 4 or 6 and kernel 3 or 5");
      const int entry = (e == 1 ? 0 : e == 4 ? 1 : 2) * 12 + (k == 5 ? 6 : 0) + (l - 1) * 2 + se;
      out.table(i, b * 36 + static_cast<std::size_t>(entry)) = 1;
      out.cross(i, b * 36 + static_cast<std::size_t>(entry)) = 1;
      if (b > 0)
        out.cross(i, 7 * 36 + (b - 1) * 9 + layers_before * 3 +
                         static_cast<std::size_t>(e == 1   ? 0
                                                  : e == 4 ? 1
                                                           : 2)) = 1;
      layers_before = static_cast<std::size_t>(l - 1);
      const double parts[] = {double(e), double(k), double(l), double(se)};
      std::copy(parts, parts + 4, out.numbers.row(i).begin() + static_cast<std::ptrdiff_t>(b * 4));
      out.numbers(i, 28 + b) = e * l;
      out.numbers(i, 35 + b) = e * l * k * k;
      out.key[i] += ' ' + std::to_string(entry);
    }
  }
  return out;
}

}  // namespace

Result<Encoded> encode_space(const Csv& csv, const std::string& space) {
  if (space == "nasbench201") return encode_cells(csv, space);
  if (space == "fbnet") return encode_operators(csv, space);
  if (space.starts_with("ofa-mbv3") || space == "ofa") return encode_ofa(csv, space);
  if (space == "mnasnet-accel" || space == "accel-nasbench") return encode_blocks(csv, space);
  if (space.starts_with("hat")) {
    std::vector<std::string> names{"encoder_embed_dim",
                                   "encoder_layer_num",
                                   "encoder_ffn_embed_dim_avg",
                                   "encoder_self_attention_heads_avg",
                                   "decoder_embed_dim",
                                   "decoder_layer_num",
                                   "decoder_ffn_embed_dim_avg",
                                   "decoder_self_attention_heads_avg",
                                   "decoder_ende_attention_heads_avg",
                                   "decoder_arbitrary_ende_attn_avg"};
    NAS_CHECK(columns_of(csv, names, space));
    return encode_features(csv, names);
  }
  return usage_error(
      "--space reads files of nasbench201, fbnet, ofa-mbv3-w1.0, mnasnet-accel and hat-wmt; found '" + space +
      "' (use --features for other columns)");
}

}  // namespace nas::latency
