#include "apps/network_costs.h"
#include "apps/supernet_model.h"

namespace nas::apps {

Result<SearchProblem> supernet_problem(JsonReader& reader, const std::filesystem::path& base,
                                       const std::filesystem::path& project) {
  SupernetRequest request;
  request.run = base / reader.text("run");
  request.space = reader.text("space", "");
  const std::string accuracies = reader.text("accuracies", "");
  if (!accuracies.empty()) request.accuracies = base / accuracies;
  request.images = reader.integer("images", 0, INT64_MAX, 0);
  const CostRequest costs = read_cost_request(reader);
  if (request.images > 0 && !accuracies.empty())
    reader.fail("images", "the file of accuracies holds those on all images; required one of the two");
  reader.done();
  NAS_TRY(model, open_supernet_model(request));
  SearchProblem problem{model.space, model.top1};
  // The reference needs no evaluation: the worst accuracy is that of guessing.
  problem.probe = {model.top1.metrics, search::ThreadSafety::concurrent, nullptr};
  problem.probe.score = [chance = model.chance](std::span<const Genotype> batch, double,
                                                search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) scores.row(i)[0] = chance;
  };
  problem.relaxed_loss = model.loss;
  problem.bounds.push_back({"top1", 0, 1});
  NAS_CHECK(add_network_costs(problem, costs, base, project));
  return problem;
}

}  // namespace nas::apps
