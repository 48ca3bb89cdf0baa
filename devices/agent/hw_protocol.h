/* The byte protocol between hwnas and the program that runs kernels on a device (docs/devices.md).
 * One frame: 'H' 'W' version type | sequence u16 | payload length u32 | check u16 of these ten bytes |
 * payload | CRC-32 of header and payload. All numbers little-endian. C99, also compiled into hwnas itself. */
#ifndef HW_PROTOCOL_H
#define HW_PROTOCOL_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  HW_PROTOCOL_VERSION = 1,
  HW_HEADER_BYTES = 12,
  HW_TRAILER_BYTES = 4,
  /* What the agent accepts from the host, and the most that it ever answers with. */
  HW_REQUEST_LIMIT = 64,
  HW_REPLY_LIMIT = 8192,
  HW_SAMPLE_LIMIT = 1000 /* samples of one answer: 8 bytes each and a word before */
};

enum {
  HW_HELLO = 1,  /* lowest and highest version u8 u8 -> hw_agent.c: agent_hello */
  HW_KERNEL = 2, /* index u16 -> arena u32, input u32, output u32, signature text */
  HW_RUN = 3,    /* index u16, flags u16, inner u32, samples u32, warm-ups u32 -> count u32, ticks u64 each */
  HW_CHECK = 4,  /* index u16, seed u32 -> CRC-32 of the output */
  HW_PROBE = 5,  /* -> text, "key value" lines */
  HW_BYE = 6,
  HW_REPLY = 0x80, /* added to the request's type */
  HW_REFUSED = 0xFF /* code u16, text */
};

enum { HW_RUN_COLD = 1 }; /* evict the caches before every sample */

enum {
  HW_REFUSED_VERSION = 1,
  HW_REFUSED_TYPE = 2,
  HW_REFUSED_LENGTH = 3,
  HW_REFUSED_INDEX = 4,
  HW_REFUSED_LIMIT = 5,
  HW_REFUSED_MEMORY = 6,
  HW_REFUSED_DAMAGED = 7,
  HW_REFUSED_FAULT = 8 /* a bare-metal kernel faulted; the agent starts anew */
};

typedef struct {
  uint8_t version;
  uint8_t type;
  uint16_t sequence;
  uint32_t length;
  const uint8_t* payload; /* inside the parser's buffer, until the next byte is pushed */
} hw_frame;

typedef enum {
  HW_MORE,        /* nothing complete yet */
  HW_FRAME,       /* a good frame */
  HW_BAD_VERSION, /* a sound header of another protocol version; frame.version names it */
  HW_BAD_LENGTH,  /* a sound header that announces more than the buffer holds */
  HW_BAD_SUM      /* header or payload damaged on the way */
} hw_event;

/* Finds frames in a stream of bytes. Bytes outside frames are counted, never interpreted. */
typedef struct {
  uint8_t* buffer;
  uint32_t capacity; /* HW_HEADER_BYTES + largest payload + HW_TRAILER_BYTES */
  uint32_t filled;
  uint32_t dropped;  /* bytes that belonged to no frame */
} hw_parser;

void hw_parser_init(hw_parser* parser, uint8_t* buffer, uint32_t capacity);
hw_event hw_parser_push(hw_parser* parser, uint8_t byte, hw_frame* frame);

/* Writes a frame; returns its size, 0 when `capacity` is too small. */
uint32_t hw_encode(uint8_t* out, uint32_t capacity, uint8_t type, uint16_t sequence, const uint8_t* payload,
                   uint32_t length);

/* CRC-32 (IEEE 802.3, reflected), continued from `crc`; start with 0. */
uint32_t hw_crc32(uint32_t crc, const uint8_t* bytes, size_t count);

uint16_t hw_get16(const uint8_t* p);
uint32_t hw_get32(const uint8_t* p);
uint64_t hw_get64(const uint8_t* p);
void hw_put16(uint8_t* p, uint16_t v);
void hw_put32(uint8_t* p, uint32_t v);
void hw_put64(uint8_t* p, uint64_t v);

#ifdef __cplusplus
}
#endif
#endif
