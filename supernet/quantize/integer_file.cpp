#include "supernet/quantize/integer_file.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "space/base/file.h"

namespace nas::supernet {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "hwnas-integers-1";
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kRowExtra = 8;  // bias and scale

struct Rows {
  std::size_t count = 0, length = 0, bits = 8;
  bool channels_last = false;
  std::size_t bytes() const { return (length * bits + 7) / 8; }
  std::size_t place(std::size_t row, std::size_t i) const {
    return channels_last ? i * count + row : row * length + i;
  }
};

Rows rows_of(const DeployedOp& op) {
  return {static_cast<std::size_t>(op.out.channels), static_cast<std::size_t>(weights_per_channel(op)),
          op.weight_bits, op.kind == DeployedKind::depthwise};
}

template <class T>
void append(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T take(std::string_view& from) {
  T value{};
  from.copy(reinterpret_cast<char*>(&value), sizeof value);
  from.remove_prefix(sizeof value);
  return value;
}

std::string payload_of(const QuantizedNetwork& q) {
  std::string out;
  for (std::size_t i = 0; i < q.weights.size(); ++i) {
    if (q.deployment.ops[i].part == DeployedPart::none) continue;
    const Rows rows = rows_of(q.deployment.ops[i]);
    for (std::size_t r = 0; r < rows.count; ++r) {
      std::string codes(rows.bytes(), '\0');
      for (std::size_t k = 0; k < rows.length; ++k) {
        const auto code =
            static_cast<unsigned>(q.weights[i].values[rows.place(r, k)]) & ((1U << rows.bits) - 1);
        char& byte = codes[k * rows.bits / 8];
        byte = static_cast<char>(static_cast<unsigned char>(byte) | code << (k * rows.bits % 8));
      }
      out += codes;
      append(out, q.weights[i].bias[r]);
      append(out, static_cast<float>(q.weights[i].scales[r]));
    }
  }
  return out;
}

Json grids_json(const std::vector<Quantization>& grids) {
  Json list = Json::array();
  for (const Quantization& g : grids) list.push_back({g.scale, g.zero, g.bits});
  return list;
}

bool read_grids(const Json& list, std::size_t count, std::vector<Quantization>& grids) {
  if (!list.is_array() || list.size() != count) return false;
  for (const Json& g : list) {
    if (!g.is_array() || g.size() != 3 || !g[0].is_number() || !g[1].is_number_integer() ||
        !g[2].is_number_integer())
      return false;
    const double scale = g[0].get<double>();
    const auto zero = g[1].get<std::int64_t>(), bits = g[2].get<std::int64_t>();
    if (!(scale > 0) || !std::isfinite(scale) || zero < -128 || zero > 127 || (bits != 8 && bits != 4))
      return false;
    grids.push_back({scale, static_cast<std::int32_t>(zero), static_cast<std::int32_t>(bits)});
  }
  return true;
}

// Signed codes of so many bits; the lowest is never written.
bool read_row(std::string_view& from, const Rows& rows, std::size_t r, QuantizedWeights& w) {
  const int top = largest_code(static_cast<std::int32_t>(rows.bits));
  for (std::size_t k = 0; k < rows.length; ++k) {
    const unsigned byte = static_cast<unsigned char>(from[k * rows.bits / 8]);
    const auto code = static_cast<int>((byte >> (k * rows.bits % 8)) & ((1U << rows.bits) - 1));
    const int value = code > top ? code - (1 << rows.bits) : code;
    if (value < -top) return false;
    w.values[rows.place(r, k)] = static_cast<std::int8_t>(value);
  }
  from.remove_prefix(rows.bytes());
  w.bias.push_back(take<std::int32_t>(from));
  w.scales.push_back(static_cast<double>(take<float>(from)));
  return w.scales.back() > 0 && std::isfinite(w.scales.back());
}

}  // namespace

std::int64_t integer_payload(const QuantizedNetwork& q) {
  return static_cast<std::int64_t>(payload_of(q).size());
}

std::string integer_bytes(const QuantizedNetwork& q) {
  const std::string payload = payload_of(q);
  const std::string header = Json{
      {"format", kFormat},
      {"tensors", grids_json(q.tensors)},
      {"before", grids_json(q.before)},
      {"sha256",
       sha256(payload)}}.dump();
  std::string bytes;
  append(bytes, static_cast<std::uint64_t>(header.size()));
  return bytes + header + payload;
}

Result<QuantizedNetwork> integers_from_bytes(std::string_view bytes, const Network& network,
                                             const std::string& where) {
  const auto bad = [&](const std::string& why) { return Error{"integer network: " + why, where}; };
  if (bytes.size() < kLengthBytes) return bad("is too short");
  const auto length = take<std::uint64_t>(bytes);
  if (length > bytes.size()) return bad("the header is longer than the file");
  const Json header = Json::parse(bytes.substr(0, length), nullptr, false);
  bytes.remove_prefix(length);
  if (!header.is_object() || !header.contains("format") || header["format"] != kFormat)
    return bad(std::string("format must be ") + kFormat);
  if (!header.contains("sha256") || header["sha256"] != sha256(bytes))
    return bad("its sum differs: it was changed");
  QuantizedNetwork q;
  NAS_TRY(deployment, deploy(network));
  q.deployment = std::move(deployment);
  const std::size_t ops = q.deployment.ops.size();
  if (!read_grids(header.value("tensors", Json()), ops + 1, q.tensors) ||
      !read_grids(header.value("before", Json()), ops, q.before))
    return bad("its grids are not those of this network");
  std::size_t expected = 0;
  for (const DeployedOp& op : q.deployment.ops)
    if (op.part != DeployedPart::none) expected += rows_of(op).count * (rows_of(op).bytes() + kRowExtra);
  if (bytes.size() != expected)
    return bad("this network has " + std::to_string(expected) + " bytes of weights, found " +
               std::to_string(bytes.size()));
  for (const DeployedOp& op : q.deployment.ops) {
    QuantizedWeights& w = q.weights.emplace_back();
    if (op.part == DeployedPart::none) continue;
    const Rows rows = rows_of(op);
    w.values.resize(rows.count * rows.length);
    for (std::size_t r = 0; r < rows.count; ++r)
      if (!read_row(bytes, rows, r, w)) return bad("a code or scale is out of range");
  }
  return q;
}

}  // namespace nas::supernet
