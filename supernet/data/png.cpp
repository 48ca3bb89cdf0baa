#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "supernet/data/codecs.h"

namespace nas::data {
namespace {

// One PNG being read. Functions that call setjmp hold nothing with a destructor: libpng leaves them by
// longjmp.
struct PngJob {
  std::span<const std::uint8_t> bytes;
  std::size_t at = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[160] = "out of memory";
  ~PngJob() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* job = static_cast<PngJob*>(png_get_error_ptr(png));
  std::snprintf(job->message, sizeof job->message, "%s", text);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep out, std::size_t count) {
  auto* job = static_cast<PngJob*>(png_get_io_ptr(png));
  if (count > job->bytes.size() - job->at) png_error(png, "the file ends early");
  std::memcpy(out, job->bytes.data() + job->at, count);
  job->at += count;
}

bool read_header(PngJob& job) {
  job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, &on_error, &on_warning);
  if (job.png == nullptr) return false;
  job.info = png_create_info_struct(job.png);
  if (job.info == nullptr) return false;
  if (setjmp(png_jmpbuf(job.png)) != 0) return false;
  png_set_read_fn(job.png, &job, &read_bytes);
  png_set_user_limits(job.png, 0x7FFFFFFF, 0x7FFFFFFF);  // check_size judges, with a better message
  png_set_chunk_cache_max(job.png, 128);
  png_set_chunk_malloc_max(job.png, 8'000'000);
  png_read_info(job.png, job.info);
  return true;
}

// Asks for 8-bit RGB or RGBA rows.
bool set_layout(PngJob& job) {
  if (setjmp(png_jmpbuf(job.png)) != 0) return false;
  png_set_expand(job.png);
  png_set_scale_16(job.png);
  png_set_gray_to_rgb(job.png);
  png_set_interlace_handling(job.png);
  png_read_update_info(job.png, job.info);
  return true;
}

bool read_rows(PngJob& job, png_bytepp rows) {
  if (setjmp(png_jmpbuf(job.png)) != 0) return false;
  png_read_image(job.png, rows);
  png_read_end(job.png, nullptr);
  return true;
}

Error png_failure(const PngJob& job) { return usage_error(std::string("broken PNG: ") + job.message); }

Result<ImageSize> checked_size(const PngJob& job) {
  return check_size(png_get_image_height(job.png, job.info), png_get_image_width(job.png, job.info));
}

// Deflate shrinks at most 1032-fold: a smaller file cannot hold the picture it declares.
Result<void> check_plausible(const PngJob& job, ImageSize size) {
  const std::uint64_t raw =
      std::uint64_t{png_get_rowbytes(job.png, job.info)} * static_cast<std::uint64_t>(size.height);
  if (raw / 1032 > job.bytes.size())
    return usage_error("broken PNG: " + std::to_string(job.bytes.size()) + " bytes cannot hold " +
                       std::to_string(size.width) + " x " + std::to_string(size.height) + " pixels");
  return {};
}

std::vector<std::uint8_t> over_white(const std::vector<std::uint8_t>& rgba) {
  std::vector<std::uint8_t> rgb(rgba.size() / 4 * 3);
  for (std::size_t p = 0; p < rgba.size() / 4; ++p) {
    const unsigned alpha = rgba[4 * p + 3];
    for (std::size_t c = 0; c < 3; ++c)
      rgb[3 * p + c] = static_cast<std::uint8_t>((rgba[4 * p + c] * alpha + 255 * (255 - alpha) + 127) / 255);
  }
  return rgb;
}

}  // namespace

Result<ImageSize> png_size(std::span<const std::uint8_t> bytes) {
  PngJob job{bytes};
  if (!read_header(job)) return png_failure(job);
  return checked_size(job);
}

Result<Image> decode_png(std::span<const std::uint8_t> bytes) {
  PngJob job{bytes};
  if (!read_header(job)) return png_failure(job);
  NAS_TRY(size, checked_size(job));
  NAS_CHECK(check_plausible(job, size));
  if (!set_layout(job)) return png_failure(job);
  const std::size_t stride = png_get_rowbytes(job.png, job.info);
  std::vector<std::uint8_t> pixels(stride * static_cast<std::size_t>(size.height));
  std::vector<png_bytep> rows(static_cast<std::size_t>(size.height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = pixels.data() + y * stride;
  if (!read_rows(job, rows.data())) return png_failure(job);
  const bool alpha = stride == 4 * static_cast<std::size_t>(size.width);
  return Image{size.height, size.width, alpha ? over_white(pixels) : std::move(pixels)};
}

}  // namespace nas::data
