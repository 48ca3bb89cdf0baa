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

TEST_F(Completion, ShellsThatAreUnknownAreRefused) {
  EXPECT_EQ(sh(std::string(HWNAS_PROGRAM) + " completion tcsh").code, 2);
}

TEST_F(Completion, FishOffersTheSame) {
  const std::string script = file("completion fish", "c.fish");
  EXPECT_THAT(sh("cat " + script).text, HasSubstr("hwnas space"));
  if (sh("command -v fish").code != 0) GTEST_SKIP() << "no fish here";
  const auto offers = [&](const std::string& line) {
    return sh("cd " + folder_.string() + "; HOME=. fish --no-config -c 'source " + script +
              "; complete -C \"" + line + "\" | cut -f1'")
        .text;
  };
  EXPECT_EQ(offers("hwnas sho"), "show\n");
  EXPECT_EQ(offers("hwnas space co"), "cost\ncount\n");
  EXPECT_EQ(offers("hwnas space cost --lay"), "--layers\n");
  EXPECT_EQ(offers("hwnas front --format j"), "json\njsonl\n");
  EXPECT_EQ(offers("hwnas completion f"), "fish\n");
}

// zsh's own helpers print what they are given; without a terminal there is no line to complete.
TEST_F(Completion, ZshOffersTheSame) {
  const std::string script = file("completion zsh", "c.zsh");
  EXPECT_THAT(sh("cat " + script).text, HasSubstr("hwnas space"));
  if (sh("command -v zsh").code != 0) GTEST_SKIP() << "no zsh here";
  const auto offers = [&](const std::string& words, int current, const std::string& prefix) {
    return sh("zsh -f -c 'compdef() { [[ $1 == _hwnas && $2 == hwnas ]] || echo wrong; }; _files() { : }; "
              "_describe() { print -l -- \"${(@P)2}\" }; source " +
              script + "; words=(" + words + "); CURRENT=" + std::to_string(current) +
              "; _hwnas' | cut -d: -f1 | grep -e \"^" + prefix + "\"")
        .text;
  };
  EXPECT_EQ(offers("hwnas sho", 2, "sho"), "show\n");
  EXPECT_EQ(offers("hwnas space co", 3, "co"), "count\ncost\n");
  EXPECT_EQ(offers("hwnas space cost --lay", 4, "--lay"), "--layers\n");
  EXPECT_EQ(offers("hwnas front --for", 3, "--for"), "--format\n");
  EXPECT_EQ(offers("hwnas front --format j", 4, "j"), "json\njsonl\n");
  EXPECT_EQ(offers("hwnas completion f", 3, "f"), "fish\n");
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
  EXPECT_EQ(sh(program + " show largest --space tiny --svg").text, sh("cat " + svg).text);
  EXPECT_THAT(sh(program + " show largest --space tiny --dot").text, HasSubstr("digraph"));
  EXPECT_THAT(sh(program + " show r=20:d=1,1,1").text, HasSubstr("needs --space"));
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

TEST_F(Completion, AReportOfAnEmptyProjectSaysSo) {
  const Ran ran = sh(std::string(HWNAS_PROGRAM) + " -C " + folder_.string() + " report");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.text, HasSubstr("report in report.html: empty"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "report.html"));
}

}  // namespace
}  // namespace nas::apps
