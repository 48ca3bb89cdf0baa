#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "apps/accuracy_file.h"
#include "apps/command.h"
#include "apps/ledger.h"
#include "apps/session_predictor.h"
#include "latency/calibration.h"
#include "latency/kernel_model.h"
#include "latency/table.h"
#include "results/catalog.h"
#include "space/base/file.h"
#include "space/learn/metrics.h"
#include "space/search_space.h"

// Models made from a session: predictors of kernels, and the calibration on whole networks.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

struct ModelOptions {
  SessionChoice choice;
  std::string out;
};

// What each kind of kernel costs, and how well its predictor tells kernels it was not fitted on.
Result<int> run_kernels(const Context& context, const ModelOptions& o) {
  NAS_TRY(predictor, open_session_predictor(context, o.choice));
  NAS_TRY(models, latency::KernelModels::fit(predictor.session));
  const std::string& unit = predictor.session.info.unit;
  std::vector<Record> rows;
  for (const latency::KindCosts& k : models.kinds())
    rows.push_back({{"kind", k.kind},
                    {"kernels", k.kernels},
                    {"per_mac", k.per_mac},
                    {"per_element", k.per_element},
                    {"per_op", k.per_op},
                    {"unit", unit},
                    {"costs_mape", k.costs_mape},
                    {"gaussian_mape", k.gaussian_mape > 0 ? Record(k.gaussian_mape) : Record()},
                    {"model", k.model},
                    {"mape", k.mape},
                    {"coverage90", k.coverage90}});
  print_records(context,
                {{"kind", "kind"},
                 {"kernels", "kernels"},
                 {"per_mac", unit + "/MAC"},
                 {"per_element", unit + "/element"},
                 {"per_op", unit + "/kernel"},
                 {"costs_mape", "costs, left out [%]"},
                 {"gaussian_mape", "+ Gaussian process [%]"},
                 {"model", "model"},
                 {"coverage90", "in the 90 % interval [%]"}},
                rows);
  if (o.out.empty()) return 0;
  NAS_CHECK(write_file(o.out, models.save()));
  if (!context.quiet) std::fprintf(stderr, "kept in %s; hwnas estimate --model reads it\n", o.out.c_str());
  return 0;
}

// The session's whole networks, with their table sums.
struct Measured {
  std::vector<latency::SumFeatures> sums;
  std::vector<double> times;
};

Result<Measured> measured_networks(const SessionPredictor& predictor, const SearchSpace& space) {
  Measured found;
  for (const latency::KernelRecord& r : predictor.session.kernels) {
    if (!r.signature.starts_with(latency::kNetworkPrefix) || !r.failure.empty()) continue;
    NAS_TRY(genotype, space.parse(r.signature.substr(latency::kNetworkPrefix.size())));
    const Network network = space.lower(genotype);
    NAS_TRY(sum, predictor.table.estimate(network, predictor.rules));
    found.sums.push_back(latency::sum_features(network, sum));
    found.times.push_back(r.median);
  }
  return found;
}

Record quality(const std::string& what, std::span<const double> truth, std::span<const double> predicted,
               double coverage) {
  const auto m = learn::evaluate(truth, predicted);
  double bias = 0;
  for (std::size_t i = 0; i < truth.size(); ++i)
    bias += 100 * (predicted[i] / truth[i] - 1) / static_cast<double>(truth.size());
  Record record{{"model", what}, {"networks", truth.size()}};
  if (!m) return record;
  record["bias"] = bias;
  record["mape"] = m->mape;
  record["within5"] = m->within5;
  record["kendall"] = m->kendall;
  if (coverage >= 0) record["coverage90"] = coverage;
  return record;
}

const std::vector<Column> kQuality{{"model", "model"},
                                   {"networks", "networks"},
                                   {"bias", "bias [%]"},
                                   {"mape", "MAPE [%]"},
                                   {"within5", "within 5 % [%]"},
                                   {"kendall", "Kendall's tau"},
                                   {"coverage90", "in the 90 % interval [%]"}};

// The calibration as a predictor in the project's store, known by its content.
void keep_calibration(const Context& context, const SessionPredictor& fitted,
                      const latency::Calibration& calibration, const fs::path& path) {
  Ledger ledger(context, path);
  ledger.write([&](results::Store& store) -> Result<void> {
    NAS_TRY(object, store.put_object_file(path));
    const latency::SessionInfo& info = fitted.session.info;
    results::Predictor record;
    record.uid = sha256("latency " + info.id + object).substr(0, 32);
    record.name = "calibration of " + path.stem().string();
    record.target = info.unit == "instructions" ? "minstr" : "latency_ms";
    NAS_TRY(session, store.db().value<results::Id>("SELECT id FROM session WHERE uid=?", info.id));
    NAS_TRY(device, store.db().value<results::Id>("SELECT device_id FROM session WHERE uid=?", info.id));
    record.session_id = session;
    record.device_id = device;
    record.algorithm = calibration.form;
    record.features = "sum of kernels, number of kernels";
    record.object = object;
    record.n_train = static_cast<std::int64_t>(calibration.networks);
    for (const auto& e : calibration.evidence)
      if (e.form == calibration.form) record.mape = e.mape / 100;
    NAS_CHECK(results::keep(store, record));
    return {};
  });
}

Result<int> run_fit(const Context& context, const ModelOptions& o) {
  NAS_TRY(space, open_space(o.choice.space));
  NAS_TRY(predictor, open_session_predictor(context, o.choice));
  NAS_TRY(found, measured_networks(predictor, space));
  NAS_TRY(calibration, latency::fit_calibration(found.sums, found.times));
  const fs::path path = calibration_file(predictor.path);
  NAS_CHECK(write_file(path, latency::save_calibration(calibration)));
  keep_calibration(context, predictor, calibration, path);
  std::vector<Record> rows;
  for (const auto& e : calibration.evidence)
    rows.push_back({{"form", e.form},
                    {"mape", e.mape},
                    {"chosen", e.form == calibration.form},
                    {"networks", calibration.networks}});
  print_records(
      context,
      {{"form", "form"}, {"mape", "MAPE left out [%]"}, {"chosen", "chosen"}, {"networks", "networks"}},
      rows);
  if (!context.quiet) std::fprintf(stderr, "kept in %s; hwnas estimate uses it\n", path.c_str());
  return 0;
}

// Every other network fits, the rest tests: what is reported was never used in fitting.
Result<int> run_eval(const Context& context, const ModelOptions& o) {
  NAS_TRY(space, open_space(o.choice.space));
  NAS_TRY(predictor, open_session_predictor(context, o.choice));
  NAS_TRY(found, measured_networks(predictor, space));
  if (found.times.empty())
    return usage_error("the session has no whole networks; hwnas profile " + predictor.session.info.device +
                       " --space " + o.choice.space + " --whole 50 measures some");
  Measured fit, test;
  for (std::size_t i = 0; i < found.times.size(); ++i) {
    Measured& part = i % 2 == 0 ? test : fit;
    part.sums.push_back(found.sums[i]);
    part.times.push_back(found.times[i]);
  }
  std::vector<double> all, plain, calibrated, low, high;
  for (const auto& s : found.sums) all.push_back(s.sum);
  std::vector<Record> rows{quality("sum of kernels", found.times, all, -1)};
  if (fit.times.size() >= 5) {
    NAS_TRY(calibration, latency::fit_calibration(fit.sums, fit.times));
    for (const auto& s : test.sums) {
      plain.push_back(s.sum);
      calibrated.push_back(calibration(s));
      low.push_back(calibrated.back() / (1 + calibration.spread));
      high.push_back(calibrated.back() * (1 + calibration.spread));
    }
    rows.push_back(quality("sum, test half", test.times, plain, -1));
    rows.push_back(quality("calibrated (" + calibration.form + "), test half", test.times, calibrated,
                           learn::coverage(test.times, low, high)));
  }
  print_records(context, kQuality, rows);
  return 0;
}

}  // namespace

void add_session_model_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<ModelOptions>();
  CLI::App* predict = app.get_subcommand("predict");
  CLI::App* fit = add_command(*predict, "fit", "Calibrate a table on the whole networks of its session",
                              {"hwnas profile host --space tiny --whole 40",
                               "hwnas predict fit --space tiny --session host-fp32-tiny"});
  add_session_options(fit, options->choice);
  fit->callback(
      [&context, options] { context.action = [&context, options] { return run_fit(context, *options); }; });
  CLI::App* kernels = add_command(
      *predict, "kernels", "Predictors of single kernels, one a kind: cost per MAC, element, kernel",
      {"hwnas predict kernels --space tiny --device cortex-m4-qemu",
       "hwnas predict kernels --space tiny --session host-int8-tiny --out host.kernels"});
  add_session_options(kernels, options->choice);
  kernels->add_option("--out", options->out, "Keep them in a file: plain text, checksummed");
  kernels->callback([&context, options] {
    context.action = [&context, options] { return run_kernels(context, *options); };
  });
  CLI::App* eval =
      add_command(*predict, "eval", "How well a table predicts whole networks, on networks never used",
                  {"hwnas predict eval --space tiny --session host-int8-tiny",
                   "hwnas predict eval --space tiny --session cortex-m4-qemu-int8-tiny -f json"});
  add_session_options(eval, options->choice);
  eval->callback(
      [&context, options] { context.action = [&context, options] { return run_eval(context, *options); }; });
}

}  // namespace nas::apps
