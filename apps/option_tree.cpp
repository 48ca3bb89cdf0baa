#include "apps/option_tree.h"

#include <algorithm>
#include <functional>

namespace nas::apps {
namespace {

using Visit = std::function<void(const CommandFacts&)>;

void each_command(const CommandFacts& at, const Visit& visit) {
  visit(at);
  for (const CommandFacts& sub : at.commands) each_command(sub, visit);
}

std::string joined(const std::vector<std::string>& words, const std::string& between = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

// "TEXT:{a,b}" -> a, b.
std::vector<std::string> choices_of(const std::string& type) {
  const std::size_t from = type.find('{'), to = type.rfind('}');
  std::vector<std::string> out;
  if (from == std::string::npos || to == std::string::npos || to < from) return out;
  for (std::size_t at = from + 1; at < to;) {
    const std::size_t end = std::min(type.find(',', at), to);
    out.push_back(type.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

OptionFacts facts_of(const CLI::Option& option) {
  OptionFacts facts;
  for (const std::string& name : option.get_snames()) facts.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) facts.names.push_back("--" + name);
  facts.shown = facts.names.empty() ? option.get_single_name() : joined(facts.names, ", ");
  facts.description = option.get_description();
  facts.choices = choices_of(option.get_type_name());
  facts.takes_value = option.get_items_expected_max() > 0;
  return facts;
}

std::vector<std::string> words_of(const CommandFacts& c) {
  std::vector<std::string> words;
  for (const CommandFacts& sub : c.commands) words.push_back(sub.path.back());
  for (const OptionFacts& o : c.options) {
    if (o.names.empty()) words.insert(words.end(), o.choices.begin(), o.choices.end());
    words.insert(words.end(), o.names.begin(), o.names.end());
  }
  return words;
}

// In single quotes for any of the three shells; fish and the others differ in how a quote is written inside.
std::string quoted(const std::string& text, bool fish) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += fish ? "\\'" : "'\\''";
    else
      out += c == '\n' ? std::string(" ") : std::string(1, c);
  }
  return out + "'";
}

// "hwnas space list" for every command below the root.
std::vector<std::string> known_paths(const CommandFacts& root) {
  std::vector<std::string> paths;
  each_command(root, [&](const CommandFacts& c) {
    if (c.path.size() > 1) paths.push_back(joined(c.path));
  });
  return paths;
}

std::string troff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\'' || c == '`')
      out += c == '\'' ? "\\(aq" : "\\(ga";
    else
      out += c;
  }
  if (out.starts_with('.')) out = "\\&" + out;
  return out;
}

std::string manual_options(const CommandFacts& c) {
  std::string text;
  for (const OptionFacts& o : c.options) {
    if (o.shown == "-h, --help") continue;
    text += ".TP\n.B " + troff(o.shown) + (o.names.empty() || !o.takes_value ? "" : " VALUE") + "\n" +
            troff(o.description);
    if (!o.choices.empty()) text += " (" + troff(joined(o.choices, ", ")) + ")";
    text += "\n";
  }
  return text;
}

}  // namespace

CommandFacts option_tree(const CLI::App& app) {
  CommandFacts facts;
  facts.path = {app.get_name()};
  facts.description = app.get_description();
  facts.examples = app.get_footer();
  for (const CLI::Option* option : app.get_options()) facts.options.push_back(facts_of(*option));
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_name().empty()) continue;
    facts.commands.push_back(option_tree(*sub));
  }
  // Paths from the root on.
  const std::function<void(CommandFacts&, const std::string&)> prefix = [&](CommandFacts& c,
                                                                            const std::string& name) {
    c.path.insert(c.path.begin(), name);
    for (CommandFacts& sub : c.commands) prefix(sub, name);
  };
  for (CommandFacts& sub : facts.commands) prefix(sub, app.get_name());
  return facts;
}

std::string bash_completion(const CommandFacts& root) {
  std::string text =
      "# bash completion of hwnas: source it, or put it into /etc/bash_completion.d\n_hwnas() {\n"
      "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" path=hwnas words= i\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n    case \"$path ${COMP_WORDS[i]}\" in\n      ";
  std::string paths;
  for (const std::string& path : known_paths(root)) paths += (paths.empty() ? "\"" : "|\"") + path + "\"";
  text += paths + ") path=\"$path ${COMP_WORDS[i]}\" ;;\n    esac\n  done\n  case \"$path\" in\n";
  std::string values;
  const std::string common = joined(
      words_of({.path = {}, .description = {}, .examples = {}, .options = root.options, .commands = {}}));
  each_command(root, [&](const CommandFacts& c) {
    text += "    \"" + joined(c.path) +
            "\") words=" + quoted(joined(words_of(c)) + (c.path.size() > 1 ? " " + common : ""), false) +
            " ;;\n";
    for (const OptionFacts& o : c.options)
      for (const std::string& name : o.names)
        if (!o.choices.empty())
          values += "    \"" + joined(c.path) + " " + name + "\"" +
                    (c.path.size() == 1 ? "|*\" " + name + "\"" : "") +
                    ") words=" + quoted(joined(o.choices), false) + " ;;\n";
  });
  text += "  esac\n  case \"$path $prev\" in\n" + values +
          "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n";
  return text + "complete -o bashdefault -o default -F _hwnas hwnas\n";
}

std::string zsh_completion(const CommandFacts& root) {
  std::string text =
      "#compdef hwnas\n# zsh completion of hwnas: put it as _hwnas into a folder of $fpath, or source it "
      "after "
      "compinit\n_hwnas() {\n"
      "  local at=hwnas word\n  local -a items\n  for word in \"${(@)words[2,CURRENT-1]}\"; do\n    case "
      "\"$at $word\" in\n";
  for (const std::string& path : known_paths(root))
    text += "      (\"" + path + "\") at=\"" + path + "\" ;;\n";
  text += "    esac\n  done\n  case \"$at\" in\n";
  const auto item = [](const std::string& name, std::string description) {
    for (std::size_t i = 0; (i = description.find(':', i)) != std::string::npos; i += 2)
      description.replace(i, 1, "\\:");
    return " " + quoted(name + ":" + description, false);
  };
  std::string common, values;
  for (const OptionFacts& o : root.options)
    for (const std::string& name : o.names) common += item(name, o.description);
  each_command(root, [&](const CommandFacts& c) {
    text += "    (\"" + joined(c.path) + "\") items=(";
    for (const CommandFacts& sub : c.commands) text += item(sub.path.back(), sub.description);
    for (const OptionFacts& o : c.options) {
      for (const std::string& choice : o.names.empty() ? o.choices : o.names)
        text += item(choice, o.description);
      for (const std::string& name : o.names)
        if (!o.choices.empty())
          values += "    (\"" + joined(c.path) + (c.path.size() == 1 ? "\"*\" " : " ") + name +
                    "\") items=(" + joined(o.choices) + ") ;;\n";
    }
    text += (c.path.size() == 1 ? "" : common) + " ) ;;\n";
  });
  return text + "  esac\n  case \"$at ${words[CURRENT-1]}\" in\n" + values +
         "  esac\n  _describe hwnas items\n  _files\n}\n"
         "if [[ $funcstack[1] == _hwnas ]]; then _hwnas \"$@\"; else compdef _hwnas hwnas; fi\n";
}

std::string fish_completion(const CommandFacts& root) {
  std::string text =
      "# fish completion of hwnas: put it into ~/.config/fish/completions/hwnas.fish\n"
      "function __hwnas_at\n  set -l at hwnas\n  for word in (commandline -opc)[2..]\n    switch \"$at "
      "$word\"\n      case";
  for (const std::string& path : known_paths(root)) text += " " + quoted(path, true);
  text += "\n        set at \"$at $word\"\n    end\n  end\n  test \"$at\" = \"$argv[1]\"\nend\n";
  each_command(root, [&](const CommandFacts& c) {
    const std::string here = "complete -c hwnas -n " + quoted("__hwnas_at \"" + joined(c.path) + "\"", true);
    // Options of the program itself may stand after any command.
    const std::string start = c.path.size() > 1 ? here : "complete -c hwnas";
    for (const CommandFacts& sub : c.commands)
      text += here + " -a " + sub.path.back() + " -d " + quoted(sub.description, true) + "\n";
    for (const OptionFacts& o : c.options) {
      if (o.names.empty()) {
        if (!o.choices.empty()) text += here + " -f -a " + quoted(joined(o.choices), true) + "\n";
        continue;
      }
      std::string line = start;
      for (const std::string& name : o.names)
        line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (o.takes_value) line += " -r";
      if (!o.choices.empty()) line += " -f -a " + quoted(joined(o.choices), true);
      text += line + " -d " + quoted(o.description, true) + "\n";
    }
  });
  return text;
}

std::string manual(const CommandFacts& root, const std::string& version) {
  std::string text =
      ".TH HWNAS 1 \"\" \"hwnas " + troff(version) +
      "\" \"User Commands\"\n.SH NAME\nhwnas \\- networks made for your images and your device\n";
  text += ".SH SYNOPSIS\n.B hwnas\n[OPTIONS] COMMAND [ARGUMENTS]\n.SH OPTIONS\n" + manual_options(root) +
          ".SH COMMANDS\n";
  each_command(root, [&](const CommandFacts& c) {
    if (c.path.size() == 1) return;
    text += ".SS " + troff(joined(c.path)) + "\n" + troff(c.description) + ".\n" + manual_options(c);
    if (!c.examples.empty()) text += ".PP\n.EX\n" + troff(c.examples) + "\n.EE\n";
  });
  return text +
         ".SH EXIT STATUS\n0 done; 1 failure; 2 wrong use; 3 nothing within the limits; 4 a check failed; 5 "
         "device; 6 partly done; 7 store; 75 stopped, run again; 130, 143 interrupted.\n";
}

}  // namespace nas::apps
