#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::apps {

// One step of a project's line: commands of hwnas itself, what they read and what they make. Paths are
// relative to the project's folder.
struct Stage {
  std::string name;                                // "train", "profile mcu"; unique
  std::vector<std::vector<std::string>> commands;  // arguments after `hwnas`, run in the project's folder
  std::vector<std::string> reads;                  // files and folders
  std::vector<std::string> makes;
  std::vector<std::string> clears;  // folders to remove before the commands run: made whole or not at all
  std::size_t shown = SIZE_MAX;     // of so many commands the output is shown; of later ones only their line
};

// What a finished stage left on record.
struct StageEnd {
  double seconds = 0;
  std::int64_t peak_kilobytes = 0;  // of resident memory, the largest of its commands (measured)
};

// A hash of the stage's commands and of all that it reads: the bytes of files; names, sizes and times of the
// files of folders. Fails when something to read is missing.
Result<std::string> stage_fingerprint(const std::filesystem::path& project, const Stage& stage);

// The record of an earlier run of this stage when it is still valid: same fingerprint, everything made still
// there and, for files, unchanged.
Result<std::optional<StageEnd>> finished_stage(const std::filesystem::path& project, const Stage& stage);

// The end on record of an earlier run of this stage, be it valid still or not.
std::optional<StageEnd> last_end(const std::filesystem::path& project, const Stage& stage);

// Runs the commands one after the other, their output to ours and to logs/NAME.log, and records the end.
// Fails with the command's exit code as the error's kind; what the commands made so far stays, and they
// continue from it.
Result<StageEnd> run_stage(const std::filesystem::path& project, const Stage& stage, bool quiet);

// Like a shell would need it: a word, and a command of hwnas.
std::string shell_word(const std::string& word);
std::string command_line(const std::vector<std::string>& arguments);

}  // namespace nas::apps
