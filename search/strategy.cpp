#include "search/strategy.h"

namespace nas::search {

Setting make_setting(const SearchSpace& space, const Judge& judge, std::uint64_t seed,
                     std::shared_ptr<const Screen> screen, std::shared_ptr<const Listing> listing) {
  return {space,
          std::make_shared<const GeneForest>(space),
          seed,
          judge.objectives(),
          std::move(screen),
          std::move(listing)};
}

Proposal& Ask::add() {
  if (count == proposals.size()) proposals.emplace_back();
  Proposal& proposal = proposals[count++];
  proposal.parent_a = proposal.parent_b = -1;
  proposal.origin = Origin::random;
  return proposal;
}

}  // namespace nas::search
