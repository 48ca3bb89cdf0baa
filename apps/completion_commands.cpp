#include <cstdio>
#include <filesystem>
#include <memory>

#include "apps/configuration_page.h"
#include "apps/option_tree.h"

namespace nas::apps {
namespace {

// The program with LibTorch knows all options of all commands; it speaks where it is there.
void prefer_torch(const Context& context) {
  if (!has_torch()) static_cast<void>(continue_with_torch(context));
}

}  // namespace

void add_completion_commands(CLI::App& app, Context& context) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completion = add_command(
      app, "completion", "Completion for a shell, made from the commands themselves",
      {"source <(hwnas completion bash)", "hwnas completion fish > ~/.config/fish/completions/hwnas.fish"});
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&app, &context, shell] {
    context.action = [&app, &context, shell]() -> Result<int> {
      prefer_torch(context);
      const CommandFacts tree = option_tree(app);
      const std::string text = *shell == "bash"  ? bash_completion(tree)
                               : *shell == "zsh" ? zsh_completion(tree)
                                                 : fish_completion(tree);
      std::fputs(text.c_str(), stdout);
      return 0;
    };
  });
  CLI::App* man = add_command(app, "man", "The manual page, made from the commands themselves",
                              {"hwnas man > hwnas.1", "hwnas man | man -l -"});
  auto configuration = std::make_shared<bool>(false);
  man->add_flag("--configuration", *configuration, "The keys of hwnas.json and search files, as Markdown");
  man->callback([&app, &context, configuration] {
    context.action = [&app, &context, configuration]() -> Result<int> {
      if (*configuration) {
        NAS_TRY(page, configuration_page());
        std::fputs(page.c_str(), stdout);
        return 0;
      }
      prefer_torch(context);
      std::fputs(manual(option_tree(app), version()).c_str(), stdout);
      return 0;
    };
  });
}

}  // namespace nas::apps
