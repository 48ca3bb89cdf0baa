#include "supernet/data/loader.h"

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <chrono>
#include <mutex>
#include <numeric>

namespace nas::data {
namespace {

using Order = std::shared_ptr<const std::vector<std::uint32_t>>;

// The random order of the current and the next epoch; older ones are forgotten.
class Orders {
 public:
  Orders(std::vector<std::uint32_t> indices, std::uint64_t seed, bool shuffled)
      : plain_(std::make_shared<const std::vector<std::uint32_t>>(std::move(indices))),
        seed_(seed),
        shuffled_(shuffled) {}

  Order of(std::int64_t epoch) {
    if (!shuffled_) return plain_;
    const std::lock_guard lock(mutex_);
    for (const auto& [known, order] : recent_)
      if (known == epoch) return order;
    auto order = std::make_shared<std::vector<std::uint32_t>>(*plain_);
    Rng(seed_, "data-order", static_cast<std::uint64_t>(epoch)).shuffle(std::span(*order));
    if (recent_.size() == 2) recent_.erase(recent_.begin());
    recent_.emplace_back(epoch, order);
    return order;
  }
  std::size_t size() const { return plain_->size(); }

 private:
  Order plain_;
  std::uint64_t seed_;
  bool shuffled_;
  std::mutex mutex_;
  std::vector<std::pair<std::int64_t, Order>> recent_;
};

enum class SlotState { waiting, claimed, ready };

struct Slot {
  Cursor cursor;
  Batch batch;
  std::atomic<SlotState> state{SlotState::waiting};
  // Whoever changes waiting to claimed makes the batch.
  bool claim() {
    SlotState expected = SlotState::waiting;
    return state.compare_exchange_strong(expected, SlotState::claimed, std::memory_order_acq_rel);
  }
};

Result<void> check_options(const LoaderOptions& o, std::size_t count) {
  const auto outside = [](const char* name, std::int64_t found, const std::string& range) {
    return usage_error(std::string("data loader: ") + name + " must be in " + range + ", found " +
                       std::to_string(found));
  };
  if (o.batch < 1 || o.batch > 65536) return outside("batch", o.batch, "1..65536");
  if (o.world < 1 || o.world > 65536) return outside("world", o.world, "1..65536");
  if (o.rank < 0 || o.rank >= o.world) return outside("rank", o.rank, "0.." + std::to_string(o.world - 1));
  if (o.prefetch < 0 || o.prefetch > 64) return outside("prefetch", o.prefetch, "0..64");
  if (o.threads < 0 || o.threads > 4096) return outside("threads", o.threads, "0..4096");
  if (o.resolutions.empty())
    return usage_error("data loader: at least one resolution is required, found none");
  for (const int r : o.resolutions)
    if (r < 1 || r > 4096) return outside("resolution", r, "1..4096");
  if (count < static_cast<std::size_t>(o.world))
    return usage_error("data loader: " + std::to_string(count) + " pictures for " + std::to_string(o.world) +
                       " ranks; required: at least one each");
  return {};
}

// Stretch of the epoch's order that this rank takes at a step; the last, shorter one is shared out evenly.
std::pair<std::size_t, std::size_t> stretch(const LoaderOptions& o, std::size_t count, std::int64_t step) {
  const auto world = static_cast<std::size_t>(o.world), rank = static_cast<std::size_t>(o.rank);
  const std::size_t whole = static_cast<std::size_t>(o.batch) * world;
  const std::size_t begin = static_cast<std::size_t>(step) * whole, size = std::min(whole, count - begin);
  return {begin + size * rank / world, begin + size * (rank + 1) / world};
}

int draw_resolution(const LoaderOptions& o, Cursor c) {
  if (o.resolutions.size() == 1) return o.resolutions[0];
  Rng rng(o.seed, "resolution", static_cast<std::uint64_t>(c.epoch), static_cast<std::uint64_t>(c.step));
  return o.resolutions[rng.below(o.resolutions.size())];
}

}  // namespace

struct Loader::Impl {
  Impl(std::shared_ptr<const Store> s, std::vector<std::uint32_t> indices, Augmentation a, LoaderOptions o)
      : store(std::move(s)),
        augmentation(a),
        options(std::move(o)),
        orders(std::move(indices), options.seed, options.training),
        arena(options.threads > 0 ? options.threads : tbb::task_arena::automatic, 1,
              tbb::task_arena::priority::high) {
    const std::size_t whole =
        static_cast<std::size_t>(options.batch) * static_cast<std::size_t>(options.world);
    const std::size_t full = orders.size() / whole;
    const bool keep_rest = !options.training || full == 0;
    steps = static_cast<std::int64_t>(keep_rest ? (orders.size() + whole - 1) / whole : full);
    // A lone thread gains nothing from reading ahead, and a worker of oneTBB beyond the allowed parallelism
    // spins for good.
    if (tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism) == 1)
      options.prefetch = 0;
    // One slot is the batch that the caller is using.
    for (int i = 0; i <= options.prefetch; ++i) slots.push_back(std::make_unique<Slot>());
  }

  Cursor after(Cursor c) const {
    return c.step + 1 < steps ? Cursor{c.epoch, c.step + 1} : Cursor{c.epoch + 1, 0};
  }
  void build(Cursor cursor, Batch& batch);
  void make_views(Batch& batch);
  void mix(Batch& batch);
  void fill(Slot& slot) {
    build(slot.cursor, slot.batch);
    slot.state.store(SlotState::ready, std::memory_order_release);
    slot.state.notify_all();
  }
  void enqueue(Slot& slot, Cursor cursor);
  void restart(Cursor cursor);
  void drain();

  std::shared_ptr<const Store> store;
  Augmentation augmentation;
  LoaderOptions options;
  Orders orders;
  std::int64_t steps = 1;
  tbb::task_arena arena;
  std::vector<std::unique_ptr<Slot>> slots;
  std::size_t head = 0;  // the slot that next() hands out
  bool started = false;  // slots hold head's cursor and those that follow
  Cursor position;       // what next() returns
  // Enqueued and not yet over; shared, because a task's last touch of it may come after drain() has returned.
  std::shared_ptr<std::atomic<int>> tasks = std::make_shared<std::atomic<int>>(0);
  double waited = 0;
};

void Loader::Impl::build(Cursor cursor, Batch& batch) {
  assert(cursor.step >= 0 && cursor.step < steps && cursor.epoch >= 0);
  const Order order = orders.of(cursor.epoch);
  const auto [begin, end] = stretch(options, order->size(), cursor.step);
  batch.at = cursor;
  batch.resolution = draw_resolution(options, cursor);
  batch.samples.assign(order->begin() + static_cast<std::ptrdiff_t>(begin),
                       order->begin() + static_cast<std::ptrdiff_t>(end));
  batch.labels.resize(batch.samples.size());
  for (std::size_t i = 0; i < batch.samples.size(); ++i) batch.labels[i] = store->label(batch.samples[i]);
  const std::size_t area =
      static_cast<std::size_t>(batch.resolution) * static_cast<std::size_t>(batch.resolution);
  batch.pixels.resize(batch.samples.size() * area * 3);
  batch.targets.resize(
      options.training && augmentation.soft() ? batch.samples.size() * store->classes().size() : 0);
  arena.execute([&] {
    make_views(batch);
    if (!batch.targets.empty()) mix(batch);
  });
}

void Loader::Impl::make_views(Batch& batch) {
  const std::size_t n = batch.samples.size();
  const std::size_t floats = n == 0 ? 0 : batch.pixels.size() / n;
  tbb::parallel_for(std::size_t{0}, n, [&](std::size_t i) {
    const std::uint32_t sample = batch.samples[i];
    float* out = batch.pixels.data() + i * floats;
    if (!options.training) {
      evaluation_view(store->picture(sample), augmentation, batch.resolution, out);
      return;
    }
    Rng rng(options.seed, "augment", static_cast<std::uint64_t>(batch.at.epoch), sample);
    training_view(store->picture(sample), augmentation, batch.resolution, rng, out);
  });
}

// Pictures i and n - 1 - i are each other's partners, so that a pair can be mixed in place by one task.
void Loader::Impl::mix(Batch& batch) {
  const std::size_t n = batch.samples.size(), classes = store->classes().size();
  const std::size_t floats = n == 0 ? 0 : batch.pixels.size() / n;
  const auto drawn = [&](std::size_t i) {
    Rng rng(options.seed, "mix", static_cast<std::uint64_t>(batch.at.epoch), batch.samples[i]);
    return draw_mix(augmentation, batch.resolution, rng);
  };
  const auto target = [&](const Mix& m, std::size_t i, std::size_t partner) {
    soft_target(augmentation, m, batch.labels[i], batch.labels[partner],
                std::span(batch.targets).subspan(i * classes, classes));
  };
  tbb::parallel_for(std::size_t{0}, (n + 1) / 2, [&](std::size_t i) {
    const std::size_t j = n - 1 - i;
    const Mix first = drawn(i), second = drawn(j);
    target(first, i, j);
    if (i == j) return;  // its own partner: the picture and its label stay what they are
    target(second, j, i);
    if (first.own >= 1 && second.own >= 1) return;
    thread_local std::vector<float> copy;
    float* a = batch.pixels.data() + i * floats;
    float* b = batch.pixels.data() + j * floats;
    copy.assign(a, a + floats);
    apply_mix(first, batch.resolution, a, b, a);
    apply_mix(second, batch.resolution, b, copy.data(), b);
  });
}

void Loader::Impl::enqueue(Slot& slot, Cursor cursor) {
  slot.cursor = cursor;
  slot.state.store(SlotState::waiting, std::memory_order_release);
  tasks->fetch_add(1);
  arena.enqueue([this, &slot, count = tasks] {
    if (slot.claim()) fill(slot);
    count->fetch_sub(1);
    count->notify_all();
  });
}

// Takes back what no task has begun and waits for the rest.
void Loader::Impl::drain() {
  for (auto& slot : slots) slot->claim();
  for (int left = tasks->load(); left > 0; left = tasks->load()) tasks->wait(left);
}

void Loader::Impl::restart(Cursor cursor) {
  drain();
  position = cursor;
  head = 0;
  started = true;
  for (std::size_t i = 0; i + 1 < slots.size(); ++i) {
    enqueue(*slots[i], cursor);
    cursor = after(cursor);
  }
}

Loader::Loader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Loader::~Loader() { impl_->drain(); }

Result<std::unique_ptr<Loader>> Loader::make(std::shared_ptr<const Store> store,
                                             std::vector<std::uint32_t> indices,
                                             const Augmentation& augmentation, const LoaderOptions& options) {
  NAS_CHECK(check(augmentation));
  NAS_CHECK(check_options(options, indices.size()));
  for (const std::uint32_t i : indices)
    if (i >= store->size())
      return usage_error("data loader: picture " + std::to_string(i) + " of " +
                         std::to_string(store->size()));
  return std::unique_ptr<Loader>(
      new Loader(std::make_unique<Impl>(std::move(store), std::move(indices), augmentation, options)));
}

const Batch& Loader::next() {
  Impl& impl = *impl_;
  const auto start = std::chrono::steady_clock::now();
  if (!impl.started) impl.restart(impl.position);
  if (impl.options.prefetch == 0) {
    impl.build(impl.position, impl.slots[0]->batch);
  } else {
    // The slot behind head, handed out by the last call, is free again: it takes the batch furthest ahead.
    const std::size_t free = (impl.head + impl.slots.size() - 1) % impl.slots.size();
    Cursor ahead = impl.position;
    for (std::size_t i = 0; i + 1 < impl.slots.size(); ++i) ahead = impl.after(ahead);
    impl.enqueue(*impl.slots[free], ahead);
    Slot& slot = *impl.slots[impl.head];
    if (slot.claim()) impl.fill(slot);
    slot.state.wait(SlotState::claimed, std::memory_order_acquire);
  }
  const Batch& batch = impl.slots[impl.head]->batch;
  if (impl.options.prefetch > 0) impl.head = (impl.head + 1) % impl.slots.size();
  impl.position = impl.after(impl.position);
  impl.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return batch;
}

Cursor Loader::cursor() const { return impl_->position; }

void Loader::seek(Cursor cursor) {
  assert(cursor.epoch >= 0 && cursor.step >= 0 && cursor.step < impl_->steps);
  impl_->drain();
  impl_->position = cursor;
  impl_->started = false;
}

std::int64_t Loader::steps_per_epoch() const { return impl_->steps; }
int Loader::resolution_at(Cursor cursor) const { return draw_resolution(impl_->options, cursor); }
void Loader::build(Cursor cursor, Batch& batch) const { impl_->build(cursor, batch); }
double Loader::seconds_waited() const { return impl_->waited; }

}  // namespace nas::data
