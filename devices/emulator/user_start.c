/* The same services for a program under user-mode emulation, or on the host itself. */
#include <inttypes.h>
#include <stdio.h>

#include "nas_board.h"

static int32_t move(FILE *file, void *to, const void *from, uint32_t size) {
  if (!file) return -1;
  const size_t moved = to ? fread(to, 1, size, file) : fwrite(from, 1, size, file);
  return fclose(file) == 0 ? (int32_t)moved : -1;
}

int32_t nas_read_file(const char *name, void *data, uint32_t size) { return move(fopen(name, "rb"), data, NULL, size); }

int32_t nas_write_file(const char *name, const void *data, uint32_t size) {
  return move(fopen(name, "wb"), NULL, data, size);
}

void nas_print(const char *text) { fputs(text, stdout); }
void nas_print_number(const char *name, uint32_t value) { printf("%s %" PRIu32 "\n", name, value); }

__attribute__((noinline)) void nas_region_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void nas_region_end(void) { __asm__ volatile("" ::: "memory"); }

int main(void) { return nas_main(); }
