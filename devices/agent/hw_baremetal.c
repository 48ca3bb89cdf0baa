/* The agent on an STM32 board: reset code, one UART and SysTick as the clock. Which UART and pins comes as macros
 * (devices/serial_board.cpp); the clock is the internal oscillator that runs after reset, the caches stay as reset
 * leaves them (off). */
#include "hw_agent.h"
#include "hw_protocol.h"

#define REGISTER(address) (*(volatile uint32_t*)(address))

#if HW_UART_GENERATION == 1
#define UART_BAUD REGISTER(HW_UART_BASE + 0x08)
#define UART_CONTROL REGISTER(HW_UART_BASE + 0x0C)
#define UART_STATUS REGISTER(HW_UART_BASE + 0x00)
#define UART_INPUT REGISTER(HW_UART_BASE + 0x04)
#define UART_OUTPUT REGISTER(HW_UART_BASE + 0x04)
#define UART_ON ((1u << 13) | (1u << 3) | (1u << 2))
#else
#define UART_BAUD REGISTER(HW_UART_BASE + 0x0C)
#define UART_CONTROL REGISTER(HW_UART_BASE + 0x00)
#define UART_STATUS REGISTER(HW_UART_BASE + 0x1C)
#define UART_INPUT REGISTER(HW_UART_BASE + 0x24)
#define UART_OUTPUT REGISTER(HW_UART_BASE + 0x28)
#define UART_CLEAR REGISTER(HW_UART_BASE + 0x20)
#define UART_ON ((1u << 0) | (1u << 3) | (1u << 2))
#endif

#define SYST_CONTROL REGISTER(0xE000E010u)
#define SYST_RELOAD REGISTER(0xE000E014u)
#define SYST_VALUE REGISTER(0xE000E018u)

extern uint32_t nas_data_load[], nas_data_begin[], nas_data_end[], nas_bss_begin[], nas_bss_end[], nas_stack_top[];

static volatile uint32_t wraps;

int hw_read_byte(void) {
  while ((UART_STATUS & (1u << 5)) == 0) {
#ifdef UART_CLEAR
    if ((UART_STATUS & (1u << 3)) != 0) UART_CLEAR = 1u << 3; /* an overrun would stop the receiver */
#endif
  }
  return (int)(UART_INPUT & 0xFFu);
}

void hw_write(const uint8_t* bytes, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    while ((UART_STATUS & (1u << 7)) == 0) continue;
    UART_OUTPUT = bytes[i];
  }
}

/* SysTick counts 24 bits down; its interrupt counts the wraps. */
uint64_t hw_ticks(void) {
  uint32_t high, value;
  do {
    high = wraps;
    value = SYST_VALUE;
  } while (high != wraps);
  return ((uint64_t)high << 24) + (0xFFFFFFu - value);
}

uint64_t hw_tick_hz(void) { return HW_CLOCK_HZ; }
void hw_evict_caches(void) {}
const char* hw_platform(void) { return HW_PLATFORM; }

uint32_t hw_probe(char* text, uint32_t capacity) {
  static const char kText[] = "clock internal oscillator\nfrequency_khz " HW_CLOCK_KHZ "\ncaches off\n";
  uint32_t n = 0;
  for (; kText[n] != 0 && n < capacity; ++n) text[n] = kText[n];
  return n;
}

static void set_pin(uint32_t pin) {
  const uint32_t half = HW_GPIO_BASE + 0x20 + 4 * (pin / 8), shift = 4 * (pin % 8);
  REGISTER(HW_GPIO_BASE) = (REGISTER(HW_GPIO_BASE) & ~(3u << (2 * pin))) | (2u << (2 * pin)); /* alternate */
  REGISTER(half) = (REGISTER(half) & ~(15u << shift)) | (7u << shift);                        /* AF7 */
}

static void start_devices(void) {
  REGISTER(HW_GPIO_CLOCK) |= HW_GPIO_CLOCK_BIT;
  REGISTER(HW_UART_CLOCK) |= HW_UART_CLOCK_BIT;
  (void)REGISTER(HW_UART_CLOCK); /* the clock runs two cycles later */
  set_pin(HW_TX_PIN);
  set_pin(HW_TX_PIN + 1);
  UART_BAUD = (HW_CLOCK_HZ + HW_BAUD / 2) / HW_BAUD;
  UART_CONTROL = UART_ON;
  SYST_RELOAD = 0xFFFFFFu;
  SYST_VALUE = 0;
  SYST_CONTROL = 7; /* core clock, interrupt, on */
}

static void tick(void) { ++wraps; }

/* Tells the host and starts anew. */
__attribute__((noreturn)) static void fault(void) {
  hw_report_fault();
  for (volatile uint32_t i = 0; i < 20000; ++i) continue; /* the last byte leaves */
  REGISTER(0xE000ED0Cu) = 0x05FA0004u;                    /* AIRCR: reset */
  for (;;) continue;
}

__attribute__((noreturn)) void nas_reset(void) {
  const uint32_t* from = nas_data_load;
  REGISTER(0xE000ED88u) |= 0xFu << 20; /* floating point on */
  __asm__ volatile("dsb\n\tisb");
  for (uint32_t* to = nas_data_begin; to < nas_data_end;) *to++ = *from++;
  for (uint32_t* to = nas_bss_begin; to < nas_bss_end;) *to++ = 0;
  start_devices();
  for (;;) hw_serve(); /* after a farewell the next host may come */
}

union vector {
  void* stack;
  void (*handler)(void);
};

__attribute__((section(".vectors"), used)) static const union vector vectors[16] = {
    {.stack = nas_stack_top}, {.handler = nas_reset}, {.handler = fault}, {.handler = fault},
    {.handler = fault},       {.handler = fault},     {.handler = fault}, {.handler = fault},
    {.stack = 0},             {.stack = 0},           {.stack = 0},       {.handler = fault},
    {.handler = fault},       {.stack = 0},           {.handler = fault}, {.handler = tick}};
