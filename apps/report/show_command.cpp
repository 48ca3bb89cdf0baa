#include <charconv>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/report/architecture_json.h"
#include "apps/report/run_summary.h"
#include "apps/report/search_source.h"
#include "space/base/file.h"
#include "space/cost.h"
#include "space/picture.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

struct ShowArguments {
  std::string what, space, svg_file, dot_file;
  bool layers = false;
};

struct Shown {
  SearchSpace space;
  Genotype genotype;
};

// The candidate that "best", "front[3]", "t120" or the first digits of a network's name mean within a run.
Result<search::Row> row_of(const report::SearchSource& run, const SearchSpace& space,
                           const std::string& which) {
  const auto& history = run.history();
  const auto front = history.front();
  const auto number = [&](std::size_t from, std::size_t trailing) -> std::size_t {
    std::size_t value = SIZE_MAX;
    std::from_chars(which.data() + from, which.data() + which.size() - trailing, value);
    return value;
  };
  if (which == "best") {
    if (const auto best = history.best()) return *best;
    return Error{"no candidate of the run is within its limits", run.name(), ErrorKind::infeasible};
  }
  if (which.starts_with("front[") && which.ends_with("]")) {
    const std::size_t place = number(6, 1);
    if (place < front.size()) return front[place];
    return usage_error("the front has " + std::to_string(front.size()) + " networks, found " + which,
                       run.name());
  }
  if (which.starts_with("t") && number(1, 0) < history.size()) return static_cast<search::Row>(number(1, 0));
  std::vector<search::Row> found;
  for (search::Row row = 0; row < history.size() && which.size() >= 4; ++row)
    if (const auto g = space.parse(run.texts()[row]); g && space.short_id(*g).starts_with(which))
      found.push_back(row);
  if (found.size() == 1) return found.front();
  return usage_error(
      "\"" + which + "\" means " + (found.empty() ? "no candidate" : "several candidates") +
          "; required best, front[N], tNUMBER or four or more first digits of a network's name",
      run.name());
}

Result<Shown> of_run(const Context& context, const std::string& run_name, const std::string& which) {
  NAS_TRY(run, report::SearchSource::of_folder(run_folder(context.project, run_name)));
  const auto space =
      report::space_of_run(run.record().space, run.record().genes,
                           Record::parse(run.record().config, nullptr, false), context.project);
  if (!space)
    return usage_error(
        "the run's space \"" + run.record().space + "\" is not built in and its file was not found",
        run_name);
  NAS_TRY(row, row_of(run, *space, which));
  NAS_TRY(genotype, space->parse(run.texts()[row]));
  return Shown{*space, std::move(genotype)};
}

Result<Shown> find_shown(const Context& context, const ShowArguments& a) {
  if (!a.space.empty()) {
    NAS_TRY(space, load_space(a.space));
    if (a.what == "largest") return Shown{space, space.largest()};
    if (a.what == "smallest") return Shown{space, space.smallest()};
    std::error_code ignored;
    if (std::filesystem::is_regular_file(a.what, ignored)) {
      NAS_TRY(text, read_file(a.what, 1 << 20));
      NAS_TRY(genotype, space.from_json(text, a.what));
      return Shown{std::move(space), std::move(genotype)};
    }
    NAS_TRY(genotype, space.parse(a.what));
    return Shown{std::move(space), std::move(genotype)};
  }
  const std::size_t colon = a.what.rfind(':');
  const std::string run = a.what.substr(0, colon);
  if (run.find('=') != std::string::npos)
    return usage_error("an architecture's text needs --space, found none", a.what);
  return of_run(context, run, a.what.substr(colon + 1));
}

// To a file, or for "-" to stdout.
Result<void> put(const std::string& file, const std::string& text) {
  if (file != "-") return write_file(file, text);
  std::fputs(text.c_str(), stdout);
  return {};
}

std::vector<Record> layer_records(const Network& network) {
  std::vector<Record> records;
  for (const Kernel& k : kernels(network, FusionRules{})) {
    std::int64_t weights = 0;
    for (const std::int32_t layer : k.layers)
      weights += weight_bytes(network, static_cast<std::size_t>(layer), {8, 8}).count();
    records.push_back({{"layer", records.size()},
                       {"name", layer_name(k.anchor)},
                       {"kernel", signature(k)},
                       {"macs", macs(k.anchor).count()},
                       {"weight_bytes", weights}});
  }
  return records;
}

Result<int> show_command(const Context& context, const ShowArguments& a) {
  if (a.space.empty() && a.what.find(':') == std::string::npos)
    return show_curves(context, run_folder(context.project, a.what));
  NAS_TRY(shown, find_shown(context, a));
  const Network network = shown.space.lower(shown.genotype);
  PictureOptions picture;
  picture.title = shown.space.name() + " " + shown.space.short_id(shown.genotype);
  if (!a.svg_file.empty()) NAS_CHECK(put(a.svg_file, svg(network, picture)));
  if (!a.dot_file.empty()) NAS_CHECK(put(a.dot_file, dot(network, picture)));
  if (a.layers) {
    print_records(context,
                  {{"layer", "#"},
                   {"name", "layer"},
                   {"kernel", "kernel"},
                   {"macs", "MACs"},
                   {"weight_bytes", "int8 weights", "B"}},
                  layer_records(network));
    return 0;
  }
  if (!a.svg_file.empty() || !a.dot_file.empty()) return 0;
  print_record(context,
               {{"space", "space"},
                {"id", "network"},
                {"arch", "architecture"},
                {"layers", "layers on a device"},
                {"macs", "MACs"},
                {"params", "parameters"}},
               {{"space", shown.space.name()},
                {"id", shown.space.short_id(shown.genotype)},
                {"arch", shown.space.text(shown.genotype)},
                {"layers", kernels(network, FusionRules{}).size()},
                {"macs", macs(network).count()},
                {"params", params(network).count()}});
  return 0;
}

}  // namespace

void add_show_command(CLI::App& app, Context& context) {
  auto a = std::make_shared<ShowArguments>();
  CLI::App* show = add_command(
      app, "show", "One network of a run or a space: costs, layers, picture, graph; or a run's curves",
      {"hwnas show mine:best --layers", "hwnas show mine", "hwnas show largest --space tiny --svg tiny.svg",
       "hwnas show mine:front[0] --dot | dot -Tpdf -o net.pdf"});
  show->add_option("ARCH", a->what,
                   "RUN (a search or training run), RUN:best, RUN:front[3], RUN:t120, RUN:ID, or with "
                   "--space: smallest, largest, an "
                   "architecture's text or JSON file")
      ->required();
  show->add_option("--space", a->space, "A built-in space or a JSON file");
  show->add_flag("--layers", a->layers, "Every layer as a device runs it");
  show->add_option("--svg", a->svg_file, "The picture, into this file or to stdout")
      ->expected(0, 1)
      ->default_str("-");
  show->add_option("--dot", a->dot_file, "The graph for Graphviz, into this file or to stdout")
      ->expected(0, 1)
      ->default_str("-");
  show->callback([&context, a] { context.action = [&context, a] { return show_command(context, *a); }; });
}

}  // namespace nas::apps
