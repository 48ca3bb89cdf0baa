#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>

#include "space/quantized_network.h"
#include "supernet/trained_network.h"

namespace nas::apps {

// What `hwnas compress` leaves and export and estimate take in the place of an architecture: a folder with
// network.safetensors (layers, their bits, weights), network.integers (the integer network, packed; absent
// for a float one) and compression.json (what was done and what came of it); renamed when all are there.
struct CompressedNetwork {
  supernet::TrainedNetwork trained;
  std::optional<QuantizedNetwork> integer;
  nlohmann::ordered_json record;
};

bool is_compressed(const std::string& path);
Result<void> save_compressed(const std::filesystem::path& folder, const CompressedNetwork& network);
Result<CompressedNetwork> load_compressed(const std::filesystem::path& folder);

}  // namespace nas::apps
