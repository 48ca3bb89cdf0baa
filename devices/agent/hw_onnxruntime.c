/* ONNX Runtime through its C interface, whose functions stand in a table of fixed order that only ever grows. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw_agent.h"
#include "hw_engine.h"

enum { /* places in the table */
  ERROR_MESSAGE = 2, CREATE_ENV = 3, CREATE_SESSION = 8, RUN = 9, CREATE_OPTIONS = 10, SET_OPTIMIZATION = 23,
  SET_THREADS = 24, INPUT_TYPE = 33, OUTPUT_TYPE = 34, INPUT_NAME = 36, OUTPUT_NAME = 37, CREATE_TENSOR = 49,
  TENSOR_INFO = 55, ELEMENT_TYPE = 60, RANK = 61, DIMENSIONS = 62, CPU_MEMORY = 69, ALLOCATOR = 78
};
enum { API_VERSION = 10, WARNINGS = 2, ALL_FUSIONS = 99, ARENA_ALLOCATOR = 1, DEFAULT_MEMORY = 0, MAX_RANK = 8 };

typedef void* status; /* NULL: fine */
typedef void (*any_function)(void);
struct api_base {
  const any_function* (*get)(uint32_t version);
  const char* (*version)(void);
};

typedef struct {
  void* session;
  char *input_name, *output_name;
  void *input, *output;
} loaded_model;

static const any_function* api;
static const char* version;
static void *environment, *options, *memory, *allocator;

static void give_up(const char* what, const char* why) {
  fprintf(stderr, "ONNX Runtime: %s: %s\n", what, why);
  exit(70);
}

static void check(status failed, const char* what) {
  if (failed != NULL) give_up(what, ((const char* (*)(const void*))api[ERROR_MESSAGE])(failed));
}

static void start(void) {
  void* library = dlopen(HW_ENGINE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  const struct api_base* (*base)(void);
  if (library == NULL) give_up("cannot load the library", dlerror());
  *(void**)&base = dlsym(library, "OrtGetApiBase");
  if (base == NULL) give_up("not its library", HW_ENGINE_LIBRARY);
  version = base()->version();
  api = base()->get(API_VERSION);
  if (api == NULL) give_up("too old", version);
  check(((status(*)(int, const char*, void**))api[CREATE_ENV])(WARNINGS, "hwnas", &environment), "environment");
  check(((status(*)(void**))api[CREATE_OPTIONS])(&options), "options");
  check(((status(*)(void*, int))api[SET_OPTIMIZATION])(options, ALL_FUSIONS), "fusions");
  check(((status(*)(void*, int))api[SET_THREADS])(options, hw_threads), "threads");
  check(((status(*)(int, int, void**))api[CPU_MEMORY])(ARENA_ALLOCATOR, DEFAULT_MEMORY, &memory), "memory");
  check(((status(*)(void**))api[ALLOCATOR])(&allocator), "allocator");
}

/* The tensor over our memory that input or output 0 of the session wants; batch 1. */
static void* tensor_for(void* session, int type_function, uint8_t* data, uint32_t bytes) {
  void *type = NULL, *tensor = NULL;
  const void* info = NULL;
  size_t rank = 0, elements = 1;
  int element = 0;
  int64_t shape[MAX_RANK];
  check(((status(*)(const void*, size_t, void**))api[type_function])(session, 0, &type), "tensor type");
  check(((status(*)(const void*, const void**))api[TENSOR_INFO])(type, &info), "tensor");
  check(((status(*)(const void*, int*))api[ELEMENT_TYPE])(info, &element), "element type");
  check(((status(*)(const void*, size_t*))api[RANK])(info, &rank), "rank");
  if (rank > MAX_RANK) give_up("tensor", "more than 8 dimensions");
  check(((status(*)(const void*, int64_t*, size_t))api[DIMENSIONS])(info, shape, rank), "dimensions");
  for (size_t i = 0; i < rank; ++i) {
    if (shape[i] < 1) shape[i] = 1;
    elements *= (size_t)shape[i];
  }
  if (bytes % elements != 0) give_up("tensor", "its size is not the model's");
  check(((status(*)(const void*, void*, size_t, const int64_t*, size_t, int, void**))api[CREATE_TENSOR])(
            memory, data, bytes, shape, rank, element, &tensor),
        "tensor");
  return tensor;
}

void* hw_engine_load(const hw_model* model) {
  loaded_model* m = calloc(1, sizeof *m);
  if (m == NULL) give_up("memory", "full");
  if (api == NULL) start();
  check(((status(*)(const void*, const void*, size_t, const void*, void**))api[CREATE_SESSION])(
            environment, model->bytes, model->count, options, &m->session),
        "model");
  check(((status(*)(const void*, size_t, void*, char**))api[INPUT_NAME])(m->session, 0, allocator, &m->input_name),
        "input");
  check(((status(*)(const void*, size_t, void*, char**))api[OUTPUT_NAME])(m->session, 0, allocator, &m->output_name),
        "output");
  m->input = tensor_for(m->session, INPUT_TYPE, model->input, model->input_bytes);
  m->output = tensor_for(m->session, OUTPUT_TYPE, model->output, model->output_bytes);
  return m;
}

void hw_engine_run(void* loaded) {
  loaded_model* m = loaded;
  const char* const inputs[] = {m->input_name};
  const char* const outputs[] = {m->output_name};
  const void* const values[] = {m->input};
  check(((status(*)(void*, const void*, const char* const*, const void* const*, size_t, const char* const*, size_t,
                    void**))api[RUN])(m->session, NULL, inputs, values, 1, outputs, 1, &m->output),
        "run");
}

const char* hw_engine_version(void) {
  static char text[64];
  if (api == NULL) start();
  snprintf(text, sizeof text, "ONNX Runtime %s", version);
  return text;
}
