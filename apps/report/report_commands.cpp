#include <ctime>
#include <memory>

#include "apps/command.h"
#include "apps/line/stage.h"
#include "apps/report/report.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

struct ReportArguments {
  std::vector<std::string> names;
  std::string out = "report.html";
  std::string title;
  bool data = false;
};

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
  return text;
}

bool is_empty(const nlohmann::ordered_json& document) {
  for (const char* part : {"runs", "sessions", "exports", "trainings", "predictions", "stages"})
    if (document.contains(part) && !document[part].empty()) return false;
  return !document.contains("queue") || document["queue"].is_null() || document["queue"]["tasks"].empty();
}

Result<int> report_command(const Context& context, const ReportArguments& a) {
  const report::ReportOptions options{
      context.project, a.names,
      a.title,         command_line({context.arguments.begin() + 1, context.arguments.end()}),
      version(),       now_text()};
  NAS_TRY(reporter, report::Reporter::open(options));
  const nlohmann::ordered_json document = reporter.document();
  if (a.data) {
    std::puts(document.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    return 0;
  }
  NAS_CHECK(write_file(a.out, report::page(document, false)));
  if (!context.quiet)
    std::fprintf(
        stderr, "report in %s%s\n", a.out.c_str(),
        is_empty(document) ? ": empty, there is nothing to show yet (`hwnas demo` makes something)" : "");
  return 0;
}

}  // namespace

void add_report_commands(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* report = add_command(
      app, "report", "One HTML page of runs: front, progress, networks, measurements, provenance",
      {"hwnas report -o report.html", "hwnas report runs/mine sessions/host-int8-tiny.jsonl -o mine.html"});
  report->add_option(
      "runs", arguments->names,
      "Searches, training runs, exports, sessions, or folders with them; none: the whole project");
  report->add_option("-o,--out", arguments->out, "The file to write");
  report->add_option("--title", arguments->title, "Title of the page");
  report->add_flag("--data", arguments->data, "Print the page's data as JSON instead");
  report->callback([&context, arguments] {
    context.action = [&context, arguments] { return report_command(context, *arguments); };
  });
}

}  // namespace nas::apps
