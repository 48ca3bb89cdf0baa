/* QEMU TCG plugin: counts guest instructions between two marker functions, by class.
 *
 * Arguments: begin=ADDRESS,end=ADDRESS (hexadecimal addresses of the two markers), out=FILE, classes=on|off.
 * FILE gets one line per region, in order of execution: the total, then one count per class in the order
 * of the enumeration below. The marker instructions themselves are part of the count, as is the code between a marker's
 * first instruction and the next: an empty region is not zero. Instructions that an IT block skips count.
 *
 * The prototypes below are our own statement of the plugin interface, version 1 (QEMU 4.2 and later).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct plugin_info {
  const char *target_name;
  struct {
    int min;
    int current;
  } version;
  bool system_emulation;
};

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern char *qemu_plugin_insn_disas(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { kNoRegisters = 0, kAddU64 = 0 };
enum { kLoad, kLoadPair, kStore, kMultiple, kMac, kMul, kPack, kBranch, kVector, kOther, kClasses };

static uint64_t total, counts[kClasses];
static uint64_t total_at_begin, counts_at_begin[kClasses];
static uint64_t begin_address, end_address;
static bool with_classes;
static FILE *out;

static bool starts(const char *word, const char *const *prefixes) {
  for (; *prefixes; ++prefixes)
    if (strncmp(word, *prefixes, strlen(*prefixes)) == 0) return true;
  return false;
}

/* The class of an instruction by the first word of its disassembly, for Thumb-2 and AArch64. */
static int classify(const char *text) {
  static const char *const multiple[] = {"ldm", "stm", "push", "pop", NULL};
  static const char *const pairs[] = {"ldrd", "ldp", NULL};
  static const char *const loads[] = {"ld", NULL};
  static const char *const stores[] = {"st", NULL};
  static const char *const macs[] = {"smla", "smml", "mla", "mls", "umla", "umaal", "smls", "madd", "msub",
                                     "smad", "sdot", "udot", "fmla", "fmadd", NULL};
  static const char *const muls[] = {"mul", "smul", "umul", "smmul", "smua", "smus", "fmul", NULL};
  static const char *const packs[] = {"sxt", "uxt", "pkh", "ssat", "usat", "sbfx", "ubfx", NULL};
  static const char *const branches[] = {"cbz", "cbnz", "tbz", "tbnz", "tbb", "tbh", "bl", "bx", "b.", "ret", NULL};
  static const char *const conditional[] = {"beq", "bne", "bhs", "blo", "bmi", "bpl", "bvs", "bvc", "bhi", "bls",
                                            "bge", "blt", "bgt", "ble", "bcs", "bcc", NULL};
  while (*text == ' ') ++text;
  if (starts(text, multiple)) return kMultiple;
  if (starts(text, macs)) return kMac;
  if (starts(text, pairs)) return kLoadPair;
  if (starts(text, loads)) return kLoad;
  if (starts(text, stores)) return kStore;
  if (starts(text, muls)) return kMul;
  if (starts(text, packs)) return kPack;
  if (*text == 'v') return kVector;
  if (starts(text, branches) || starts(text, conditional) || (text[0] == 'b' && (text[1] == ' ' || text[1] == '\t')))
    return kBranch;
  return kOther;
}

static void at_begin(unsigned cpu, void *unused) {
  (void)cpu;
  (void)unused;
  total_at_begin = total;
  memcpy(counts_at_begin, counts, sizeof counts);
}

static void at_end(unsigned cpu, void *unused) {
  (void)cpu;
  (void)unused;
  fprintf(out, "%" PRIu64, total - total_at_begin);
  for (int i = 0; i < kClasses; ++i) fprintf(out, " %" PRIu64, counts[i] - counts_at_begin[i]);
  fputc('\n', out);
}

static void translate(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(block);
  for (size_t i = 0; i < n; ++i) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    if (address == begin_address) qemu_plugin_register_vcpu_insn_exec_cb(insn, at_begin, kNoRegisters, NULL);
    if (address == end_address) qemu_plugin_register_vcpu_insn_exec_cb(insn, at_end, kNoRegisters, NULL);
    qemu_plugin_register_vcpu_insn_exec_inline(insn, kAddU64, &total, 1);
    if (!with_classes) continue;
    char *text = qemu_plugin_insn_disas(insn);
    qemu_plugin_register_vcpu_insn_exec_inline(insn, kAddU64, &counts[text ? classify(text) : kOther], 1);
    free(text);
  }
}

static void at_exit(plugin_id id, void *unused) {
  (void)id;
  (void)unused;
  fclose(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc,
                                                               char **argv) {
  (void)info;
  const char *path = NULL;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "begin=", 6) == 0) begin_address = strtoull(argv[i] + 6, NULL, 16);
    if (strncmp(argv[i], "end=", 4) == 0) end_address = strtoull(argv[i] + 4, NULL, 16);
    if (strncmp(argv[i], "out=", 4) == 0) path = argv[i] + 4;
    if (strcmp(argv[i], "classes=on") == 0) with_classes = true;
  }
  out = path ? fopen(path, "w") : NULL;
  if (!out) {
    fprintf(stderr, "insn_plugin: needs out=FILE that can be written\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  qemu_plugin_register_atexit_cb(id, at_exit, NULL);
  return 0;
}
