#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "tests/apps/program.h"

// The documentation's commands: all are ones that the program knows, the how-tos run from top to bottom.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kRoot = HWNAS_SOURCE_DIR;

std::string text_of(const fs::path& path) {
  const auto text = read_file(path);
  EXPECT_TRUE(text) << path;
  return text ? *text : "";
}

struct Block {
  std::string info, text;
};

// Fenced blocks of a page, with what stands behind the fence.
std::vector<Block> blocks_of(const std::string& page) {
  std::vector<Block> blocks;
  std::stringstream lines(page);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) blocks.push_back({line.substr(3), ""});
    } else if (inside) {
      blocks.back().text += line + "\n";
    }
  }
  return blocks;
}

// "hwnas …" at the start of a line of a block or of indented code, and inside backquotes.
std::vector<std::string> commands_of(const std::string& page) {
  std::vector<std::string> found;
  static const std::regex line("(^|\n)(    )?(\\$ )?(cd [a-z]+ && )?(hwnas [^\n]*)"),
      inline_code("`(hwnas [^`\n]*)`");
  for (std::sregex_iterator it(page.begin(), page.end(), line), end; it != end; ++it)
    found.push_back((*it)[5]);
  for (std::sregex_iterator it(page.begin(), page.end(), inline_code), end; it != end; ++it)
    found.push_back((*it)[1]);
  return found;
}

std::vector<std::string> words_of(std::string command) {
  for (const char* stop : {"#", ";", " && ", "  ", " | ", " > "})
    if (const auto at = command.find(stop); at != std::string::npos) command.resize(at);
  std::stringstream stream(command);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::vector<fs::path> pages() {
  std::vector<fs::path> all{kRoot / "README.md"};
  for (const auto& entry : fs::directory_iterator(kRoot / "docs"))
    if (entry.path().extension() == ".md") all.push_back(entry.path());
  std::sort(all.begin(), all.end());
  return all;
}

class Docs : public ProgramTest {
 protected:
  // Help of "hwnas a b", empty when there is no such command.
  const std::string& help(const std::string& path) {
    const auto [at, fresh] = help_.emplace(path, "");
    if (fresh && hwnas(path + " --help") == 0) at->second = output_;
    return at->second;
  }
  void put_png(const std::string& name, int shade, bool square);
  void run_page(const std::string& name);
  std::map<std::string, std::string> help_;
};

// Every command of every page is one, and so is every option that it is given.
TEST_F(Docs, EveryCommandAndOptionExists) {
  std::size_t checked = 0;
  for (const fs::path& page : pages()) {
    for (const std::string& command : commands_of(text_of(page))) {
      std::vector<std::string> words = words_of(command);
      std::size_t at = 1;
      while (at < words.size() && (words[at] == "-C" || words[at] == "-f")) at += 2;
      while (at < words.size() && words[at].starts_with("-")) ++at;
      if (at >= words.size()) continue;
      const std::string where = page.filename().string() + ": " + command;
      static const std::regex name("[a-z-]+(\\|[a-z-]+)*");
      ASSERT_TRUE(std::regex_match(words[at], name)) << where;
      const std::string first = words[at].substr(0, words[at].find('|'));
      ASSERT_THAT(help(first), HasSubstr("Usage: hwnas")) << where;
      std::string path = first;
      const bool group = help(first).find("\nSubcommands:") != std::string::npos;
      if (group && at + 1 < words.size() && std::regex_match(words[at + 1], name))
        path += " " + words[at + 1].substr(0, words[at + 1].find('|'));
      ASSERT_THAT(help(path), HasSubstr("Usage: hwnas")) << where;
      for (std::string word : words) {
        if (!word.starts_with("--") && !word.starts_with("[--")) continue;
        static const std::regex option("--[a-z][a-z-]*");
        std::smatch match;
        ASSERT_TRUE(std::regex_search(word, match, option)) << where;
        const std::string known = help(path) + help("");
        EXPECT_THAT(known, HasSubstr(match.str())) << where;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 100u);
}

// What needs a trained project or minutes; everything else of the README is run.
constexpr const char* kSlow[] = {"demo",   "run",    "train", "sweep", "check",   "compress", "export",
                                 "verify", "search", "serve", "front", "profile", "predict",  "report"};

TEST_F(Docs, TheQuickCommandsOfTheReadmeRun) {
  std::size_t ran = 0;
  put_png("my-images/a/1.png", 10, true);
  put_png("my-images/b/1.png", 200, false);
  for (const Block& block : blocks_of(text_of(kRoot / "README.md"))) {
    if (!block.info.starts_with("sh")) continue;
    for (const std::string& command : commands_of("\n" + block.text)) {
      const std::vector<std::string> words = words_of(command);
      if (std::ranges::find(kSlow, words.at(1)) != std::end(kSlow)) continue;
      std::string arguments;
      for (std::size_t i = 1; i < words.size(); ++i) arguments += words[i] + " ";
      const int code = hwnas(arguments);
      EXPECT_TRUE(code == 0 || (words[1] == "doctor" && code == 5)) << command << "\n" << errors_;
      ++ran;
    }
  }
  EXPECT_GE(ran, 6u);
}

TEST_F(Docs, TheConfigurationPageIsWhatTheProgramMakes) {
  ASSERT_EQ(hwnas("man --configuration"), 0) << errors_;
  EXPECT_EQ(text_of(kRoot / "docs/configuration.md"), output_)
      << "hwnas man --configuration > docs/configuration.md";
}

TEST_F(Docs, EveryLinkBetweenPagesLeadsSomewhere) {
  static const std::regex link("\\]\\(([^)#:]+)(#[^)]*)?\\)");
  for (const fs::path& page : pages()) {
    const std::string text = text_of(page);
    for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it)
      EXPECT_TRUE(fs::exists(page.parent_path() / (*it)[1].str())) << page << ": " << (*it)[1];
  }
}

// A picture of 24 x 24: a light or dark square or disc, told apart easily. PNG, stored without compression of
// ours.
void Docs::put_png(const std::string& name, int shade, bool square) {
  constexpr int kSide = 24;
  std::string raw;
  for (int y = 0; y < kSide; ++y) {
    raw += '\0';
    for (int x = 0; x < kSide; ++x) {
      const int dx = x - 12, dy = y - 12;
      const bool inside = square ? std::abs(dx) < 7 && std::abs(dy) < 7 : dx * dx + dy * dy < 60;
      for (int c = 0; c < 3; ++c) raw += static_cast<char>(inside ? shade + 8 * c : 120);
    }
  }
  uLongf size = compressBound(raw.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(raw.data()),
           raw.size());
  packed.resize(size);
  const auto word = [](std::size_t v) {
    return std::string{static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8),
                       static_cast<char>(v)};
  };
  const auto chunk = [&](const std::string& kind, const std::string& body) {
    const std::string both = kind + body;
    return word(body.size()) + both +
           word(crc32(0, reinterpret_cast<const Bytef*>(both.data()), static_cast<uInt>(both.size())));
  };
  put(name, "\x89PNG\r\n\x1a\n" +
                chunk("IHDR", word(kSide) + word(kSide) + std::string("\x08\x02\0\0\0", 5)) +
                chunk("IDAT", packed) + chunk("IEND", ""));
}

// Writes the page's files and runs its commands, one shell for all, as a reader would.
void Docs::run_page(const std::string& name) {
  std::string script = "set -e\ncd " + project_.string() + "\n";
  script += "hwnas() { " HWNAS_PROGRAM " -q \"$@\"; }\n";
  for (const Block& block : blocks_of(text_of(kRoot / "docs" / name))) {
    if (const auto at = block.info.find("file="); at != std::string::npos)
      put(block.info.substr(at + 5), block.text);
    else if (block.info.starts_with("sh"))
      script += block.text;
  }
  put("script.sh", script);
  const std::string command = "timeout 500 bash " + (project_ / "script.sh").string() + " >" +
                              (project_ / "out.txt").string() + " 2>&1 </dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << bytes("out.txt");
}

class HowTo : public Docs {};

TEST_F(HowTo, YourOwnImages) {
  for (int i = 0; i < 60; ++i) {
    put_png("photos/round/" + std::to_string(i) + ".png", i, false);
    put_png("photos/square/" + std::to_string(i) + ".png", 150 + i, true);
  }
  run_page("howto-images.md");
  EXPECT_TRUE(fs::exists(project_ / "pets/report.html"));
  EXPECT_TRUE(fs::exists(project_ / "pets/exports/m4/manifest.json"));
}

TEST_F(HowTo, YourOwnSpace) {
  run_page("howto-space.md");
  EXPECT_THAT(bytes("largest.svg"), HasSubstr("class=\"kernel\""));
  EXPECT_TRUE(fs::exists(project_ / "exports/small/manifest.json"));
}

TEST_F(HowTo, YourOwnDevice) {
  run_page("howto-device.md");
  EXPECT_TRUE(fs::exists(project_ / "sessions/myboard.jsonl"));
}

}  // namespace
}  // namespace nas::apps
