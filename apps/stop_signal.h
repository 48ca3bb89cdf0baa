#pragma once

namespace nas::apps {

// From now on SIGINT, SIGTERM and SIGUSR1 only ask to stop; a second SIGINT ends the process.
void watch_for_stop();
// The signal that asked, 0 while none did.
int stop_signal();
inline bool stop_requested() { return stop_signal() != 0; }

// Exit code of a command that stopped as asked and goes on when it is run again: 130 after SIGINT, else 75
// (docs/exit-codes.md).
int stopped_code();

}  // namespace nas::apps
