/* An engine whose library is loaded at run time, as the agent's generated kernels call it: each holds a model of one
 * kernel (or network) with one input and one output. */
#ifndef HW_ENGINE_H
#define HW_ENGINE_H
#include <stdint.h>

typedef struct {
  const char* bytes; /* the model: ONNX or TFLite */
  uint32_t count;
  uint8_t* input; /* in the arena, aligned to 64 bytes */
  uint32_t input_bytes;
  uint8_t* output;
  uint32_t output_bytes;
} hw_model;

/* Makes the model ready: what hw_engine_run() takes. Ends the program with status 70 and words on stderr when the
 * library or the model cannot be used. */
void* hw_engine_load(const hw_model* model);
void hw_engine_run(void* loaded);

#endif
