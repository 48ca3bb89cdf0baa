#include "space/energy.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "space/base/file.h"
#include "space/json/document.h"

namespace nas {
namespace {

// M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45 nm,
// 0.9 V. A MAC is a multiply plus an add (int8: 0.2 + 0.1 for a 32-bit accumulator; fp16: 1.1 + 0.4;
// fp32: 3.7 + 0.9). Memory is given per 64-bit access: 10 pJ at 8 KiB, 20 at 32 KiB, 100 at 1 MiB, DRAM 1300
// to 2600 (middle here).
constexpr const char* kHorowitz = R"json({
  "name": "horowitz-45nm",
  "source": "Horowitz, ISSCC 2014, figure 1.1.9 (45 nm, 0.9 V)",
  "macs": [
    {"bits": 8, "picojoules": 0.3},
    {"bits": 16, "picojoules": 1.5},
    {"bits": 32, "picojoules": 4.6}
  ],
  "levels": [
    {"name": "sram-8K", "bytes": 8192, "picojoules_per_byte": 1.25},
    {"name": "sram-32K", "bytes": 32768, "picojoules_per_byte": 2.5},
    {"name": "sram-1M", "bytes": 1048576, "picojoules_per_byte": 12.5},
    {"name": "dram", "bytes": 0, "picojoules_per_byte": 243.75}
  ]
})json";

void check_order(EnergyTable& table, JsonReader& reader) {
  if (table.macs.empty()) reader.fail("macs", "needs at least one entry");
  if (table.levels.empty()) reader.fail("levels", "needs at least one level");
  if (!std::ranges::is_sorted(table.macs, {}, &EnergyTable::Operation::bits))
    reader.fail("macs", "bits must ascend");
  for (std::size_t i = 0; i < table.levels.size(); ++i) {
    const bool last = i + 1 == table.levels.size();
    if (last != (table.levels[i].bytes == 0))
      reader.fail("levels", "the last level, and only it, has 0 bytes (holds everything)");
    if (i > 0 && !last && table.levels[i].bytes <= table.levels[i - 1].bytes)
      reader.fail("levels", "bytes must ascend");
  }
}

std::size_t level_for(const EnergyTable& table, std::int64_t bytes) {
  std::size_t i = 0;
  while (i + 1 < table.levels.size() && table.levels[i].bytes < bytes) ++i;
  return i;
}

double mac_picojoules(const EnergyTable& table, std::int32_t bits) {
  for (const EnergyTable::Operation& m : table.macs)
    if (m.bits >= bits) return m.picojoules;
  return table.macs.back().picojoules;
}

std::int32_t widest_bits(const Kernel& k, Precision p) {
  const auto chosen = [](std::uint8_t bits, std::uint8_t otherwise) { return bits != 0 ? bits : otherwise; };
  return std::max<std::int32_t>(chosen(k.anchor.weight_bits, p.weight_bits),
                                chosen(k.input_bits[0], p.activation_bits));
}

// Bytes that a kernel reads and writes besides its weights.
std::int64_t activation_traffic(const Network& network, const Kernel& k, Precision precision) {
  std::int64_t bytes = output_bytes(k.anchor, precision).count();
  for (const std::int32_t from : k.anchor.inputs)
    if (from >= 0) bytes += output_bytes(network.layers[static_cast<std::size_t>(from)], precision).count();
  if (k.add) bytes += output_bytes(k.anchor, precision).count();
  return bytes;
}

}  // namespace

std::vector<std::string> energy_table_names() { return {"horowitz-45nm"}; }

Result<EnergyTable> parse_energy_table(const std::string& json_text, const std::string& where) {
  NAS_TRY(document, JsonDocument::parse(json_text, where));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  EnergyTable table;
  table.name = reader.text("name");
  table.source = reader.text("source");
  for (JsonReader& m : reader.objects("macs", true)) {
    table.macs.push_back(
        {static_cast<std::int32_t>(m.integer("bits", 1, 64)), m.number("picojoules", 0, 1e9)});
    m.done();
  }
  for (JsonReader& l : reader.objects("levels", true)) {
    table.levels.push_back({l.text("name"), l.integer("bytes", 0, std::int64_t{1} << 50),
                            l.number("picojoules_per_byte", 0, 1e9)});
    l.done();
  }
  reader.done();
  if (errors.empty()) check_order(table, reader);
  if (!errors.empty()) return join_errors(errors);
  return table;
}

Result<EnergyTable> load_energy_table(const std::string& name_or_path) {
  if (name_or_path == "horowitz-45nm") return parse_energy_table(kHorowitz, "horowitz-45nm");
  if (!std::filesystem::exists(name_or_path))
    return usage_error("energy table: needs \"horowitz-45nm\" or a JSON file, found \"" + name_or_path +
                       "\"");
  NAS_TRY(text, read_file(name_or_path, std::uint64_t{1} << 20));
  return parse_energy_table(text, name_or_path);
}

double Energy::joules() const {
  return std::accumulate(level_joules.begin(), level_joules.end(), mac_joules);
}

Energy energy(const Network& network, Precision precision, const FusionRules& rules,
              const EnergyTable& table) {
  Energy e;
  e.table = table.name;
  e.level_joules.assign(table.levels.size(), 0);
  e.level_bytes.assign(table.levels.size(), Bytes(0));
  const auto move = [&](std::size_t level, std::int64_t bytes) {
    e.level_bytes[level] += Bytes(bytes);
    e.level_joules[level] += 1e-12 * table.levels[level].picojoules_per_byte * static_cast<double>(bytes);
  };
  move(level_for(table, weight_bytes(network, precision).count()), weight_bytes(network, precision).count());
  for (const Kernel& k : kernels(network, rules)) {
    e.mac_joules += 1e-12 * mac_picojoules(table, widest_bits(k, precision)) *
                    static_cast<double>(macs(k.anchor).count());
    const std::int64_t bytes = activation_traffic(network, k, precision);
    move(level_for(table, bytes), bytes);
  }
  return e;
}

std::vector<double> kernel_joules(const Network& network, Precision precision, const FusionRules& rules,
                                  const EnergyTable& table) {
  const auto picojoules = [&](std::int64_t bytes, std::size_t level) {
    return table.levels[level].picojoules_per_byte * static_cast<double>(bytes);
  };
  const std::size_t home = level_for(table, weight_bytes(network, precision).count());
  std::vector<double> joules;
  for (const Kernel& k : kernels(network, rules)) {
    const std::int64_t bytes = activation_traffic(network, k, precision);
    std::int64_t weights = 0;
    for (const std::int32_t layer : k.layers)
      weights += weight_bytes(network, static_cast<std::size_t>(layer), precision).count();
    joules.push_back(1e-12 * (mac_picojoules(table, widest_bits(k, precision)) *
                                  static_cast<double>(macs(k.anchor).count()) +
                              picojoules(bytes, level_for(table, bytes)) + picojoules(weights, home)));
  }
  return joules;
}

}  // namespace nas
