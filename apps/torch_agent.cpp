// hwnas-torch as the agent of engine torch: the same protocol as on every other device, LibTorch behind it.
#include "apps/torch_agent.h"

#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <vector>

#include "devices/agent/hw_agent.h"
#include "space/base/file.h"
#include "supernet/network_json.h"
#include "supernet/quantize/drawn.h"
#include "supernet/runtime.h"
#include "supernet/torch_engine.h"

const hw_kernel* hw_kernels = nullptr;
uint16_t hw_kernel_count = 0;
const char* hw_build_id = "";
uint8_t hw_arena[16];
const uint32_t hw_arena_bytes = sizeof hw_arena;
extern "C" int hw_hosted_main(int argc, char** argv);
extern "C" const char* hw_engine_version(void) {
  static const std::string text = nas::supernet::torch_version();
  return text.c_str();
}

namespace nas::apps {
namespace {

struct Model {
  std::string name;
  Network network;
  std::optional<supernet::TorchEngine> engine;
};

struct State {
  std::vector<Model> models;
  std::string device;
} state;

[[noreturn]] void give_up(const std::string& words) {
  std::fprintf(stderr, "%s\n", words.c_str());
  std::exit(70);
}

void run_current(uint8_t*) {
  Model& model = state.models[hw_running];
  if (!model.engine) {
    auto deployment = deploy(model.network);
    if (!deployment) give_up(deployment.error().message);
    auto made = supernet::TorchEngine::make(supernet::drawn_network(*std::move(deployment), model.name),
                                            state.device);
    if (!made) give_up(made.error().message);
    model.engine.emplace(*std::move(made));
  }
  model.engine->run();
}

Result<void> read_models(const std::string& text, const std::string& where) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("name") || !json.contains("network"))
      return usage_error("a line needs name and network", where);
    NAS_TRY(network, supernet::network_from_json(json["network"].dump(), where));
    state.models.push_back({json["name"].get<std::string>(), std::move(network), {}});
  }
  return state.models.size() <= 65535 ? Result<void>{} : usage_error("65535 models at most", where);
}

}  // namespace

int torch_agent(int argc, char** argv) {
  if (argc < 4) give_up("usage: hwnas-torch torch-agent MODELS.jsonl cpu|cuda [agent's options]");
  const auto text = read_file(argv[2], std::uint64_t{1} << 30);
  if (!text) give_up(to_string(text.error()));
  if (const auto read = read_models(*text, argv[2]); !read) give_up(to_string(read.error()));
  state.device = argv[3];
  static std::string id = sha256(*text).substr(0, 32);
  static std::vector<hw_kernel> table;
  for (const Model& model : state.models)
    table.push_back({model.name.c_str(), run_current, 16, 0, 0, 0, 0, 4});
  hw_kernels = table.data();
  hw_kernel_count = static_cast<uint16_t>(table.size());
  hw_build_id = id.c_str();
  int threads = 1;
  std::vector<char*> rest{argv[0]};
  for (int i = 4; i < argc; ++i) {
    if (std::string(argv[i]) == "--threads" && i + 1 < argc) threads = std::max(1, std::atoi(argv[i + 1]));
    rest.push_back(argv[i]);
  }
  supernet::prepare_runtime();
  supernet::set_engine_threads(threads);
  if (state.device == "cuda") hw_device_ticks = supernet::cuda_clock();
  rest.push_back(nullptr);
  return hw_hosted_main(static_cast<int>(rest.size()) - 1, rest.data());
}

}  // namespace nas::apps
