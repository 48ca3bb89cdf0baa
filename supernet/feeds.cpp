#include "supernet/feeds.h"

#include <algorithm>

#include "supernet/data/loader.h"

namespace nas::supernet {
namespace {

void move_into(data::Batch& from, Batch& to) {
  to.resolution = from.resolution;
  to.pixels = std::move(from.pixels);
  to.labels = std::move(from.labels);
  to.targets = std::move(from.targets);
}

// The batches of a list of pictures in rising order, at any resolution.
BatchList list_of(std::shared_ptr<const data::Store> store, std::vector<std::uint32_t> indices,
                  const data::Augmentation& augmentation, int batch) {
  const auto size = static_cast<std::int64_t>(indices.size());
  const auto shared = std::make_shared<const std::vector<std::uint32_t>>(std::move(indices));
  return {(size + batch - 1) / batch, [=](int resolution, std::int64_t index, Batch& out) {
            const std::int64_t from = index * batch, count = std::min<std::int64_t>(batch, size - from);
            const auto floats =
                static_cast<std::size_t>(resolution) * static_cast<std::size_t>(resolution) * 3;
            out.resolution = resolution;
            out.pixels.resize(static_cast<std::size_t>(count) * floats);
            out.labels.resize(static_cast<std::size_t>(count));
            out.targets.clear();
            for (std::int64_t i = 0; i < count; ++i) {
              const std::uint32_t picture = (*shared)[static_cast<std::size_t>(from + i)];
              data::evaluation_view(store->picture(picture), augmentation, resolution,
                                    out.pixels.data() + static_cast<std::size_t>(i) * floats);
              out.labels[static_cast<std::size_t>(i)] = store->label(picture);
            }
          }};
}

constexpr std::int64_t kScoringBatch = 200;

// `count` pictures spread evenly over the list, which is in the store's order (often class by class).
std::vector<std::uint32_t> spread(const std::vector<std::uint32_t>& all, std::int64_t count) {
  const auto n = static_cast<std::int64_t>(all.size());
  if (count <= 0 || count >= n) return all;
  std::vector<std::uint32_t> some;
  for (std::int64_t i = 0; i < count; ++i) some.push_back(all[static_cast<std::size_t>(i * n / count)]);
  return some;
}

}  // namespace

struct Feeds::Impl {
  FeedOptions options;
  std::shared_ptr<const data::Store> store;
  data::Splits splits;
  data::Augmentation augmentation;
  std::unique_ptr<data::Loader> loader;
  std::int64_t next = 0;
};

Result<Feeds> Feeds::open(const std::string& path, const FeedOptions& options) {
  auto impl = std::make_shared<Impl>();
  impl->options = options;
  data::StoreOptions store_options;
  store_options.skip_bad = options.skip_bad;
  if (options.cache) {
    NAS_TRY(folder, data::default_cache_folder());
    store_options.cache = folder;
  }
  NAS_TRY(store, data::open_dataset(path, store_options));
  impl->store = store;
  NAS_TRY(splits, data::split_store(*impl->store, {.seed = options.seed}));
  impl->splits = std::move(splits);
  if (options.augment) impl->augmentation = data::standard_augmentation(impl->store->side());
  const auto statistics = data::channel_statistics(*impl->store, impl->splits[data::Split::train]);
  impl->augmentation.mean = statistics.mean;
  impl->augmentation.deviation = statistics.deviation;
  for (double& d : impl->augmentation.deviation) d = std::max(d, 1e-3);  // a constant channel
  data::LoaderOptions loading;
  loading.seed = options.order.value_or(options.seed);
  if (options.batch % options.world != 0)
    return usage_error("a batch of " + std::to_string(options.batch) +
                       " images; required: a multiple of the " + std::to_string(options.world) + " ranks");
  const std::size_t images = impl->splits[data::Split::train].size();
  if (options.world > 1 && images < static_cast<std::size_t>(options.batch))
    return usage_error(std::to_string(images) + " training images; ranks share whole batches of " +
                       std::to_string(options.batch));
  loading.batch = options.batch / options.world;
  loading.rank = options.rank;
  loading.world = options.world;
  if (!options.resolutions.empty()) loading.resolutions = options.resolutions;
  loading.threads = options.threads;
  NAS_TRY(loader,
          data::Loader::make(impl->store, impl->splits[data::Split::train], impl->augmentation, loading));
  impl->loader = std::move(loader);
  return Feeds(std::move(impl));
}

BatchStream Feeds::training() const {
  const std::int64_t epoch = std::max<std::int64_t>(1, impl_->loader->steps_per_epoch());
  return {epoch, [impl = impl_, epoch](std::int64_t step, Batch& out) {
            if (step != impl->next) impl->loader->seek({step / epoch, step % epoch});
            impl->next = step + 1;
            data::Batch batch = impl->loader->next();
            move_into(batch, out);
          }};
}

BatchList Feeds::recalibration() const {
  return list_of(impl_->store,
                 spread(impl_->splits[data::Split::recalibration], impl_->options.recalibration_images),
                 impl_->augmentation, kScoringBatch);
}

BatchList Feeds::scoring(data::Split split) const {
  return list_of(impl_->store, impl_->splits[split], impl_->augmentation, kScoringBatch);
}

BatchList Feeds::mixed(data::Split split) const {
  const std::vector<std::uint32_t>& all = impl_->splits[split];
  const std::size_t batches = (all.size() + std::size_t{kScoringBatch} - 1) / std::size_t{kScoringBatch};
  std::vector<std::uint32_t> order;
  for (std::size_t b = 0; b < batches; ++b)
    for (std::size_t i = b; i < all.size(); i += batches) order.push_back(all[i]);
  return list_of(impl_->store, std::move(order), impl_->augmentation, kScoringBatch);
}

const data::Augmentation& Feeds::view() const { return impl_->augmentation; }
const data::Store& Feeds::store() const { return *impl_->store; }
const data::Splits& Feeds::splits() const { return impl_->splits; }
std::string Feeds::fingerprint() const { return impl_->splits.fingerprint; }

std::vector<int> resolutions_of(const SearchSpace& space) {
  std::vector<int> found;
  if (const int gene = space.find("resolution"); gene >= 0)
    for (const Choice& c : space.genes()[static_cast<std::size_t>(gene)].choices)
      found.push_back(static_cast<int>(c.value));
  else
    found.push_back(space.lower(space.largest()).layers.front().out.height);
  return found;
}

}  // namespace nas::supernet
