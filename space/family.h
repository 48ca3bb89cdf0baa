#pragma once
#include <string>
#include <vector>

#include "space/json/document.h"
#include "space/search_space.h"

namespace nas {

// What a family's reader makes of a definition; SearchSpace::make adds the rest.
struct FamilyParts {
  std::vector<Gene> genes;
  SearchSpace::Lower lower;
};

// Collects genes while a definition is read. Each add_… returns the new gene's index.
class GeneList {
 public:
  // Later genes depend on `parent` having a choice of at least `low` until the next call; -1 ends it.
  void depend_on(int parent, std::uint8_t low = 0) {
    parent_ = parent;
    low_ = low;
  }
  int add(std::string name, std::string family, std::vector<Choice> choices);
  std::vector<Gene> take() { return std::move(genes_); }
  std::size_t size() const { return genes_.size(); }

 private:
  std::vector<Gene> genes_;
  int parent_ = -1;
  std::uint8_t low_ = 0;
};

// "3", "0.25", "1e-05": the shortest text that reads back as the same number.
std::string number_label(double value);
std::vector<Choice> number_choices(const std::vector<double>& values);

// A scalar or a list of distinct numbers in [low, high], ascending in the result. {"from","to","step"} too.
std::vector<double> read_values(JsonReader& reader, const std::string& key, double low, double high,
                                bool whole, std::optional<std::vector<double>> fallback = {});

// The families, one reader each. `name`, `family` and `description` are read by the caller.
FamilyParts read_staged(JsonReader& reader);
FamilyParts read_resnet50d(JsonReader& reader);
FamilyParts read_autoformer(JsonReader& reader);
FamilyParts read_hat(JsonReader& reader);
FamilyParts read_nasbench201(JsonReader& reader);

}  // namespace nas
