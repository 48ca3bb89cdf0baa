#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "apps/ledger.h"

namespace nas::apps {

// A finished export in the project's store: its architecture, files with their sums, and how its forms agreed
// on the test images. `network`: as the user named it ("RUN:best", a genotype's text, …).
void keep_export(const Context& context, const SearchSpace& space, const Genotype& genotype,
                 const std::filesystem::path& folder, const std::string& network);

// What `hwnas verify` found: a row of parity a runtime that ran; `rows` as verify_folder() gives them.
void keep_verification(const Context& context, const std::filesystem::path& folder,
                       const std::vector<nlohmann::ordered_json>& rows);

}  // namespace nas::apps
