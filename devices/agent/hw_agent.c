#include "hw_agent.h"

#include <string.h>

#include "hw_protocol.h"

static uint8_t request_buffer[HW_HEADER_BYTES + HW_REQUEST_LIMIT + HW_TRAILER_BYTES];
static uint8_t payload[HW_REPLY_LIMIT];
static uint8_t reply_buffer[HW_HEADER_BYTES + HW_REPLY_LIMIT + HW_TRAILER_BYTES];
static uint32_t prepared_seed;
static int prepared_index = -1;
static volatile uint16_t current_sequence;
uint16_t hw_running;
int hw_checking;

__attribute__((noinline)) void hw_region_begin(uint32_t index) { __asm__ volatile("" ::"r"(index) : "memory"); }
__attribute__((noinline)) void hw_region_end(uint32_t index) { __asm__ volatile("" ::"r"(index) : "memory"); }

static void answer(uint8_t type, uint16_t sequence, uint32_t length) {
  hw_write(reply_buffer, hw_encode(reply_buffer, sizeof reply_buffer, type, sequence, payload, length));
}

static void refuse(uint16_t sequence, uint16_t code, const char* text) {
  const size_t length = strlen(text);
  hw_put16(payload, code);
  memcpy(payload + 2, text, length);
  answer(HW_REFUSED, sequence, (uint32_t)(2 + length));
}

/* Version, pointer bytes, kernels u16, sample limit u32, tick rate u64, timer step u64 (ticks), arena u32,
 * platform text, 0, build text. */
static void agent_hello(const hw_frame* f) {
  uint64_t step = 0;
  uint32_t n = 28;
  size_t length;
  if (f->length != 2) {
    refuse(f->sequence, HW_REFUSED_LENGTH, "hello needs 2 bytes");
    return;
  }
  if (f->payload[0] > HW_PROTOCOL_VERSION || f->payload[1] < HW_PROTOCOL_VERSION) {
    refuse(f->sequence, HW_REFUSED_VERSION, "this agent speaks protocol version 1 only");
    return;
  }
  if (hw_tick_hz() != 0) {
    for (int i = 0; i < 20; ++i) {
      const uint64_t start = hw_ticks();
      uint64_t now = start;
      for (int spin = 0; spin < 1000000 && now == start; ++spin) now = hw_ticks();
      if (now != start && (step == 0 || now - start < step)) step = now - start;
    }
  }
  payload[0] = HW_PROTOCOL_VERSION;
  payload[1] = (uint8_t)sizeof(void*);
  hw_put16(payload + 2, hw_kernel_count);
  hw_put32(payload + 4, HW_SAMPLE_LIMIT);
  hw_put64(payload + 8, hw_tick_hz());
  hw_put64(payload + 16, step);
  hw_put32(payload + 24, hw_arena_bytes);
  length = strlen(hw_platform());
  memcpy(payload + n, hw_platform(), length);
  n += (uint32_t)length;
  payload[n++] = 0;
  length = strlen(hw_build_id);
  memcpy(payload + n, hw_build_id, length);
  answer(HW_HELLO | HW_REPLY, f->sequence, n + (uint32_t)length);
}

/* Index of a request that is long enough, names a kernel and fits the arena; -1 when refused. */
static int kernel_index(const hw_frame* f, uint32_t length) {
  uint16_t index;
  if (f->length != length) {
    refuse(f->sequence, HW_REFUSED_LENGTH, "the request's length is wrong for its type");
    return -1;
  }
  index = hw_get16(f->payload);
  if (index >= hw_kernel_count) {
    refuse(f->sequence, HW_REFUSED_INDEX, "no such kernel");
    return -1;
  }
  if (hw_kernels[index].arena_bytes > hw_arena_bytes) {
    refuse(f->sequence, HW_REFUSED_MEMORY, "the kernel needs more arena than there is");
    return -1;
  }
  return index;
}

static void agent_kernel(const hw_frame* f) {
  const int index = kernel_index(f, 2);
  size_t length;
  if (index < 0) return;
  hw_put32(payload, hw_kernels[index].arena_bytes);
  hw_put32(payload + 4, hw_kernels[index].input_bytes);
  hw_put32(payload + 8, hw_kernels[index].output_bytes);
  length = strlen(hw_kernels[index].signature);
  if (length > HW_REPLY_LIMIT - 12) length = HW_REPLY_LIMIT - 12;
  memcpy(payload + 12, hw_kernels[index].signature, length);
  answer(HW_KERNEL | HW_REPLY, f->sequence, 12 + (uint32_t)length);
}

/* Input that is the same on every machine: all int8 values, or floats in [-1, 1) with 8 significant bits,
 * so that no denormals slow a kernel down. */
static void prepare(int index, uint32_t seed) {
  const hw_kernel* k = &hw_kernels[index];
  uint8_t* input = hw_arena + k->input_offset;
  uint32_t state = seed * 2654435761u + 12345u;
  if (prepared_index == index && prepared_seed == seed) return;
  if (k->element_bytes == 4) {
    for (uint32_t i = 0; i + 4 <= k->input_bytes; i += 4) {
      float value;
      state = state * 1664525u + 1013904223u;
      value = (float)((int32_t)(state >> 24) - 128) * (1.0f / 128.0f);
      memcpy(input + i, &value, 4);
    }
  } else {
    for (uint32_t i = 0; i < k->input_bytes; ++i) {
      state = state * 1664525u + 1013904223u;
      input[i] = (uint8_t)(state >> 24);
    }
  }
  prepared_index = index;
  prepared_seed = seed;
}

static void agent_run(const hw_frame* f) {
  const int index = kernel_index(f, 16);
  uint16_t flags;
  uint32_t inner, samples, warmups;
  if (index < 0) return;
  flags = hw_get16(f->payload + 2);
  inner = hw_get32(f->payload + 4);
  samples = hw_get32(f->payload + 8);
  warmups = hw_get32(f->payload + 12);
  if (inner == 0 || samples == 0 || samples > HW_SAMPLE_LIMIT || (flags & ~(unsigned)HW_RUN_COLD) != 0) {
    refuse(f->sequence, HW_REFUSED_LIMIT, "inner runs and samples must be from 1 to the limit");
    return;
  }
  prepare(index, 1);
  hw_running = (uint16_t)index;
  for (uint32_t i = 0; i < warmups; ++i) hw_kernels[index].run(hw_arena);
  for (uint32_t s = 0; s < samples; ++s) {
    uint64_t start;
    if ((flags & HW_RUN_COLD) != 0) hw_evict_caches();
    hw_region_begin((uint32_t)index);
    start = hw_ticks();
    for (uint32_t i = 0; i < inner; ++i) hw_kernels[index].run(hw_arena);
    start = hw_ticks() - start;
    hw_region_end((uint32_t)index);
    hw_put64(payload + 4 + 8 * s, start);
  }
  prepared_index = -1; /* kernels may work in place */
  hw_put32(payload, samples);
  answer(HW_RUN | HW_REPLY, f->sequence, 4 + 8 * samples);
}

static void agent_check(const hw_frame* f) {
  const int index = kernel_index(f, 6);
  if (index < 0) return;
  prepared_index = -1;
  memset(hw_arena, 0, hw_kernels[index].arena_bytes);
  prepare(index, hw_get32(f->payload + 2));
  hw_running = (uint16_t)index;
  hw_checking = 1;
  hw_kernels[index].run(hw_arena);
  hw_checking = 0;
  prepared_index = -1;
  hw_put32(payload, hw_crc32(0, hw_arena + hw_kernels[index].output_offset, hw_kernels[index].output_bytes));
  answer(HW_CHECK | HW_REPLY, f->sequence, 4);
}

void hw_report_fault(void) { refuse(current_sequence, HW_REFUSED_FAULT, "the kernel faulted"); }

static int serve_frame(const hw_frame* f) {
  current_sequence = f->sequence;
  switch (f->type) {
    case HW_HELLO: agent_hello(f); return 1;
    case HW_KERNEL: agent_kernel(f); return 1;
    case HW_RUN: agent_run(f); return 1;
    case HW_CHECK: agent_check(f); return 1;
    case HW_PROBE: answer(HW_PROBE | HW_REPLY, f->sequence, hw_probe((char*)payload, sizeof payload)); return 1;
    case HW_BYE: answer(HW_BYE | HW_REPLY, f->sequence, 0); return 0;
    default: refuse(f->sequence, HW_REFUSED_TYPE, "unknown request type"); return 1;
  }
}

int hw_serve(void) {
  hw_parser parser;
  hw_frame frame;
  hw_parser_init(&parser, request_buffer, sizeof request_buffer);
  for (;;) {
    const int byte = hw_read_byte();
    if (byte < 0) return 0;
    switch (hw_parser_push(&parser, (uint8_t)byte, &frame)) {
      case HW_FRAME:
        if (!serve_frame(&frame)) return 0;
        break;
      case HW_BAD_VERSION: refuse(frame.sequence, HW_REFUSED_VERSION, "this agent speaks protocol version 1 only"); break;
      case HW_BAD_LENGTH: refuse(frame.sequence, HW_REFUSED_LENGTH, "the request is longer than any known one"); break;
      case HW_BAD_SUM: refuse(frame.sequence, HW_REFUSED_DAMAGED, "the request arrived damaged"); break;
      case HW_MORE: break;
    }
  }
}
