/* The program that runs kernels on a device: a fixed table of kernels linked in, served over a byte stream. */
#ifndef HW_AGENT_H
#define HW_AGENT_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

extern const hw_kernel* hw_kernels;
extern uint16_t hw_kernel_count;
extern const char* hw_build_id;
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

/* Of an engine linked in, "ONNX Runtime 1.20.1"; absent for generated kernels. */
const char* hw_engine_version(void) __attribute__((weak));
extern int hw_threads; /* Linux: of an engine; generated kernels run on one */

/* Marks for an instruction-counting emulator; empty functions otherwise. */
void hw_region_begin(uint32_t index);
void hw_region_end(uint32_t index);

extern uint16_t hw_running; /* index of the kernel that runs, for engines that share one run() */
extern int hw_checking; /* its output will be looked at: engines with tensors of their own copy both ways */

/* Serves requests until the stream ends or a farewell comes; the value for exit(). */
int hw_serve(void);
/* From a fault handler: tells the host that the request it waits for ended in a fault. */
void hw_report_fault(void);

/* Linux: the clock of a processor whose work runs on after a call (CUDA), in nanoseconds; NULL: this machine's. */
extern uint64_t (*hw_device_ticks)(void);

#ifdef __cplusplus
}
#endif
#endif
