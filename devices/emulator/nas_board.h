/* What a program under the emulator may use. The program defines nas_main(); its result is the exit status.
 */
#ifndef NAS_BOARD_H
#define NAS_BOARD_H
#include <stdint.h>

int nas_main(void);

void nas_print(const char* text);
void nas_print_number(const char* name, uint32_t value); /* "name value\n", decimal */

/* Whole files in the folder the emulator was started in. Both return the number of bytes moved, -1: cannot
 * open. */
int32_t nas_read_file(const char* name, void* data, uint32_t size);
int32_t nas_write_file(const char* name, const void* data, uint32_t size);

/* What lies between the two is one region of the instruction counter. */
void nas_region_begin(void);
void nas_region_end(void);

#endif
