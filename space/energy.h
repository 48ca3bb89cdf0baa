#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/cost.h"
#include "space/kernel.h"
#include "space/network.h"

namespace nas {

// Energy coefficients of one technology, as data. Levels ascend in size; the last one holds everything.
struct EnergyTable {
  struct Operation {
    std::int32_t bits = 32;  // of the wider operand
    double picojoules = 0;   // one multiply-accumulate
  };
  struct Level {
    std::string name;
    std::int64_t bytes = 0;  // capacity, 0: unlimited
    double picojoules_per_byte = 0;
  };
  std::string name;
  std::string source;
  std::vector<Operation> macs;  // ascending bits
  std::vector<Level> levels;
};

// The shipped tables, and one from JSON text ({"name","source","macs":[…],"levels":[…]}, docs/cost.md).
std::vector<std::string> energy_table_names();
Result<EnergyTable> parse_energy_table(const std::string& json_text, const std::string& where);
// A shipped name or the path of a JSON file.
Result<EnergyTable> load_energy_table(const std::string& name_or_path);

// Modelled, never measured: MACs times the coefficient of their bits (the nearest not narrower), plus every
// kernel's traffic (inputs and output once, from the smallest level that holds them together; its weights
// once, from the smallest level that holds all weights of the network) times the level's coefficient.
struct Energy {
  std::string table;
  double mac_joules = 0;
  std::vector<double> level_joules;  // by table level
  std::vector<Bytes> level_bytes;
  double joules() const;
};
Energy energy(const Network& network, Precision precision, const FusionRules& rules,
              const EnergyTable& table);

// The same energy by kernel, in execution order: its MACs, its traffic and its own weights. Sums to joules().
std::vector<double> kernel_joules(const Network& network, Precision precision, const FusionRules& rules,
                                  const EnergyTable& table);

}  // namespace nas
