/* The same services for a program under user-mode emulation, or on the host itself. */
#include <inttypes.h>
#include <stdio.h>

#include "nas_board.h"

static int32_t finish(FILE *file, size_t moved) { return fclose(file) == 0 ? (int32_t)moved : -1; }

int32_t nas_read_file(const char *name, void *data, uint32_t size) {
  FILE *const file = fopen(name, "rb");
  return file ? finish(file, fread(data, 1, size, file)) : -1;
}

int32_t nas_write_file(const char *name, const void *data, uint32_t size) {
  FILE *const file = fopen(name, "wb");
  return file ? finish(file, fwrite(data, 1, size, file)) : -1;
}

void nas_print(const char *text) { fputs(text, stdout); }
void nas_print_number(const char *name, uint32_t value) { printf("%s %" PRIu32 "\n", name, value); }

__attribute__((noinline)) void nas_region_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void nas_region_end(void) { __asm__ volatile("" ::: "memory"); }

int main(void) { return nas_main(); }
