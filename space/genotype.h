#pragma once
#include <compare>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace nas {

// One choice index per gene, in the space's fixed gene order. A regular value without a link to its space;
// the space checks, prints and lowers it.
class Genotype {
 public:
  Genotype() = default;
  explicit Genotype(std::size_t genes) : choices_(genes, 0) {}
  Genotype(std::initializer_list<std::uint8_t> choices) : choices_(choices) {}

  std::size_t size() const { return choices_.size(); }
  std::uint8_t operator[](std::size_t gene) const { return choices_[gene]; }
  std::uint8_t& operator[](std::size_t gene) { return choices_[gene]; }
  const std::uint8_t* data() const { return choices_.data(); }
  auto begin() const { return choices_.begin(); }
  auto end() const { return choices_.end(); }

  friend auto operator<=>(const Genotype&, const Genotype&) = default;
  friend bool operator==(const Genotype&, const Genotype&) = default;

 private:
  std::vector<std::uint8_t> choices_;
};

}  // namespace nas
