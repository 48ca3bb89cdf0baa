#include "apps/stop_signal.h"

#include <signal.h>
#include <unistd.h>

#include <initializer_list>

namespace nas::apps {
namespace {

volatile sig_atomic_t asked = 0;

void note_stop(int number) {
  if (asked != 0 && number == SIGINT) ::_exit(130);
  asked = number;
}

}  // namespace

void watch_for_stop() {
  struct sigaction action {};
  action.sa_handler = note_stop;  // without SA_RESTART: waits must end
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) ::sigaction(number, &action, nullptr);
}

int stop_signal() { return static_cast<int>(asked); }

int stopped_code() { return asked == SIGINT ? 128 + SIGINT : 75; }

}  // namespace nas::apps
