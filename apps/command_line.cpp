#include "apps/command_line.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "space/json/document.h"

namespace nas::apps {
namespace {

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  return names;
}

// Of a command and of those above it, whose options it takes too.
std::vector<std::string> option_names(const CLI::App* app) {
  std::vector<std::string> names;
  for (; app != nullptr; app = app->get_parent())
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::string unknown(const std::string& what, const std::string& word, const std::string& before,
                    const std::vector<std::string>& known) {
  const std::string hint = nearest(word, known);
  return "unknown " + what + " \"" + before + word + "\"" +
         (hint.empty() ? "" : "; did you mean \"" + hint + "\"?");
}

// Words that no option and no command took.
std::string unexpected(const CLI::App& app, const CLI::App& last, const std::string& path) {
  const std::vector<std::string> words = app.remaining(true);
  const auto option =
      std::find_if(words.begin(), words.end(), [](const std::string& w) { return w.starts_with("--"); });
  if (option != words.end())
    return unknown("option", option->substr(0, option->find('=')), "", option_names(&last));
  const std::string word = words.empty() ? "" : words.front();
  const std::vector<std::string> commands = command_names(last);
  if (!commands.empty()) return unknown("command", word, path, commands);
  return "unexpected argument \"" + word + "\"";
}

std::string misfit(const std::string& text, bool is_signed) {
  errno = 0;
  char* end = nullptr;
  if (is_signed)
    std::strtoll(text.c_str(), &end, 0);
  else
    std::strtoull(text.c_str(), &end, 0);
  if (errno == ERANGE) return "Value " + text + " is beyond 64 bits";
  if (!is_signed && *end == '\0' && text.starts_with('-')) return "Value " + text + " is negative";
  return {};
}

}  // namespace

void refuse_numbers_that_do_not_fit(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const bool is_signed = option->get_type_name().starts_with("INT");
    if (!is_signed && !option->get_type_name().starts_with("UINT")) continue;
    option->check([is_signed](const std::string& text) { return misfit(text, is_signed); });
  }
  for (CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    refuse_numbers_that_do_not_fit(*sub);
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& failure, const std::string& command) {
  std::string message = failure.what(), path;  // "space count ", what was understood so far
  const CLI::App* last = &app;
  for (; !last->get_subcommands().empty(); path += last->get_name() + " ")
    last = last->get_subcommands().front();
  const std::vector<std::string> names = command_names(app);
  if (!command.empty() && std::find(names.begin(), names.end(), command) == names.end())
    message = unknown("command", command, "", names);
  else if (failure.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError))
    message = unexpected(app, *last, path);
  return message + "\nRun `hwnas " + path + "--help` for " +
         (command_names(*last).empty() ? "its options." : "the commands.");
}

}  // namespace nas::apps
