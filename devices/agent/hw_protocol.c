#include "hw_protocol.h"

uint16_t hw_get16(const uint8_t* p) { return (uint16_t)(p[0] | (unsigned)p[1] << 8); }
uint32_t hw_get32(const uint8_t* p) { return (uint32_t)hw_get16(p) | (uint32_t)hw_get16(p + 2) << 16; }
uint64_t hw_get64(const uint8_t* p) { return (uint64_t)hw_get32(p) | (uint64_t)hw_get32(p + 4) << 32; }
void hw_put16(uint8_t* p, uint16_t v) {
  p[0] = (uint8_t)(v & 0xFF);
  p[1] = (uint8_t)(v >> 8);
}
void hw_put32(uint8_t* p, uint32_t v) {
  hw_put16(p, (uint16_t)(v & 0xFFFF));
  hw_put16(p + 2, (uint16_t)(v >> 16));
}
void hw_put64(uint8_t* p, uint64_t v) {
  hw_put32(p, (uint32_t)(v & 0xFFFFFFFFu));
  hw_put32(p + 4, (uint32_t)(v >> 32));
}

uint32_t hw_crc32(uint32_t crc, const uint8_t* bytes, size_t count) {
  static const uint32_t table[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                     0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                     0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
  size_t i;
  crc = ~crc;
  for (i = 0; i < count; ++i) {
    crc = (crc >> 4) ^ table[(crc ^ bytes[i]) & 15u];
    crc = (crc >> 4) ^ table[(crc ^ ((unsigned)bytes[i] >> 4)) & 15u];
  }
  return ~crc;
}

void hw_parser_init(hw_parser* parser, uint8_t* buffer, uint32_t capacity) {
  parser->buffer = buffer;
  parser->capacity = capacity;
  parser->filled = 0;
  parser->dropped = 0;
}

static uint16_t header_check(const uint8_t* header) { return (uint16_t)(hw_crc32(0, header, 10) & 0xFFFFu); }

/* Forgets the first byte and moves on to the next place where a frame may begin. */
static void resynchronise(hw_parser* parser) {
  uint32_t from = 1;
  while (from < parser->filled &&
         (parser->buffer[from] != 'H' || (from + 1 < parser->filled && parser->buffer[from + 1] != 'W')))
    ++from;
  parser->dropped += from;
  for (uint32_t i = from; i < parser->filled; ++i) parser->buffer[i - from] = parser->buffer[i];
  parser->filled -= from;
}

hw_event hw_parser_push(hw_parser* parser, uint8_t byte, hw_frame* frame) {
  uint8_t* b = parser->buffer;
  b[parser->filled++] = byte;
  if (b[0] != 'H' || (parser->filled >= 2 && b[1] != 'W')) {
    resynchronise(parser);
    return HW_MORE;
  }
  if (parser->filled < HW_HEADER_BYTES) return HW_MORE;
  frame->version = b[2];
  frame->type = b[3];
  frame->sequence = hw_get16(b + 4);
  frame->length = hw_get32(b + 6);
  frame->payload = b + HW_HEADER_BYTES;
  if (parser->filled == HW_HEADER_BYTES) {
    hw_event bad = HW_MORE;
    if (hw_get16(b + 10) != header_check(b))
      bad = HW_BAD_SUM;
    else if (frame->version != HW_PROTOCOL_VERSION)
      bad = HW_BAD_VERSION;
    else if (frame->length > parser->capacity - HW_HEADER_BYTES - HW_TRAILER_BYTES)
      bad = HW_BAD_LENGTH;
    if (bad != HW_MORE) resynchronise(parser);
    return bad;
  }
  if (parser->filled < HW_HEADER_BYTES + frame->length + HW_TRAILER_BYTES) return HW_MORE;
  if (hw_get32(frame->payload + frame->length) != hw_crc32(0, b, HW_HEADER_BYTES + frame->length)) {
    parser->dropped += parser->filled;
    parser->filled = 0;
    return HW_BAD_SUM;
  }
  parser->filled = 0;
  return HW_FRAME;
}

uint32_t hw_encode(uint8_t* out, uint32_t capacity, uint8_t type, uint16_t sequence, const uint8_t* payload,
                   uint32_t length) {
  const uint32_t total = HW_HEADER_BYTES + length + HW_TRAILER_BYTES;
  if (total > capacity || total < length) return 0;
  out[0] = 'H';
  out[1] = 'W';
  out[2] = HW_PROTOCOL_VERSION;
  out[3] = type;
  hw_put16(out + 4, sequence);
  hw_put32(out + 6, length);
  hw_put16(out + 10, header_check(out));
  for (uint32_t i = 0; i < length; ++i) out[HW_HEADER_BYTES + i] = payload[i];
  hw_put32(out + HW_HEADER_BYTES + length, hw_crc32(0, out, HW_HEADER_BYTES + length));
  return total;
}
