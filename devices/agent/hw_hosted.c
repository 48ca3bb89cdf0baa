/* The agent on Linux and Android: stdin/stdout, or one TCP client with --listen PORT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "hw_agent.h"
#include "hw_protocol.h"

int hw_threads = 1;
uint64_t (*hw_device_ticks)(void) = NULL;
static int in_fd = 0;
static int out_fd = 1;

int hw_read_byte(void) {
  static uint8_t buffer[4096];
  static ssize_t filled, used;
  if (used == filled) {
    do filled = read(in_fd, buffer, sizeof buffer);
    while (filled < 0 && errno == EINTR);
    used = 0;
    if (filled <= 0) {
      filled = 0;
      return -1;
    }
  }
  return buffer[used++];
}

void hw_write(const uint8_t* bytes, uint32_t count) {
  while (count > 0) {
    const ssize_t put = write(out_fd, bytes, count);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) exit(3);
    bytes += put;
    count -= (uint32_t)put;
  }
}

/* Our own kernels run on this thread: its processor time leaves out what other programs took of the core
 * meanwhile. Engines may have threads of their own: the wall's time. */
uint64_t hw_ticks(void) {
  struct timespec now;
  if (hw_device_ticks != NULL) return hw_device_ticks();
  clock_gettime(hw_engine_version == NULL ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#ifdef HW_EMULATED
uint64_t hw_tick_hz(void) { return 0; }
#else
uint64_t hw_tick_hz(void) { return 1000000000u; }
#endif

/* Writes more than any last-level cache of the devices that we know. */
void hw_evict_caches(void) {
  enum { BYTES = 96 << 20 };
  static volatile uint8_t* pool;
  if (pool == NULL) pool = malloc(BYTES);
  if (pool == NULL) return;
  for (uint32_t i = 0; i < BYTES; i += 64) pool[i] = (uint8_t)(pool[i] + 1);
}

const char* hw_platform(void) {
#if defined(__x86_64__)
  return "linux x86-64";
#elif defined(__aarch64__)
  return "linux aarch64";
#else
  return "linux other";
#endif
}

static uint32_t add_line(char* text, uint32_t used, uint32_t capacity, const char* key, const char* value) {
  const int put = snprintf(text + used, capacity - used, "%s %s\n", key, value);
  return put < 0 || (uint32_t)put >= capacity - used ? used : used + (uint32_t)put;
}

/* First line of a file, empty when it cannot be read. */
static void first_line(const char* path, char* line, int capacity) {
  FILE* file = fopen(path, "r");
  line[0] = 0;
  if (file == NULL) return;
  if (fgets(line, capacity, file) == NULL) line[0] = 0;
  line[strcspn(line, "\n")] = 0;
  fclose(file);
}

/* "temperature.N degrees/1000 name" for every sensor that two patterns of paths with a number find. */
static uint32_t probe_sensors(char* text, uint32_t n, uint32_t capacity, const char* value_path,
                              const char* name_path) {
  char path[96], key[32], value[64], name[48], both[128];
  for (int sensor = 0; sensor < 64; ++sensor) {
    snprintf(path, sizeof path, value_path, sensor);
    first_line(path, value, sizeof value);
    if (value[0] == 0) continue;
    snprintf(path, sizeof path, name_path, sensor);
    first_line(path, name, sizeof name);
    snprintf(key, sizeof key, "temperature.%d", sensor);
    snprintf(both, sizeof both, "%s %s", value, name);
    n = add_line(text, n, capacity, key, both);
  }
  return n;
}

/* Thermal zones; where there are none, as on many PCs, the hardware monitors. */
static uint32_t probe_temperatures(char* text, uint32_t n, uint32_t capacity) {
  const uint32_t zones = probe_sensors(text, n, capacity, "/sys/class/thermal/thermal_zone%d/temp",
                                       "/sys/class/thermal/thermal_zone%d/type");
  if (zones != n) return zones;
  return probe_sensors(text, n, capacity, "/sys/class/hwmon/hwmon%d/temp1_input", "/sys/class/hwmon/hwmon%d/name");
}

uint32_t hw_probe(char* text, uint32_t capacity) {
  static const struct { const char* key; const char* path; } files[] = {
      {"governor", "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor"},
      {"frequency_khz", "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq"},
      {"frequency_max_khz", "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_max_freq"}};
  char path[96], value[128];
  uint32_t n = 0;
  struct utsname names;
  const int core = sched_getcpu();
  if (hw_engine_version != NULL) n = add_line(text, n, capacity, "engine", hw_engine_version());
  n = add_line(text, n, capacity, "clock", hw_engine_version == NULL ? "processor time of the thread" : "wall time");
  if (uname(&names) == 0) {
    n = add_line(text, n, capacity, "kernel", names.release);
    n = add_line(text, n, capacity, "machine", names.machine);
  }
  snprintf(value, sizeof value, "%d", core);
  n = add_line(text, n, capacity, "core", value);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
    snprintf(path, sizeof path, files[i].path, core < 0 ? 0 : core);
    first_line(path, value, sizeof value);
    if (value[0] != 0) n = add_line(text, n, capacity, files[i].key, value);
  }
  first_line("/proc/loadavg", value, sizeof value);
  if (value[0] != 0) n = add_line(text, n, capacity, "load", value);
  return probe_temperatures(text, n, capacity);
}

static int listen_once(int port) {
  struct sockaddr_in address;
  const int yes = 1;
  const int server = socket(AF_INET, SOCK_STREAM, 0);
  int client;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((uint16_t)port);
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (server < 0 || bind(server, (struct sockaddr*)&address, sizeof address) != 0 || listen(server, 1) != 0) {
    perror("hwnas-agent: cannot listen");
    return -1;
  }
  client = accept(server, NULL, NULL);
  close(server);
  if (client >= 0) setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return client;
}

static int pin(const char* mask_text) {
  const unsigned long long mask = strtoull(mask_text, NULL, 16);
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < 64; ++i)
    if ((mask >> i) & 1u) CPU_SET(i, &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return 0;
  perror("hwnas-agent: cannot pin to these cores");
  return -1;
}

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc) {
      in_fd = out_fd = listen_once(atoi(argv[++i]));
      if (in_fd < 0) return 2;
    } else if (strcmp(argv[i], "--taskset") == 0 && i + 1 < argc) {
      if (pin(argv[++i]) != 0) return 2;
    } else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
      hw_threads = atoi(argv[++i]);
    } else {
      fprintf(stderr, "usage: hwnas-agent [--taskset HEXMASK] [--threads N] [--listen PORT]\n");
      return 2;
    }
  }
  return hw_serve();
}
