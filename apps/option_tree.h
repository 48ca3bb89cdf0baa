#pragma once
#include <string>
#include <vector>

#include "apps/command.h"

namespace nas::apps {

// The command line's options as plain data, read from CLI11's tree: what completions and the manual are made
// of.
struct OptionFacts {
  std::vector<std::string> names;  // "--format", "-f"; empty for a positional
  std::string shown;               // "-f,--format", or the positional's name
  std::string description;
  std::vector<std::string> choices;  // the only values that are taken; empty: any
  bool takes_value = false;
};
struct CommandFacts {
  std::vector<std::string> path;  // {"hwnas", "space", "list"}
  std::string description, examples;
  std::vector<OptionFacts> options;
  std::vector<CommandFacts> commands;
};
CommandFacts option_tree(const CLI::App& app);

std::string bash_completion(const CommandFacts& root);
std::string zsh_completion(const CommandFacts& root);
std::string fish_completion(const CommandFacts& root);
// A page for man(1), in man(7)'s macros.
std::string manual(const CommandFacts& root, const std::string& version);

}  // namespace nas::apps
