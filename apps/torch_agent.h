#pragma once

namespace nas::apps {

// Serves the agent's protocol over stdin and stdout; argv: program, "torch-agent", a file of models (one JSON
// object a line: name, network), "cpu" or "cuda", options of the agent. Returns the exit status.
int torch_agent(int argc, char** argv);

}  // namespace nas::apps
