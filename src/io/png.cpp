#include "io/png.hpp"

#include <zlib.h>

#include <string_view>

#include "base/assert.hpp"
#include "base/byte_order.hpp"

namespace vellum {
namespace {

void put(std::vector<u8>& to, u32 value) {
  to.resize(to.size() + sizeof value);
  store_be32(&to[to.size() - sizeof value], value);
}

void put_chunk(std::vector<u8>& to, std::string_view type, std::span<const u8> data) {
  put(to, static_cast<u32>(data.size()));
  const std::size_t begin = to.size();
  to.insert(to.end(), type.begin(), type.end());
  to.insert(to.end(), data.begin(), data.end());
  put(to, static_cast<u32>(::crc32(0, &to[begin], static_cast<uInt>(to.size() - begin))));
}

}  // namespace

std::vector<u8> png_of(unsigned width, unsigned height, std::span<const u8> rgb) {
  const std::size_t line = std::size_t{width} * 3;
  VELLUM_ASSERT(width != 0 && height != 0 && rgb.size() == line * height, "{} x {}, {} bytes", width, height,
                rgb.size());
  // Each line with its filter before it: none.
  std::vector<u8> lines;
  lines.reserve((line + 1) * height);
  for (unsigned y = 0; y < height; ++y) {
    const auto from = rgb.subspan(y * line, line);
    lines.push_back(0);
    lines.insert(lines.end(), from.begin(), from.end());
  }
  uLongf size = ::compressBound(lines.size());
  std::vector<u8> packed(size);
  const int status = ::compress2(packed.data(), &size, lines.data(), lines.size(), Z_BEST_SPEED);
  VELLUM_ASSERT(status == Z_OK, "zlib says {}", status);  // the room is what it asked for

  std::vector<u8> png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  std::vector<u8> header;
  put(header, width);
  put(header, height);
  header.insert(header.end(),
                {8, 2, 0, 0, 0});  // 8 bits a sample, RGB; deflate, filters by line, no interlace
  put_chunk(png, "IHDR", header);
  put_chunk(png, "IDAT", std::span(packed).first(size));
  put_chunk(png, "IEND", {});
  return png;
}

}  // namespace vellum
