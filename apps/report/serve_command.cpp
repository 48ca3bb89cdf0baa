#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "apps/command.h"
#include "apps/report/serve.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

struct ServeArguments {
  std::vector<std::string> runs;
  std::vector<std::string> names;
  std::string bind = "127.0.0.1:8080";
  std::string token_file;
  std::string title;
};

std::atomic<int> caught{0};

// A secret that others can read is none.
Result<std::string> read_token(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return usage_error("--token-file: no such file", path);
  if ((info.st_mode & 077) != 0) return usage_error("--token-file: others may read it; chmod 600 it", path);
  NAS_TRY(text, read_file(path, 4096));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  for (const char c : text)
    if (c <= ' ' || c > '~' || c == ';' || c == ',' || c == '"' || c == '\\')
      return usage_error("--token-file: required one line of printable characters without spaces ; , \" \\",
                         path);
  if (text.size() < 16) return usage_error("--token-file: required at least 16 characters", path);
  return text;
}

Result<int> serve_command(const Context& context, const ServeArguments& a) {
  report::ServeOptions options;
  options.report = {context.project, a.runs, a.title, "", version(), ""};
  options.names = a.names;
  NAS_CHECK(report::parse_bind(a.bind, options));
  if (!a.token_file.empty()) {
    NAS_TRY(token, read_token(a.token_file));
    options.token = token;
  }
  NAS_TRY(server, report::LiveServer::start(options));
  const std::string host =
      options.host.find(':') == std::string::npos ? options.host : "[" + options.host + "]";
  std::printf("http://%s:%d/\n", host.c_str(), server.port());
  std::fflush(stdout);
  for (const int signal : {SIGINT, SIGTERM}) ::signal(signal, [](int s) { caught = s; });
  while (caught == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.stop();
  return 128 + caught;
}

}  // namespace

void add_serve_command(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App* serve = add_command(app, "serve", "The report as a live page in the browser, while searches run",
                                {"hwnas serve", "hwnas serve runs/mine --bind 127.0.0.1:0"});
  serve->add_option("runs", arguments->runs, "What to show, as for `hwnas report`; none: the whole project");
  serve->add_option("--bind", arguments->bind, "Address and port; port 0: any free one");
  serve->add_option("--token-file", arguments->token_file,
                    "File with a secret that readers must know (chmod 600)");
  serve->add_option("--name", arguments->names, "A further host name that this server is reached by");
  serve->add_option("--title", arguments->title, "Title of the page");
  serve->callback([&context, arguments] {
    context.action = [&context, arguments] { return serve_command(context, *arguments); };
  });
}

}  // namespace nas::apps
