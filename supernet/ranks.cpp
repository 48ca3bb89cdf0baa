#include "supernet/ranks.h"

#include <ATen/ATen.h>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace nas::supernet {
namespace {

std::optional<std::string> variable(const char* name) {
  const char* const text = std::getenv(name);
  return text && *text ? std::optional<std::string>(text) : std::nullopt;
}

Result<int> number(const std::string& name, const std::string& text, int low, int high) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (*end != 0 || value < low || value > high)
    return usage_error(name + ": required: a number from " + std::to_string(low) + " to " +
                       std::to_string(high) + ", found \"" + text + "\"");
  return static_cast<int>(value);
}

// Calls c10d, whose failures are exceptions.
template <typename Call>
Result<void> guarded(const std::string& what, const RankPlace& place, Call call) {
  try {
    call();
    return {};
  } catch (const std::exception& e) {
    std::string reason = e.what();
    reason = reason.substr(0, reason.find('\n'));
    return Error{"rank " + std::to_string(place.rank) + " of " + std::to_string(place.world) + ": " + what +
                     ": " + reason.substr(0, 200),
                 place.address + ":" + std::to_string(place.port), ErrorKind::device};
  }
}

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace

struct Ranks::Impl {
  c10::intrusive_ptr<c10d::Store> store;
  std::unique_ptr<c10d::ProcessGroupGloo> group;
  std::vector<decltype(group->allreduce(std::declval<std::vector<at::Tensor>&>()))> pending;
  std::vector<std::vector<at::Tensor>> held;
  std::vector<std::vector<std::vector<at::Tensor>>> gathered;
  double sent = 0;  // bytes
  int agreements = 0;
  std::string failure;  // of a begin_ call: finish() says so

  // Begins a collective; failures wait for finish().
  template <typename Call>
  void begin(Call call) {
    try {
      pending.push_back(call());
    } catch (const std::exception& e) {
      if (failure.empty()) failure = e.what();
    }
  }
  void begin_sum(at::Tensor values) {
    const double world = group->getSize();
    sent += 2 * (world - 1) / world * static_cast<double>(values.nbytes());
    held.push_back({std::move(values)});
    begin([&] { return group->allreduce(held.back()); });
  }
};

Result<RankPlace> find_rank_place() {
  RankPlace place;
  static constexpr const char* kPairs[][2] = {{"RANK", "WORLD_SIZE"},
                                              {"SLURM_PROCID", "SLURM_NTASKS"},
                                              {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}};
  for (const auto& [rank_name, world_name] : kPairs) {
    const auto rank = variable(rank_name), world = variable(world_name);
    if (!rank || !world) continue;
    // Inside a batch script, before srun, Slurm already counts tasks that do not run.
    if (std::string_view(rank_name) == "SLURM_PROCID" && !variable("SLURM_STEP_ID")) continue;
    NAS_TRY(size, number(world_name, *world, 1, 65536));
    NAS_TRY(index, number(rank_name, *rank, 0, size - 1));
    place.world = size;
    place.rank = index;
    place.launched = true;
    break;
  }
  if (const auto address = variable("MASTER_ADDR"))
    place.address = *address;
  else if (const auto launch = variable("SLURM_LAUNCH_NODE_IPADDR"))
    place.address = *launch;
  if (const auto port = variable("MASTER_PORT")) {
    NAS_TRY(value, number("MASTER_PORT", *port, 1, 65535));
    place.port = value;
  }
  return place;
}

Ranks::Ranks(RankPlace place, std::unique_ptr<Impl> impl)
    : place_(std::move(place)), impl_(std::move(impl)) {}
Ranks::Ranks(Ranks&&) noexcept = default;
Ranks& Ranks::operator=(Ranks&&) noexcept = default;
Ranks::~Ranks() = default;

Result<Ranks> Ranks::join(const RankPlace& place) {
  auto impl = std::make_unique<Impl>();
  const auto timeout = std::chrono::milliseconds(static_cast<std::int64_t>(place.timeout_seconds * 1000));
  NAS_CHECK(guarded("cannot meet the other ranks", place, [&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<std::uint16_t>(place.port);
    options.isServer = place.rank == 0;
    options.numWorkers = place.world;
    options.waitWorkers = false;
    options.timeout = timeout;
    impl->store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
    const auto gloo = c10d::ProcessGroupGloo::Options::create(timeout);
    const bool local = place.address == "127.0.0.1" || place.address == "localhost";
    const auto interface = variable("GLOO_SOCKET_IFNAME");
    gloo->devices.push_back(interface ? c10d::ProcessGroupGloo::createDeviceForInterface(*interface)
                            : local   ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                      : c10d::ProcessGroupGloo::createDefaultDevice());
    impl->group = std::make_unique<c10d::ProcessGroupGloo>(impl->store, place.rank, place.world, gloo);
  }));
  return Ranks(place, std::move(impl));
}

Result<void> Ranks::agree(const std::vector<std::pair<std::string, std::string>>& facts) {
  const std::string round = "agree/" + std::to_string(impl_->agreements++) + "/";
  std::string difference;
  NAS_CHECK(guarded("cannot compare with the other ranks", place_, [&] {
    const auto text = [](const std::vector<std::uint8_t>& b) { return std::string(b.begin(), b.end()); };
    if (place_.rank == 0)
      for (const auto& [name, value] : facts) impl_->store->set(round + name, bytes_of(value));
    for (const auto& [name, value] : facts)
      if (const std::string first = text(impl_->store->get(round + name));
          first != value && difference.empty())
        difference = "rank " + std::to_string(place_.rank) + " has another " + name + ": \"" + value +
                     "\", rank 0 has \"" + first + "\"";
    impl_->store->set(round + "said/" + std::to_string(place_.rank), bytes_of(difference));
    for (int r = 0; r < place_.world; ++r)
      if (const std::string said = text(impl_->store->get(round + "said/" + std::to_string(r)));
          !said.empty() && difference.empty())
        difference = said;
    // Rank 0 holds the store: it leaves last, so that all have read.
    impl_->store->add(round + "done", 1);
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(place_.timeout_seconds);
    while (place_.rank == 0 && impl_->store->add(round + "done", 0) < place_.world) {
      if (std::chrono::steady_clock::now() > deadline)
        throw std::runtime_error("a rank did not answer in time");
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }));
  if (!difference.empty()) return usage_error(difference);
  return {};
}

namespace {

std::int64_t length(std::size_t size) { return static_cast<std::int64_t>(size); }

// c10d takes tensors that it may write; those that it only reads it leaves alone.
at::Tensor view(std::span<const std::uint8_t> bytes) {
  return at::from_blob(const_cast<std::uint8_t*>(bytes.data()), {length(bytes.size())}, at::kByte);
}

}  // namespace

void Ranks::begin_sum(std::span<double> values) {
  impl_->begin_sum(at::from_blob(values.data(), {length(values.size())}, at::kDouble));
}

void Ranks::begin_sum(std::span<float> values) {
  impl_->begin_sum(at::from_blob(values.data(), {length(values.size())}, at::kFloat));
}

void Ranks::begin_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all) {
  impl_->sent += static_cast<double>(mine.size()) * (world() - 1);
  impl_->held.push_back({view(mine)});
  std::vector<at::Tensor> parts;
  for (int r = 0; r < world(); ++r)
    parts.push_back(view(all.subspan(static_cast<std::size_t>(r) * mine.size(), mine.size())));
  impl_->gathered.push_back({std::move(parts)});
  impl_->begin([&] { return impl_->group->allgather(impl_->gathered.back(), impl_->held.back()); });
}

void Ranks::begin_scatter(std::span<std::uint8_t> all, std::span<std::uint8_t> parts) {
  impl_->sent += static_cast<double>(all.size()) * (world() - 1) / world();
  impl_->held.push_back({view(all), view(parts)});
  std::vector<std::int64_t> even;
  impl_->begin(
      [&] { return impl_->group->alltoall_base(impl_->held.back()[1], impl_->held.back()[0], even, even); });
}

Result<void> Ranks::finish() {
  const auto done = guarded("another rank is gone or too late", place_, [&] {
    if (!impl_->failure.empty()) throw std::runtime_error(impl_->failure);
    for (const auto& work : impl_->pending) work->wait();
  });
  impl_->pending.clear();
  impl_->held.clear();
  impl_->gathered.clear();
  return done;
}

Result<void> Ranks::sum(std::span<double> values) {
  if (values.empty()) return {};
  begin_sum(values);
  return finish();
}

std::uint64_t Ranks::bytes_sent() const { return static_cast<std::uint64_t>(impl_->sent); }

}  // namespace nas::supernet
