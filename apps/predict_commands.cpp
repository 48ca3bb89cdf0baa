#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "latency/predict_csv.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

Result<int> run_csv(const Context& context, const latency::PredictRequest& request) {
  NAS_TRY(report, latency::predict_csv(request));
  const learn::Metrics& m = report.test;
  Record record{{"model", report.model},
                {"n_train", report.n_train},
                {"n_validation", report.n_validation},
                {"n_groups", report.n_groups},
                {"n_runs", report.n_runs},
                {"n_networks", report.n_networks},
                {"n_test", m.n},
                {"rmse", m.rmse},
                {"mape", m.mape},
                {"rmspe", m.rmspe},
                {"within5", m.within5},
                {"within10", m.within10},
                {"spearman", m.spearman},
                {"kendall", m.kendall},
                {"coverage90", report.coverage90},
                {"residual_lag1", report.residual_lag1},
                {"n_dropped", report.n_dropped},
                {"n_duplicates", report.n_duplicates},
                {"source", "predicted"}};
  Record rungs = Record::array();
  for (const latency::Rung& rung : report.rungs) {
    rungs.push_back({{"model", rung.name}, {"held_out_mape", rung.mape}, {"weight", rung.weight}});
  }
  record["evidence"] = rungs;
  if (!context.quiet && report.n_dropped + report.n_duplicates > 0)
    std::fprintf(stderr, "%s: %zu rows with failed timings dropped, %zu rows repeat an earlier one\n",
                 request.file.c_str(), report.n_dropped, report.n_duplicates);
  print_record(context,
               {{"model", "model", ""},
                {"n_train", "rows fitted", ""},
                {"n_test", "rows tested", ""},
                {"rmse", "RMSE", ""},
                {"mape", "MAPE", "%"},
                {"within5", "within 5 %", "%"},
                {"within10", "within 10 %", "%"},
                {"spearman", "Spearman", ""},
                {"kendall", "Kendall", ""},
                {"coverage90", "90 % interval covers", "%"},
                {"residual_lag1", "drift (lag-1 correlation)", ""}},
               record);
  return 0;
}

}  // namespace

void add_predict_commands(CLI::App& app, Context& context) {
  CLI::App* predict = app.add_subcommand("predict", "Predict latency, and say how far it may be wrong");
  predict->require_subcommand(0, 1);
  CLI::App* csv =
      add_command(*predict, "csv", "Fit and test a predictor on a file of measurements",
                  {"hwnas predict csv help_ofa.csv --space ofa-mbv3-w1.0 --target v100_1 -f json",
                   "hwnas predict csv help_fbnet.csv --space fbnet --target samsung_s7 --samples 10 "
                   "--sources 1080ti_1,gold_6240,samsung_a50"});
  auto request = std::make_shared<latency::PredictRequest>();
  csv->add_option("file", request->file, "CSV file with a header line")->required();
  auto* space = csv->add_option("--space", request->space, "Space whose architecture columns the file has");
  csv->add_option("--features", request->features, "Feature columns")->delimiter(',')->excludes(space);
  csv->add_option("--target", request->target, "Column to predict, or a sum A+B")->required();
  csv->add_option("--where", request->where, "Keep rows with COLUMN=VALUE; also !=, <, <=, >, >=")
      ->delimiter(',');
  csv->add_option("--sources", request->sources, "Columns of known devices")->delimiter(',');
  auto* train = csv->add_option("--train", request->train,
                                "Share of rows to fit on (a tenth validates, the rest tests)");
  csv->add_option("--samples", request->samples, "Rows measured on a new device")
      ->excludes(train)
      ->check(CLI::PositiveNumber);
  csv->add_option("--leave-out", request->leave_out,
                  "Predict the rows that share this column's text from all the others, in turn")
      ->excludes(train);
  csv->add_option("--groups", request->groups,
                  "With --leave-out: a row belongs to the first of these texts that the column contains")
      ->delimiter(',');
  csv->add_option("--kinds", request->kinds, "With --leave-out: what a row is known to be, found likewise")
      ->delimiter(',');
  csv->add_option("--item", request->item,
                  "A long file: the column that names networks; every device in turn is one never seen");
  csv->add_option("--runs", request->runs, "With --item: columns that tell runs apart, the device first")
      ->delimiter(',');
  csv->add_flag("--drawn", request->drawn,
                "With --item: draw the measured networks instead of choosing them");
  csv->add_option("--seed", request->seed, "Seed of the split and of every draw (2024: the reference split)");
  csv->callback(
      [&context, request] { context.action = [&context, request] { return run_csv(context, *request); }; });
}

}  // namespace nas::apps
