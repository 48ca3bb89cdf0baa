/* The program that runs kernels on a device: a fixed table of kernels linked in, served over a byte stream. */
#ifndef HW_AGENT_H
#define HW_AGENT_H
#include <stddef.h>
#include <stdint.h>

/* One kernel of the linked table (hw_kernels), which hwnas generates beside the kernels themselves. */
typedef struct {
  const char* signature;
  void (*run)(uint8_t* arena); /* reads its input in the arena, writes its output there */
  uint32_t arena_bytes;
  uint32_t input_offset;
  uint32_t input_bytes;
  uint32_t output_offset;
  uint32_t output_bytes;
  uint8_t element_bytes; /* 1: int8, 4: float */
} hw_kernel;

extern const hw_kernel hw_kernels[];
extern const uint16_t hw_kernel_count;
extern const char hw_build_id[];
extern uint8_t hw_arena[];
extern const uint32_t hw_arena_bytes;

/* What a platform provides: hw_hosted.c (Linux), hw_baremetal.c (Cortex-M). */
int hw_read_byte(void);                            /* waits; -1: the stream has ended */
void hw_write(const uint8_t* bytes, uint32_t count); /* all of them */
uint64_t hw_ticks(void);
uint64_t hw_tick_hz(void);                         /* 0: no clock that can be trusted */
void hw_evict_caches(void);
uint32_t hw_probe(char* text, uint32_t capacity);  /* returns the length */
const char* hw_platform(void);

/* Marks for an instruction-counting emulator; empty functions otherwise. */
void hw_region_begin(uint32_t index);
void hw_region_end(uint32_t index);

/* Serves requests until the stream ends or a farewell comes; the value for exit(). */
int hw_serve(void);
/* From a fault handler: tells the host that the request it waits for ended in a fault. */
void hw_report_fault(void);

#endif
