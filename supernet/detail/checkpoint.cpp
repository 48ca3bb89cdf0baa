#include "supernet/detail/checkpoint.h"

#include <algorithm>
#include <cstdlib>
#include <unordered_map>

namespace nas::supernet {
namespace {

constexpr const char* kFormat = "hwnas-checkpoint-1";

// Lists of tensors a parameter each, by the prefix of their names in the file.
std::vector<std::pair<std::string, std::vector<at::Tensor>*>> lists_of(Optimizer& optimizer) {
  std::vector<std::pair<std::string, std::vector<at::Tensor>*>> lists;
  for (std::size_t s = 0; s < optimizer.state().size(); ++s)
    lists.emplace_back("state" + std::to_string(s) + "/", &optimizer.state()[s]);
  if (!optimizer.average().empty()) lists.emplace_back("average/", &optimizer.average());
  return lists;
}

using ByName = std::unordered_map<std::string, const NamedTensor*>;

Result<const NamedTensor*> look_up(const ByName& tensors, const std::string& name, const Parameter& p) {
  const auto it = tensors.find(name);
  if (it == tensors.end()) return Error{"checkpoint: no tensor \"" + name + "\""};
  if (it->second->shape != p.shape) return Error{"checkpoint: tensor \"" + name + "\" has another shape"};
  return it->second;
}

}  // namespace

TensorFile pack_checkpoint(const TrainState& state, const RunIdentity& identity, const WeightTable& weights,
                           Optimizer& optimizer, const std::optional<WeightTable>& teacher) {
  TensorFile file;
  char score[40];
  std::snprintf(score, sizeof score, "%a", state.best_score);
  file.metadata = {{"format", kFormat},
                   {"phase", std::to_string(state.phase)},
                   {"phase_step", std::to_string(state.phase_step)},
                   {"step", std::to_string(state.step)},
                   {"updates", std::to_string(optimizer.updates())},
                   {"best_score", state.has_best ? score : ""},
                   {"teacher", teacher ? "yes" : "no"},
                   {"space_fingerprint", identity.space_fingerprint},
                   {"recipe_hash", identity.recipe_hash},
                   {"data_fingerprint", identity.data_fingerprint},
                   {"seed", std::to_string(identity.seed)}};
  const auto& parameters = weights.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    file.tensors.push_back(to_named("weight/" + parameters[i].name, parameters[i].value));
    if (teacher)
      file.tensors.push_back(to_named("teacher/" + parameters[i].name, teacher->parameters()[i].value));
    for (const auto& [prefix, list] : lists_of(optimizer))
      file.tensors.push_back(to_named(prefix + parameters[i].name, (*list)[i]));
  }
  return file;
}

Result<TrainState> unpack_checkpoint(const TensorFile& file, const RunIdentity& identity,
                                     WeightTable& weights, Optimizer& optimizer,
                                     std::optional<WeightTable>& teacher) {
  const auto get = [&](const char* key) {
    const auto it = file.metadata.find(key);
    return it == file.metadata.end() ? std::string() : it->second;
  };
  if (get("format") != kFormat) return Error{"checkpoint: format must be " + std::string(kFormat)};
  const std::pair<const char*, std::string> same[] = {{"space_fingerprint", identity.space_fingerprint},
                                                      {"recipe_hash", identity.recipe_hash},
                                                      {"data_fingerprint", identity.data_fingerprint},
                                                      {"seed", std::to_string(identity.seed)}};
  for (const auto& [key, value] : same)
    if (get(key) != value)
      return usage_error("the checkpoint is of another run: its " + std::string(key) + " is \"" + get(key) +
                         "\", this run's is \"" + value + "\"; use another folder to start afresh");
  ByName tensors;
  for (const NamedTensor& t : file.tensors) tensors[t.name] = &t;
  const bool taught = get("teacher") == "yes";
  std::vector<std::pair<at::Tensor, const NamedTensor*>> copies;
  std::optional<WeightTable> guide;
  if (taught) guide = weights.clone();
  std::vector<Parameter>& parameters = weights.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    NAS_TRY(weight, look_up(tensors, "weight/" + parameters[i].name, parameters[i]));
    copies.emplace_back(parameters[i].value, weight);
    for (const auto& [prefix, list] : lists_of(optimizer)) {
      NAS_TRY(value, look_up(tensors, prefix + parameters[i].name, parameters[i]));
      copies.emplace_back((*list)[i], value);
    }
    if (!taught) continue;
    NAS_TRY(value, look_up(tensors, "teacher/" + parameters[i].name, parameters[i]));
    copies.emplace_back(guide->parameters()[i].value, value);
  }
  for (auto& [to, from] : copies) to.copy_(from_named(*from, to.device()));
  teacher = std::move(guide);
  const auto number = [&](const char* key) { return std::strtoll(get(key).c_str(), nullptr, 10); };
  optimizer.updates() = number("updates");
  TrainState state{static_cast<int>(number("phase")), number("phase_step"), number("step"), 0,
                   !get("best_score").empty()};
  if (state.has_best) state.best_score = std::strtod(get("best_score").c_str(), nullptr);
  return state;
}

namespace {

// Names sort by their step.
std::string step_digits(std::int64_t step) {
  std::string digits = std::to_string(step);
  return digits.insert(0, digits.size() < 9 ? 9 - digits.size() : 0, '0');
}

std::string owed_suffix(const Ranks& ranks) {
  return "-rank-" + std::to_string(ranks.rank()) + "-of-" + std::to_string(ranks.world()) + ".safetensors";
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder, const std::string& prefix,
                                            const std::string& suffix) {
  std::vector<std::filesystem::path> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) found.push_back(entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

}  // namespace

std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step) {
  return folder / ("checkpoint-" + step_digits(step) + ".safetensors");
}

std::vector<std::filesystem::path> checkpoints_in(const std::filesystem::path& folder) {
  return files_in(folder, "checkpoint-", ".safetensors");
}

Result<void> save_owed(const std::filesystem::path& folder, std::int64_t step, const Ranks& ranks,
                       const std::string& exchange, const ExchangeHook& hook, int keep) {
  const TensorFile file{{{"exchange", exchange}}, hook.state()};
  if (file.tensors.empty()) return {};
  NAS_CHECK(save_tensors(folder / ("owed-" + step_digits(step) + owed_suffix(ranks)), file));
  const auto all = files_in(folder, "owed-", owed_suffix(ranks));
  std::error_code ignored;
  for (std::size_t i = static_cast<std::size_t>(std::max(1, keep)); i < all.size(); ++i)
    std::filesystem::remove(all[i], ignored);
  return {};
}

Result<void> load_owed(const std::filesystem::path& folder, std::int64_t step, const Ranks& ranks,
                       const std::string& exchange, ExchangeHook& hook) {
  const auto path = folder / ("owed-" + step_digits(step) + owed_suffix(ranks));
  if (std::error_code ignored; !std::filesystem::exists(path, ignored)) return {};
  NAS_TRY(file, load_tensors(path));
  const auto kind = file.metadata.find("exchange");
  if (kind == file.metadata.end() || kind->second != exchange) return {};
  return hook.set_state(file.tensors);
}

}  // namespace nas::supernet
