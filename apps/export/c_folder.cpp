#include "apps/export/c_folder.h"

#include "devices/emulator/board.h"
#include "devices/emulator/embedded_sources.h"

namespace nas::apps {
namespace {

using devices::emulator::Board;
using devices::emulator::emulator_file;

std::string c_array(const std::string& name, const std::vector<std::vector<std::int8_t>>& rows,
                    const char* width) {
  std::string text = "static const int8_t " + name + "[NET_VECTORS][" + width + "] = {\n";
  for (const auto& row : rows) {
    std::string line = "  {";
    for (const std::int8_t v : row) line += std::to_string(v) + ",";
    line.back() = '}';
    text += line + ",\n";
  }
  return text + "};\n";
}

Result<std::string> test_vectors(const Subject& s) {
  std::vector<std::vector<std::int8_t>> inputs, outputs;
  for (const Image& image : s.vectors.images) {
    inputs.push_back(on_grid(image, s.quantized->tensors[0]));
    NAS_TRY(expected, devices::codegen::run_reference(*s.quantized, inputs.back()));
    outputs.push_back(std::move(expected));
  }
  return "/* Inputs and the outputs that the integer reference of hwnas gives for them. */\n#define "
         "NET_VECTORS " +
         std::to_string(inputs.size()) + "\n" + c_array("net_vector_in", inputs, "NET_INPUT_BYTES") +
         c_array("net_vector_out", outputs, "NET_OUTPUTS");
}

constexpr const char* kTestMain =
    R"(/* Runs the stored vectors: 0 when every output is equal, byte for byte. */
#include <string.h>

#include "net.h"
#include "test_vectors.h"

#if defined(__GNUC__)
static int8_t arena[NET_ARENA_BYTES] __attribute__((aligned(16)));
#else
static int8_t arena[NET_ARENA_BYTES];
#endif

int net_test(void);
int net_test(void) {
  int i, wrong = 0;
  for (i = 0; i < NET_VECTORS; ++i) {
    memcpy(net_input(arena), net_vector_in[i], NET_INPUT_BYTES);
    net_run(arena);
    if (memcmp(net_output(arena), net_vector_out[i], NET_OUTPUTS) != 0) ++wrong;
  }
  return wrong;
}

#ifdef NET_BOARD
#include "nas_board.h"
int nas_main(void) {
  int wrong;
  memcpy(net_input(arena), net_vector_in[0], NET_INPUT_BYTES);
#ifndef NET_NO_REGION
  nas_region_begin();
#endif
  net_run(arena);
#ifndef NET_NO_REGION
  nas_region_end();
#endif
  wrong = net_test();
  nas_print_number("vectors", NET_VECTORS);
  nas_print_number("of these differ", (uint32_t)wrong);
  return wrong;
}
#else
#include <stdio.h>
int main(void) {
  const int wrong = net_test();
  printf("%d of %d vectors equal\n", NET_VECTORS - wrong, NET_VECTORS);
  return wrong == 0 ? 0 : 1;
}
#endif
)";

constexpr const char* kMakefile = R"(# make test: the stored vectors on this machine; needs a C compiler.
# make qemu: the same on an emulated Cortex-M4 and Cortex-M7; needs arm-none-eabi-gcc and qemu-system-arm.
# make netduinoplus2: on an STM32F405 with its real 1 MB of flash and 192 KB of RAM; the linker says by how much a
#   network is too large for it.
# make aarch64: needs aarch64-linux-gnu-gcc and qemu-aarch64.
# make BOARD_SIZES="-DNET_MAX_ARENA_BYTES=65536 -DNET_MAX_FLASH_BYTES=524288" test: refuses a network beyond them.
CC ?= cc
CFLAGS ?= -O2 -std=c99 -Wall -Wextra -pedantic
ARM_CC ?= arm-none-eabi-gcc
QEMU ?= qemu-system-arm
FILES = net.c test_main.c
HEADERS = net.h test_vectors.h
BOARD = -std=c99 -O2 -mthumb -Iboard -I. -DNET_BOARD -ffunction-sections -fdata-sections -nostartfiles \
  --specs=nano.specs --specs=nosys.specs -Wl,--gc-sections -Wl,-u,nas_region_begin -Wl,-u,nas_region_end \
  -Wl,--no-warn-rwx-segments

test: net_test
	./net_test

net_test: $(FILES) $(HEADERS)
	$(CC) $(CFLAGS) $(BOARD_SIZES) $(FILES) -o $@

qemu: mps2-an386 mps2-an500

aarch64: $(FILES) $(HEADERS)
	aarch64-linux-gnu-gcc -static $(AARCH64_FLAGS) $(BOARD_SIZES) $(FILES) -o net_test_aarch64
	qemu-aarch64 ./net_test_aarch64

clean:
	rm -f net_test net_test_aarch64 *.elf
)";

std::string board_rules(const Board& board) {
  std::string flags;
  for (const std::string& flag : board.cpu_flags) flags += " " + flag;
  return "\n# " + board.core + "\n" + board.name + ": " + board.name + ".elf\n\t$(QEMU) -M " + board.name +
         " -display none -serial null -monitor none -semihosting-config enable=on,target=native -kernel "
         "$<\n" +
         board.name + ".elf: $(FILES) $(HEADERS) board/start.c board/nas_board.h board/" + board.name +
         ".ld\n\t$(ARM_CC) $(BOARD)" + flags + " $(BOARD_SIZES) -T board/" + board.name +
         ".ld board/start.c $(FILES) -o $@\n";
}

}  // namespace

Result<ExportFiles> c_files(const Subject& s, const devices::codegen::GeneratedNetwork& made,
                            const std::vector<std::string>& aarch64_flags) {
  NAS_TRY(vectors, test_vectors(s));
  ExportFiles files{{"c/net.h", made.header},
                    {"c/net.c", made.source},
                    {"c/test_vectors.h", vectors},
                    {"c/test_main.c", kTestMain},
                    {"c/board/start.c", emulator_file("cortex_m_start.c")},
                    {"c/board/nas_board.h", emulator_file("nas_board.h")}};
  std::string flags;
  for (const std::string& flag : aarch64_flags) flags += " " + flag;
  std::string makefile = kMakefile + ("\nAARCH64_FLAGS ?=" + flags + "\n"),
              phony = "\n.PHONY: test qemu aarch64 clean";
  for (const char* name : {"mps2-an386", "mps2-an500", "netduinoplus2"}) {
    NAS_TRY(board, devices::emulator::find_board(name));
    makefile += board_rules(board);
    phony += " " + board.name;
    files["c/board/" + board.name + ".ld"] = devices::emulator::linker_script(board.flash, board.ram);
  }
  files["c/Makefile"] = makefile + phony + "\n";
  return files;
}

}  // namespace nas::apps
