/* Reset code and semihosting for Cortex-M boards under QEMU (ARM "Semihosting for AArch32", operation numbers). */
#include "nas_board.h"

extern uint32_t nas_data_load[], nas_data_begin[], nas_data_end[], nas_bss_begin[], nas_bss_end[], nas_stack_top[];

enum { kOpen = 1, kClose = 2, kWrite = 5, kRead = 6, kExitExtended = 0x20 };
enum { kModeReadBinary = 1, kModeWrite = 4, kModeWriteBinary = 5 };

static int32_t semihosting(uint32_t operation, const void *arguments) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = arguments;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return (int32_t)r0;
}

static uint32_t length(const char *text) {
  uint32_t n = 0;
  while (text[n]) ++n;
  return n;
}

static int32_t open_file(const char *name, uint32_t mode) {
  const uint32_t arguments[3] = {(uint32_t)name, mode, length(name)};
  return semihosting(kOpen, arguments);
}

/* Reads or writes all of it and closes; semihosting answers with the number of bytes not moved. */
static int32_t move(uint32_t operation, int32_t handle, const void *data, uint32_t size) {
  const uint32_t arguments[3] = {(uint32_t)handle, (uint32_t)data, size};
  if (handle < 0) return -1;
  const int32_t left = semihosting(operation, arguments);
  semihosting(kClose, arguments);
  return (int32_t)size - left;
}

int32_t nas_read_file(const char *name, void *data, uint32_t size) {
  return move(kRead, open_file(name, kModeReadBinary), data, size);
}

int32_t nas_write_file(const char *name, const void *data, uint32_t size) {
  return move(kWrite, open_file(name, kModeWriteBinary), data, size);
}

void nas_print(const char *text) { move(kWrite, open_file(":tt", kModeWrite), text, length(text)); }

void nas_print_number(const char *name, uint32_t value) {
  char digits[12];
  int at = 11;
  digits[at] = 0;
  do digits[--at] = (char)('0' + value % 10);
  while (value /= 10);
  nas_print(name);
  nas_print(" ");
  nas_print(digits + at);
  nas_print("\n");
}

__attribute__((noinline)) void nas_region_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void nas_region_end(void) { __asm__ volatile("" ::: "memory"); }

__attribute__((noreturn)) static void leave(int status) {
  const uint32_t arguments[2] = {0x20026u /* ADP_Stopped_ApplicationExit */, (uint32_t)status};
  for (;;) semihosting(kExitExtended, arguments);
}

__attribute__((noreturn)) static void fault(void) {
  nas_print("fault\n");
  leave(99);
}

__attribute__((noreturn)) void nas_reset(void) {
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: floating point on; ignored by cores without it */
  __asm__ volatile("dsb\n\tisb");
  const uint32_t *from = nas_data_load;
  for (uint32_t *to = nas_data_begin; to < nas_data_end;) *to++ = *from++;
  for (uint32_t *to = nas_bss_begin; to < nas_bss_end;) *to++ = 0;
  leave(nas_main());
}

union vector {
  void *stack;
  void (*handler)(void);
};

__attribute__((section(".vectors"), used)) static const union vector vectors[16] = {
    {.stack = nas_stack_top}, {.handler = nas_reset}, {.handler = fault}, {.handler = fault},
    {.handler = fault},       {.handler = fault},     {.handler = fault}, {.handler = fault},
    {.stack = 0},             {.stack = 0},           {.stack = 0},       {.handler = fault},
    {.handler = fault},       {.stack = 0},           {.handler = fault}, {.handler = fault}};
