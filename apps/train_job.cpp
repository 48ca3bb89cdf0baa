#include "apps/train_job.h"

#include "space/json/document.h"

namespace nas::apps {

using namespace nas::supernet;

namespace {

// The space for the run's images: their number of classes.
Result<SearchSpace> space_for(const TrainConfig& c, std::size_t classes) {
  SpaceOverrides change;
  change.classes = static_cast<int>(classes);
  change.resolutions = c.resolutions;
  return load_space(c.space, change);
}

}  // namespace

nlohmann::ordered_json to_record(const TrainConfig& c) {
  return {{"space", c.space},         {"data", c.data},
          {"recipe", c.recipe},       {"device", c.device},
          {"seed", c.seed},           {"batch", c.batch},
          {"shards", c.shards},       {"length", c.length},
          {"compress", c.compress},   {"local_steps", c.local_steps},
          {"recompute", c.recompute}, {"checkpoint_every", c.checkpoint_every},
          {"skip_bad", c.skip_bad},   {"resolutions", c.resolutions}};
}

Result<void> read_train_config(const std::string& path, TrainConfig& c) {
  NAS_TRY(document, JsonDocument::load(path));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  c.space = reader.text("space", c.space);
  c.data = reader.text("data", c.data);
  c.recipe = reader.text("recipe", c.recipe);
  c.out = reader.text("out", c.out);
  c.device = reader.text("device", c.device);
  c.seed =
      static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, static_cast<std::int64_t>(c.seed)));
  c.batch = static_cast<int>(reader.integer("batch", 2, 65536, c.batch));
  c.shards = static_cast<int>(reader.integer("shards", 0, 4096, c.shards));
  c.length = reader.number("length", 1e-6, 1e6, c.length);
  c.compress = reader.text("compress", c.compress);
  c.local_steps = static_cast<int>(reader.integer("local_steps", 1, 1'000'000, c.local_steps));
  c.recompute = reader.flag("recompute", c.recompute);
  c.checkpoint_every = reader.integer("checkpoint_every", 1, 1'000'000'000, c.checkpoint_every);
  c.skip_bad = reader.flag("skip_bad", c.skip_bad);
  std::vector<std::int64_t> sides(c.resolutions.begin(), c.resolutions.end());
  for (const std::int64_t r : reader.integers("resolutions", 4, 4096, sides))
    c.resolutions.push_back(static_cast<int>(r));
  c.resolutions.erase(c.resolutions.begin(),
                      c.resolutions.begin() + static_cast<std::ptrdiff_t>(sides.size()));
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  return {};
}

Result<TrainJob> open_train_job(const TrainConfig& c, int rank, int world) {
  // The resolutions come from the space, the number of classes from the images.
  NAS_TRY(plain, space_for(c, 0));
  FeedOptions options;
  options.seed = c.seed;
  options.order = c.order;
  options.batch = c.batch;
  options.rank = rank;
  options.world = world;
  options.resolutions = resolutions_of(plain);
  options.skip_bad = c.skip_bad;
  NAS_TRY(feeds, Feeds::open(c.data, options));
  if (feeds.store().classes().size() < 2)
    return usage_error(
        "only one class ('" + feeds.store().classes().front() + "'); required: at least two to tell apart",
        c.data);
  NAS_TRY(space, space_for(c, feeds.store().classes().size()));
  return TrainJob{std::move(feeds), std::move(space)};
}

Result<Genotype> genotype_named(const SearchSpace& space, const std::string& text) {
  if (text == "largest") return space.largest();
  if (text == "smallest") return space.smallest();
  if (text != "middle") {
    auto parsed = space.parse(text);
    if (parsed) return parsed;
    return Error{parsed.error().message + "; or smallest, middle, largest", parsed.error().where,
                 parsed.error().kind};
  }
  Genotype g = space.smallest();
  for (std::size_t i = 0; i < g.size(); ++i)
    g[i] = static_cast<std::uint8_t>(space.genes()[i].choices.size() / 2);
  return space.canonical(g);
}

Result<Network> network_named(const SearchSpace& space, const std::string& text) {
  NAS_TRY(genotype, genotype_named(space, text));
  return space.lower(genotype);
}

}  // namespace nas::apps
