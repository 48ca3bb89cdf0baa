#pragma once
#include <string>
#include <vector>

#include "apps/command.h"

namespace nas::apps {

// Makes whole numbers that do not fit their option errors: CLI11 takes the nearest number that fits instead,
// and wraps negative ones where only positive ones are meant.
void refuse_numbers_that_do_not_fit(CLI::App& app);

// What was wrong with the command line and which help to ask for, in two lines. An unknown command or option
// is named together with the known one that is spelt most like it.
std::string usage_message(const CLI::App& app, const CLI::ParseError& failure, const std::string& command);

}  // namespace nas::apps
