#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

// Completion and manual, as the shells and man read them.
namespace nas::apps {
namespace {

using testing::HasSubstr;

struct Ran {
  int code = 0;
  std::string text;
};

Ran sh(const std::string& command) {
  Ran ran;
  std::FILE* const pipe = ::popen(("{ " + command + "\n} 2>&1").c_str(), "r");
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) ran.text.append(buffer, n);
  const int status = ::pclose(pipe);
  ran.code = WEXITSTATUS(status);
  return ran;
}

class Completion : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& arguments, const std::string& name) {
    const std::string path = (folder_ / name).string();
    EXPECT_EQ(sh(std::string(HWNAS_PROGRAM) + " " + arguments + " > " + path).code, 0);
    return path;
  }
  // What bash offers after these words; the last one is being typed.
  std::string offered(const std::string& words) {
    const std::string script = file("completion bash", "c.bash");
    return sh("bash -c 'source " + script + "; COMP_WORDS=(" + words +
              "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _hwnas; echo ${COMPREPLY[@]}'")
        .text;
  }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("hwnas-completion-" + std::to_string(::getpid()));
};

TEST_F(Completion, BashOffersCommandsOptionsAndTheirValues) {
  EXPECT_EQ(offered("hwnas sho"), "show\n");
  EXPECT_EQ(offered("hwnas space co"), "count cost\n");
  EXPECT_EQ(offered("hwnas space cost --lay"), "--layers\n");
  EXPECT_EQ(offered("hwnas front --format j"), "json jsonl\n");
  EXPECT_EQ(offered("hwnas completion f"), "fish\n");
}

TEST_F(Completion, EveryShellThatIsHereTakesItsScript) {
  EXPECT_EQ(sh("bash -n " + file("completion bash", "c.bash")).code, 0);
  for (const std::string shell : {"zsh", "fish"}) {
    const std::string script = file("completion " + shell, "c." + shell);
    if (sh("command -v " + shell).code == 0) {
      EXPECT_EQ(sh(shell + " -n " + script).code, 0) << shell;
    }
    EXPECT_THAT(sh("cat " + script).text, HasSubstr("hwnas space"));
  }
  EXPECT_EQ(sh(std::string(HWNAS_PROGRAM) + " completion tcsh").code, 2);
}

TEST_F(Completion, TheManualFormatsWithoutWarningsAndNamesEveryCommand) {
  const std::string page = file("man", "hwnas.1");
  const std::string text = sh("cat " + page).text;
  for (const char* command :
       {".SS hwnas front", ".SS hwnas space cost", ".SS hwnas report", ".SS hwnas serve"})
    EXPECT_THAT(text, HasSubstr(command));
  if (sh("command -v groff").code != 0) GTEST_SKIP() << "no groff here";
  const Ran formatted = sh("groff -man -Tutf8 -wall -z " + page);
  EXPECT_EQ(formatted.text, "");
  EXPECT_EQ(formatted.code, 0);
}

TEST_F(Completion, ShowDrawsANetworkAndRefusesWhatIsNone) {
  const std::string svg = (folder_ / "a.svg").string();
  const std::string program = HWNAS_PROGRAM;
  ASSERT_EQ(sh(program + " show largest --space tiny --svg " + svg).code, 0);
  EXPECT_THAT(sh("cat " + svg).text, HasSubstr("class=\"kernel\""));
  EXPECT_EQ(sh(program + " show nothing").code, 2);
  const std::string run = (folder_ / "run").string();
  std::filesystem::create_directories(run);
  std::ofstream(run + "/config.json") << R"({"space": "none"})";
  std::ofstream metrics(run + "/metrics.jsonl");
  for (int i = 0; i < 8; ++i)
    metrics << R"({"step":1,"phase":"p","epoch":)" << i << R"(,"paths":[{"genotype":"x","loss":)" << 8 - i
            << R"(,"accuracy":)" << i << "}]}\n";
  metrics.close();
  // Falling and rising evenly: every height once.
  const std::string curves = sh(program + " show " + run).text;
  EXPECT_THAT(curves, HasSubstr("█▇▆▅▄▃▂▁"));
  EXPECT_THAT(curves, HasSubstr("▁▂▃▄▅▆▇█"));
  EXPECT_EQ(sh(program + " show nothing --space tiny").code, 2);
}

}  // namespace
}  // namespace nas::apps
