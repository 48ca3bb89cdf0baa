#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>

#include "apps/accuracy_file.h"
#include "apps/arch_reference.h"
#include "apps/command.h"
#include "devices/profile.h"
#include "latency/calibration.h"
#include "latency/table.h"
#include "space/base/file.h"
#include "space/learn/metrics.h"
#include "space/search_space.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

struct EstimateOptions {
  std::string arch, space, session;
  bool layers = false;
};

// A session with what is needed to use it: the device's fusion rules, and its calibration where it was
// fitted.
struct Predictor {
  latency::Session session;
  latency::LatencyTable table;
  FusionRules rules;
  std::optional<latency::Calibration> calibration;
};

// A file, or the name of one in the project's sessions folder.
fs::path session_file(const Context& context, const std::string& name) {
  const fs::path kept = fs::path(context.project) / "sessions" / (name + ".jsonl");
  std::error_code ignored;
  return fs::exists(kept, ignored) ? kept : fs::path(name);
}

fs::path calibration_file(fs::path session) { return session.replace_extension(".calibration.json"); }

Result<Predictor> open_predictor(const Context& context, const std::string& name) {
  const fs::path path = session_file(context, name);
  NAS_TRY(session, latency::load_session(path));
  NAS_TRY(table, latency::LatencyTable::make(session));
  NAS_TRY(device, devices::load_profile(session.info.device, fs::path(context.project) / "devices"));
  if (device.fingerprint != session.info.profile)
    return usage_error("the profile of " + device.name + " has changed since this session; profile again",
                       path.string());
  Predictor predictor{std::move(session), std::move(table), device.fusion, {}};
  std::error_code ignored;
  if (fs::exists(calibration_file(path), ignored)) {
    NAS_TRY(text, read_file(calibration_file(path), 1 << 20));
    NAS_TRY(calibration, latency::parse_calibration(text, calibration_file(path).string()));
    predictor.calibration = std::move(calibration);
  }
  return predictor;
}

std::string layer_names(const Network& network, const std::vector<std::int32_t>& layers) {
  return layers.empty() ? "" : layer_name(network.layers[static_cast<std::size_t>(layers.front())]);
}

Result<int> run_estimate(const Context& context, const EstimateOptions& o) {
  NAS_TRY(space, open_space(o.space));
  NAS_TRY(text, resolve_architecture(context.project, o.arch));
  NAS_TRY(genotype, text == "largest"    ? Result<Genotype>(space.largest())
                    : text == "smallest" ? Result<Genotype>(space.smallest())
                                         : space.parse(text));
  const Network network = space.lower(genotype);
  NAS_TRY(predictor, open_predictor(context, o.session));
  NAS_TRY(sum, predictor.table.estimate(network, predictor.rules));
  const latency::SessionInfo& info = predictor.table.info();
  if (o.layers) {
    std::vector<Record> rows;
    for (const latency::KernelEstimate& k : sum.kernels)
      rows.push_back({{"layer", layer_names(network, k.layers)},
                      {"kernel", k.signature},
                      {"value", k.value},
                      {"low", k.low},
                      {"high", k.high},
                      {"share", k.value / sum.value},
                      {"unit", info.unit},
                      {"source", to_string(k.source)}});
    print_records(context,
                  {{"layer", "layer"},
                   {"kernel", "kernel"},
                   {"value", info.unit},
                   {"low", "from"},
                   {"high", "to"},
                   {"share", "share"},
                   {"source", "source"}},
                  rows);
    return 0;
  }
  Record record{{"device", info.device},         {"precision", info.precision},      {"unit", info.unit},
                {"kernels", sum.kernels.size()}, {"interpolated", sum.interpolated}, {"sum", sum.value}};
  std::vector<Column> columns{{"device", "device"},
                              {"precision", "precision"},
                              {"kernels", "kernels"},
                              {"interpolated", "of them interpolated"},
                              {"sum", "sum of kernels (predicted)", info.unit}};
  if (predictor.calibration) {
    const latency::Calibration& c = *predictor.calibration;
    const double value = c({sum.value, static_cast<double>(sum.kernels.size())});
    record["value"] = value;
    record["low"] = value / (1 + c.spread);
    record["high"] = value * (1 + c.spread);
    record["calibration"] = c.form + " on " + std::to_string(c.networks) + " networks";
    for (Column column :
         {Column{"value", "calibrated (predicted)", info.unit}, Column{"low", "90 % from", info.unit},
          Column{"high", "to", info.unit}, Column{"calibration", "calibration"}})
      columns.push_back(column);
  }
  print_record(context, columns, record);
  return 0;
}

// Where an estimate comes from: kinds of kernels by their share, and what the calibration adds.
Result<int> run_explain(const Context& context, const EstimateOptions& o) {
  NAS_TRY(space, load_space(o.space));
  NAS_TRY(text, resolve_architecture(context.project, o.arch));
  NAS_TRY(genotype, text == "largest"    ? Result<Genotype>(space.largest())
                    : text == "smallest" ? Result<Genotype>(space.smallest())
                                         : space.parse(text));
  const Network network = space.lower(genotype);
  NAS_TRY(predictor, open_predictor(context, o.session));
  NAS_TRY(sum, predictor.table.estimate(network, predictor.rules));
  struct Part {
    std::size_t kernels = 0, interpolated = 0;
    double value = 0;
  };
  std::map<std::string, Part> parts;
  for (const latency::KernelEstimate& k : sum.kernels) {
    const Layer& anchor = network.layers[static_cast<std::size_t>(k.layers.front())];
    Part& part = parts[is_depthwise(anchor) ? "depthwise conv" : std::string(to_string(anchor.kind))];
    ++part.kernels;
    part.interpolated += k.source == latency::EntrySource::interpolated;
    part.value += k.value;
  }
  const double kernels = static_cast<double>(sum.kernels.size());
  const double total = predictor.calibration ? (*predictor.calibration)({sum.value, kernels}) : sum.value;
  std::vector<Record> rows;
  const auto add = [&](const std::string& name, const Part& part) {
    rows.push_back({{"part", name},
                    {"kernels", part.kernels},
                    {"interpolated", part.interpolated},
                    {"value", part.value},
                    {"share", part.value / total},
                    {"unit", predictor.table.info().unit}});
  };
  for (const auto& [name, part] : parts) add(name, part);
  if (predictor.calibration)
    add("between kernels (" + predictor.calibration->form + ")", {0, 0, total - sum.value});
  add("whole network", {sum.kernels.size(), sum.interpolated, total});
  print_records(context,
                {{"part", "part"},
                 {"kernels", "kernels"},
                 {"interpolated", "of them interpolated"},
                 {"value", predictor.table.info().unit},
                 {"share", "share"}},
                rows);
  return 0;
}

// The session's whole networks, with their table sums.
struct Measured {
  std::vector<latency::SumFeatures> sums;
  std::vector<double> times;
};

Result<Measured> measured_networks(const Predictor& predictor, const SearchSpace& space) {
  Measured found;
  for (const latency::KernelRecord& r : predictor.session.kernels) {
    if (!r.signature.starts_with(latency::kNetworkPrefix) || !r.failure.empty()) continue;
    NAS_TRY(genotype, space.parse(r.signature.substr(latency::kNetworkPrefix.size())));
    NAS_TRY(sum, predictor.table.estimate(space.lower(genotype), predictor.rules));
    found.sums.push_back({sum.value, static_cast<double>(sum.kernels.size())});
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

Result<int> run_fit(const Context& context, const EstimateOptions& o) {
  NAS_TRY(space, open_space(o.space));
  NAS_TRY(predictor, open_predictor(context, o.session));
  NAS_TRY(found, measured_networks(predictor, space));
  NAS_TRY(calibration, latency::fit_calibration(found.sums, found.times));
  const fs::path path = calibration_file(session_file(context, o.session));
  NAS_CHECK(write_file(path, latency::to_json(calibration)));
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
Result<int> run_eval(const Context& context, const EstimateOptions& o) {
  NAS_TRY(space, open_space(o.space));
  NAS_TRY(predictor, open_predictor(context, o.session));
  NAS_TRY(found, measured_networks(predictor, space));
  if (found.times.empty())
    return usage_error("the session has no whole networks; hwnas profile " + predictor.session.info.device +
                       " --space " + o.space + " --whole 50 measures some");
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

void add_session_options(CLI::App* command, const std::shared_ptr<EstimateOptions>& options) {
  command
      ->add_option("--space", options->space,
                   "Built-in space, JSON file, or a sweep's .jsonl for the space as trained")
      ->required();
  command->add_option("--session,--table", options->session, "A session of `hwnas profile`: file or name")
      ->required();
}

}  // namespace

void add_estimate_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<EstimateOptions>();
  CLI::App* estimate =
      add_command(app, "estimate", "Latency of an architecture by a device's table, kernel by kernel",
                  {"hwnas estimate largest --space tiny --session cortex-m4-qemu-int8-tiny",
                   "hwnas estimate mcu:best --space cifar-mbv3 --session sessions/host-int8.jsonl --layers"});
  estimate
      ->add_option("ARCH", options->arch, "smallest, largest, a genotype's text, RUN:best or RUN:front[3]")
      ->required();
  add_session_options(estimate, options);
  estimate->add_flag("--layers", options->layers, "Every kernel with its share");
  estimate->callback([&context, options] {
    context.action = [&context, options] { return run_estimate(context, *options); };
  });

  CLI::App* predict = app.get_subcommand("predict");
  CLI::App* fit = add_command(*predict, "fit", "Calibrate a table on the whole networks of its session",
                              {"hwnas profile host --space tiny --whole 40",
                               "hwnas predict fit --space tiny --session host-fp32-tiny"});
  add_session_options(fit, options);
  fit->callback(
      [&context, options] { context.action = [&context, options] { return run_fit(context, *options); }; });
  CLI::App* explain =
      add_command(*predict, "explain", "What an estimate is made of, by kind of kernel",
                  {"hwnas predict explain largest --space tiny --session host-int8-tiny",
                   "hwnas predict explain smallest --space tiny --session host-int8-tiny -f csv"});
  explain->add_option("ARCH", options->arch, "As for hwnas estimate")->required();
  add_session_options(explain, options);
  explain->callback([&context, options] {
    context.action = [&context, options] { return run_explain(context, *options); };
  });
  CLI::App* eval =
      add_command(*predict, "eval", "How well a table predicts whole networks, on networks never used",
                  {"hwnas predict eval --space tiny --session host-int8-tiny",
                   "hwnas predict eval --space tiny --session cortex-m4-qemu-int8-tiny -f json"});
  add_session_options(eval, options);
  eval->callback(
      [&context, options] { context.action = [&context, options] { return run_eval(context, *options); }; });
}

}  // namespace nas::apps
