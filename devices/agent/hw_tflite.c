/* The TFLite C library (tensorflowlite_c) with its built-in kernels, no delegate. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw_agent.h"
#include "hw_engine.h"

typedef struct {
  void* interpreter;
  void *input, *output;
  hw_model model;
  int fed;
} loaded_model;

static void* library;

static void give_up(const char* what, const char* why) {
  fprintf(stderr, "TFLite: %s: %s\n", what, why);
  exit(70);
}

/* A function of the library by name; its type is the caller's business. */
static void find(const char* name, void* function) {
  void* found;
  if (library == NULL) library = dlopen(HW_ENGINE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) give_up("cannot load the library", dlerror());
  found = dlsym(library, name);
  if (found == NULL) give_up("not its C library", name);
  memcpy(function, &found, sizeof found);
}

static int (*copy_in)(void*, const void*, size_t);
static int (*copy_out)(const void*, void*, size_t);
static int (*invoke)(void*);

static void* interpreter_of(const hw_model* model) {
  void* (*create_model)(const void*, size_t);
  void* (*create_options)(void);
  void (*set_threads)(void*, int32_t);
  void* (*create)(const void*, const void*);
  int (*allocate)(void*);
  void *made, *options, *interpreter;
  find("TfLiteModelCreate", &create_model);
  find("TfLiteInterpreterOptionsCreate", &create_options);
  find("TfLiteInterpreterOptionsSetNumThreads", &set_threads);
  find("TfLiteInterpreterCreate", &create);
  find("TfLiteInterpreterAllocateTensors", &allocate);
  made = create_model(model->bytes, model->count);
  if (made == NULL) give_up("model", "refused");
  options = create_options();
  set_threads(options, hw_threads);
  interpreter = create(made, options);
  if (interpreter == NULL || allocate(interpreter) != 0) give_up("model", "cannot be prepared");
  return interpreter;
}

void* hw_engine_load(const hw_model* model) {
  loaded_model* m = calloc(1, sizeof *m);
  void* (*input)(const void*, int32_t);
  const void* (*output)(const void*, int32_t);
  size_t (*bytes)(const void*);
  if (m == NULL) give_up("memory", "full");
  m->model = *model;
  m->interpreter = interpreter_of(model);
  find("TfLiteInterpreterGetInputTensor", &input);
  find("TfLiteInterpreterGetOutputTensor", &output);
  find("TfLiteTensorByteSize", &bytes);
  find("TfLiteTensorCopyFromBuffer", &copy_in);
  find("TfLiteTensorCopyToBuffer", &copy_out);
  find("TfLiteInterpreterInvoke", &invoke);
  m->input = input(m->interpreter, 0);
  m->output = (void*)(uintptr_t)output(m->interpreter, 0);
  if (bytes(m->input) != model->input_bytes || bytes(m->output) != model->output_bytes)
    give_up("tensor", "its size is not the model's");
  return m;
}

void hw_engine_run(void* loaded) {
  loaded_model* m = loaded;
  if (!m->fed || hw_checking) m->fed = copy_in(m->input, m->model.input, m->model.input_bytes) == 0;
  if (!m->fed || invoke(m->interpreter) != 0) give_up("run", "failed");
  if (hw_checking && copy_out(m->output, m->model.output, m->model.output_bytes) != 0) give_up("output", "refused");
}

const char* hw_engine_version(void) {
  static char text[64];
  const char* (*version)(void);
  find("TfLiteVersion", &version);
  snprintf(text, sizeof text, "TFLite %s", version());
  return text;
}
