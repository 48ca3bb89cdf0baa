#include <algorithm>
#include <cmath>
#include <map>

#include "latency/encode_columns.h"

namespace nas::latency {
namespace {

using learn::Matrix;

// One column as numbers; text becomes its index among the sorted values.
Result<std::vector<double>> read_column(const Csv& csv, std::size_t column) {
  std::vector<double> out(csv.rows.size());
  const auto first = number_at(csv, 0, column);
  if (first || csv.rows[0][column].empty()) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      NAS_TRY(value, number_at(csv, i, column));
      out[i] = value;
    }
    return out;
  }
  std::map<std::string, double> index;
  for (const auto& row : csv.rows) index[row[column]] = 0;
  double next = 0;
  for (auto& [text, value] : index) value = next++;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = index[csv.rows[i][column]];
  return out;
}

double part(const std::map<std::string, std::vector<double>>& by_name, const char* name, std::size_t i,
            double otherwise) {
  const auto found = by_name.find(name);
  return found == by_name.end() ? otherwise : found->second[i];
}

// Logarithms of work, memory traffic and tile counts of a convolution.
std::vector<double> geometry(const std::map<std::string, std::vector<double>>& c, std::size_t i) {
  const double h = part(c, "h", i, 1);
  const double w = part(c, "w", i, h);
  const double s = std::max(1.0, part(c, "s", i, 1));
  const double k = part(c, "k", i, 1);
  const double cin = part(c, "cin", i, 1);
  const double cout = part(c, "cout", i, 1);
  const double batch = part(c, "batch", i, 1);
  const double pixels = std::ceil(h / s) * std::ceil(w / s) * batch;
  const double in = h * w * cin * batch;
  const double out = pixels * cout;
  const double mid = part(c, "mid", i, 0);
  const double dense =
      mid > 0 ? h * w * batch * cin * mid + pixels * mid * (k * k + cout) : out * cin * k * k;
  std::vector<double> all{dense,  out * k * k,        in,         out, cin * cout * k * k,
                          pixels, dense / (in + out), k * k * cin};
  for (double& v : all) v = std::log(v + 1);
  for (const double tile : {16.0, 32.0, 64.0, 128.0}) {
    all.push_back(std::ceil(cout / tile) * tile / std::max(1.0, cout));
    all.push_back(std::log(std::ceil(cout / tile) * std::ceil(pixels / tile)));
  }
  all.push_back(std::fmod(cin, 8));
  all.push_back(std::fmod(cout, 8));
  return all;
}

}  // namespace

Result<Encoded> encode_features(const Csv& csv, const std::vector<std::string>& columns) {
  if (columns.empty()) return usage_error("at least one feature column is needed");
  const std::size_t n = csv.rows.size();
  std::map<std::string, std::vector<double>> by_name;
  std::vector<std::vector<double>> entries;  // columns of the additive table
  std::vector<std::vector<double>> raw;
  for (const std::string& name : columns) {
    NAS_TRY(column, csv.column(name));
    NAS_TRY(values, read_column(csv, column));
    std::map<double, std::size_t> levels;
    for (const double v : values) levels.try_emplace(v, levels.size());
    if (levels.size() <= 12) {
      for (const auto& [level, index] : levels) {
        auto& entry = entries.emplace_back(n);
        for (std::size_t i = 0; i < n; ++i) entry[i] = values[i] == level ? 1 : 0;
      }
    } else {
      entries.push_back(values);
    }
    raw.push_back(values);
    by_name[name] = std::move(values);
  }
  const bool convolution =
      by_name.count("cin") && by_name.count("cout") && by_name.count("k") && by_name.count("h");
  const std::size_t extra = convolution ? geometry(by_name, 0).size() : 0;
  const std::size_t base = raw.size();
  // Products of two and three columns, each scaled to at most 1.
  const std::size_t cubes = base <= 12 ? base * (base + 1) * (base + 2) / 6 + base * (base + 1) / 2 : 0;
  Encoded out{Matrix(n, entries.size()), Matrix(n, entries.size() + cubes), Matrix(n, base + extra),
              std::vector<std::string>(n), false};
  std::vector<double> scale(base, 1e-300);
  for (std::size_t j = 0; j < base; ++j) {
    for (const double v : raw[j]) scale[j] = std::max(scale[j], std::abs(v));
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < entries.size(); ++j) out.table(i, j) = out.cross(i, j) = entries[j][i];
    std::size_t to = entries.size();
    for (std::size_t a = 0; a < base && cubes > 0; ++a) {
      for (std::size_t b = 0; b <= a; ++b) {
        const double product = raw[a][i] / scale[a] * raw[b][i] / scale[b];
        out.cross(i, to++) = product;
        for (std::size_t c = 0; c <= b; ++c) out.cross(i, to++) = product * raw[c][i] / scale[c];
      }
    }
    for (std::size_t j = 0; j < base; ++j) {
      out.numbers(i, j) = raw[j][i];
      out.key[i] += std::to_string(raw[j][i]) + ' ';
    }
    if (!convolution) continue;
    const std::vector<double> more = geometry(by_name, i);
    std::copy(more.begin(), more.end(), out.numbers.row(i).begin() + static_cast<std::ptrdiff_t>(base));
  }
  return out;
}

}  // namespace nas::latency
