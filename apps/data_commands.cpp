#include <algorithm>
#include <memory>

#include "apps/command.h"
#include "space/base/file.h"
#include "supernet/data/splits.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

struct DataOptions {
  std::string path;
  std::optional<int> side;
  bool skip_bad = false;
  data::SplitOptions split;
  std::string out;
};

Result<std::shared_ptr<const data::Store>> open(const DataOptions& options, bool skip_bad) {
  NAS_TRY(cache, data::default_cache_folder());
  return data::open_dataset(options.path, {.side = options.side, .skip_bad = skip_bad, .cache = cache});
}

std::vector<Record> class_records(const data::Store& store) {
  struct Count {
    std::size_t whole = 0, train = 0, validation = 0, test = 0;
  };
  std::vector<Count> counts(store.classes().size());
  for (std::size_t i = 0; i < store.size(); ++i) {
    Count& count = counts[store.label(i)];
    switch (store.part(i)) {
      case data::Part::whole:
        ++count.whole;
        break;
      case data::Part::train:
        ++count.train;
        break;
      case data::Part::validation:
        ++count.validation;
        break;
      case data::Part::test:
        ++count.test;
        break;
    }
  }
  std::vector<Record> records;
  for (std::size_t c = 0; c < counts.size(); ++c)
    records.push_back({{"label", c},
                       {"class", store.classes()[c]},
                       {"whole", counts[c].whole},
                       {"train", counts[c].train},
                       {"val", counts[c].validation},
                       {"test", counts[c].test}});
  return records;
}

// Equal pictures that a split would part; an empty list when the data are too few to split.
std::vector<Record> duplicate_records(const data::Store& store, const DataOptions& options) {
  const auto splits = data::split_store(store, options.split);
  if (!splits) return {};
  std::vector<Record> records;
  for (const auto& pair : data::find_duplicates(store, *splits))
    records.push_back({{"first", store.name(pair.first)}, {"second", store.name(pair.second)}});
  return records;
}

Result<int> inspect(const Context& context, const DataOptions& options) {
  NAS_TRY(store, open(options, true));
  const auto classes = class_records(*store), duplicates = duplicate_records(*store, options);
  std::vector<Record> bad;
  for (const auto& file : store->bad()) bad.push_back({{"file", file.name}, {"reason", file.reason}});
  const Record record{{"detected", store->description()},
                      {"pictures", store->size()},
                      {"classes", store->classes().size()},
                      {"side", store->side()},
                      {"bad", bad.size()},
                      {"duplicates", duplicates.size()},
                      {"fingerprint", store->fingerprint()},
                      {"class_counts", classes},
                      {"bad_files", bad},
                      {"duplicates_across_splits", duplicates}};
  print_record(context,
               {{"detected", "detected"},
                {"pictures", "pictures"},
                {"classes", "classes"},
                {"side", "kept at", "pixels"},
                {"bad", "bad files"},
                {"duplicates", "duplicates across splits"},
                {"fingerprint", "fingerprint"}},
               record);
  if (context.format == "table") {
    print_records(context,
                  {{"label", "label"},
                   {"class", "class"},
                   {"whole", "undivided"},
                   {"train", "train"},
                   {"val", "val"},
                   {"test", "test"}},
                  classes);
    if (!bad.empty()) print_records(context, {{"file", "bad file"}, {"reason", "reason"}}, bad);
    if (!duplicates.empty())
      print_records(context, {{"first", "picture"}, {"second", "equal picture in another split or class"}},
                    duplicates);
  }
  return bad.empty() ? 0 : 6;
}

Result<int> split(const Context& context, const DataOptions& options) {
  NAS_TRY(store, open(options, options.skip_bad));
  NAS_TRY(splits, data::split_store(*store, options.split));
  Record file{
      {"fingerprint", splits.fingerprint}, {"data", store->fingerprint()}, {"seed", options.split.seed}};
  std::vector<Record> records;
  for (const data::Split which : data::kSplits) {
    Record names = Record::array();
    std::vector<bool> met(store->classes().size(), false);
    for (const auto i : splits[which]) {
      names.push_back(store->name(i));
      met[store->label(i)] = true;
    }
    records.push_back({{"split", to_string(which)},
                       {"pictures", names.size()},
                       {"classes", std::count(met.begin(), met.end(), true)},
                       {"fingerprint", splits.fingerprint}});
    file[to_string(which)] = std::move(names);
  }
  if (!options.out.empty()) NAS_CHECK(write_file(options.out, file.dump(1) + "\n"));
  print_records(
      context,
      {{"split", "split"}, {"pictures", "pictures"}, {"classes", "classes"}, {"fingerprint", "fingerprint"}},
      records);
  return 0;
}

}  // namespace

void add_data_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<DataOptions>();
  CLI::App* group =
      add_command(app, "data", "Your pictures: what they are and how they are divided",
                  {"hwnas data inspect photos/", "hwnas data split photos/ --seed 7 --out split.json"});
  group->require_subcommand(0, 1);
  CLI::App* look = add_command(
      *group, "inspect", "What a data set holds: classes, counts, bad files, duplicates",
      {"hwnas data inspect photos/", "hwnas data inspect procedural:classes=5,count=500 -f json"});
  CLI::App* divide =
      add_command(*group, "split", "Train, recalibration, validation and test parts, by seed",
                  {"hwnas data split photos/", "hwnas data split photos/ --seed 7 --out split.json"});
  for (CLI::App* sub : {look, divide}) {
    sub->add_option("path", options->path, "Pictures, CIFAR or IDX files, or procedural:... (docs/data.md)")
        ->required();
    sub->add_option("--side", options->side,
                    "Pixels to keep of each picture (default: what the pictures have, up to 256)");
    sub->add_option("--seed", options->split.seed, "Seed of the split");
    sub->add_option("--validation", options->split.validation, "Share for the search's validation");
    sub->add_option("--test", options->split.test, "Share for the test, where the data have no test part");
    sub->add_option("--recalibration", options->split.recalibration, "Share for batch-norm statistics");
  }
  divide->add_flag("--skip-bad", options->skip_bad, "Leave out pictures that cannot be decoded");
  divide->add_option("--out", options->out, "Write the file names of each part as JSON");
  look->callback(
      [&context, options] { context.action = [&context, options] { return inspect(context, *options); }; });
  divide->callback(
      [&context, options] { context.action = [&context, options] { return split(context, *options); }; });
}

}  // namespace nas::apps
