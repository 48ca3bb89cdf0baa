#include "apps/report/run_summary.h"

#include <algorithm>

#include "apps/report/part_json.h"
#include "apps/report/search_json.h"
#include "apps/sparkline.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

Record curve_record(const std::string& name, const Record& numbers) {
  std::vector<double> values;
  for (const Record& v : numbers)
    if (v.is_number()) values.push_back(v.get<double>());
  Record record{{"curve", name}};
  if (!values.empty()) {
    record["first"] = values.front();
    record["last"] = values.back();
    record["lowest"] = *std::ranges::min_element(values);
    record["highest"] = *std::ranges::max_element(values);
    record["shape"] = sparkline(values);
  }
  record["values"] = numbers;
  return record;
}

Result<std::vector<Record>> search_curves(const fs::path& folder) {
  NAS_TRY(run, report::SearchSource::of_folder(folder));
  const report::SearchSource* one = &run;
  const Record curve = report::progress_curve(run.history(), report::common_reference({&one, 1}));
  const auto& best = run.record().problem.objectives.front().metric;
  return std::vector<Record>{curve_record("hypervolume", curve["hypervolume"]),
                             curve_record("best " + best, curve["best"])};
}

Result<std::vector<Record>> training_curves(const fs::path& folder) {
  NAS_TRY(training, report::training_json(folder));
  std::vector<Record> records;
  for (const char* what : {"loss", "accuracy"})
    for (const auto& [who, curve] : training[what].items())
      records.push_back(curve_record(std::string(what) + ", " + who, curve["y"]));
  records.push_back(curve_record("learning rate", training["rate"]["y"]));
  return records;
}

}  // namespace

Result<int> show_curves(const Context& context, const fs::path& folder) {
  std::error_code ignored;
  const bool search = fs::exists(folder / "run.json", ignored);
  if (!search && !fs::exists(folder / "config.json", ignored))
    return usage_error(
        "is no search and no training run; required RUN, RUN:best, RUN:front[N], RUN:tNUMBER or "
        "RUN:ID, or an architecture with --space",
        folder.string());
  NAS_TRY(records, search ? search_curves(folder) : training_curves(folder));
  print_records(context,
                {{"curve", "curve"},
                 {"first", "first"},
                 {"last", "last"},
                 {"lowest", "lowest"},
                 {"highest", "highest"},
                 {"shape", "shape"}},
                records);
  return 0;
}

}  // namespace nas::apps
