#include "space/json/document.h"
#include "space/search_space.h"

namespace nas {

std::string SearchSpace::to_json(const Genotype& g) const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (!active(g, i)) continue;
    const Choice& choice = genes()[i].choices[g[i]];
    const nlohmann::json number = nlohmann::json::parse(choice.label, nullptr, false);
    if (number.is_number())
      out[genes()[i].name] = number;
    else
      out[genes()[i].name] = choice.label;
  }
  return out.dump();
}

Result<Genotype> SearchSpace::from_json(std::string_view json_text, const std::string& where) const {
  NAS_TRY(document, JsonDocument::parse(json_text, where));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  Genotype g(genes().size());
  for (std::size_t i = 0; i < genes().size(); ++i) {
    const Gene& gene = genes()[i];
    const nlohmann::json& found = reader.raw(gene.name);
    // Parents stand before children, so whether this gene is active is known here.
    if (found.is_null() && active(g, i)) reader.fail("", "lacks the gene \"" + gene.name + "\"");
    if (found.is_null() || !active(g, i)) continue;
    const std::string label = found.is_string() ? found.get<std::string>() : found.dump();
    std::size_t choice = 0;
    while (choice < gene.choices.size() && gene.choices[choice].label != label) ++choice;
    if (choice < gene.choices.size())
      g[i] = static_cast<std::uint8_t>(choice);
    else
      reader.fail(gene.name, label.substr(0, 40) + " is not one of its " +
                                 std::to_string(gene.choices.size()) + " choices");
  }
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  return canonical(std::move(g));
}

}  // namespace nas
