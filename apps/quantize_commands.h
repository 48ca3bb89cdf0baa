#pragma once
#include "apps/command.h"
#include "apps/quantize_stage.h"

namespace nas::apps {

void add_quantize_commands(CLI::App& app, Context& context);  // quantize-report; in hwnas-torch
// The options that export and quantize-report share.
void add_quantize_options(CLI::App& command, QuantizeStage& stage);

}  // namespace nas::apps
