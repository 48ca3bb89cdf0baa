#include "apps/export/layer_in_message.h"

#include <cstdlib>
#include <string>

#include "space/deployment.h"

namespace nas::apps {

Error with_layer_name(Error error, const Network& network) {
  const std::string mark = "operation ", function = "net_op";
  const auto deployment = deploy(network);
  if (!deployment) return error;
  const std::size_t at = error.message.find(mark);
  const bool in_where = at == std::string::npos && error.where.starts_with(function);
  if (at == std::string::npos && !in_where) return error;
  const char* digits =
      in_where ? error.where.c_str() + function.size() : error.message.c_str() + at + mark.size();
  const std::size_t index = std::strtoul(digits, nullptr, 10);
  if (in_where) error.where.clear();
  if (index >= deployment->ops.size()) return error;
  const auto layer = static_cast<std::size_t>(deployment->ops[index].layer);
  error.message.insert(in_where ? 0 : at, "layer " + layer_name(network.layers[layer]) + ": ");
  return error;
}

}  // namespace nas::apps
