#include "apps/supernet_model.h"

namespace nas::apps {

Result<SupernetModel> open_supernet_model(const SupernetRequest& request) {
  return Error{"a search on a supernet needs LibTorch: hwnas-torch", request.run.string()};
}

}  // namespace nas::apps
