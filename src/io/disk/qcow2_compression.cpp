#include "io/disk/qcow2_compression.hpp"

#include <zlib.h>
#include <zstd.h>

namespace vellum {
namespace {

bool inflate_cluster(std::span<const u8> compressed, std::span<u8> cluster) {
  z_stream stream{};
  if (::inflateInit2(&stream, -12) != Z_OK) return false;
  // SAFETY: zlib does not write to its input.
  stream.next_in = const_cast<u8*>(compressed.data());
  stream.avail_in = static_cast<unsigned>(compressed.size());
  stream.next_out = cluster.data();
  stream.avail_out = static_cast<unsigned>(cluster.size());
  const int result = ::inflate(&stream, Z_FINISH);
  const bool filled =
      stream.avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK);
  ::inflateEnd(&stream);
  return filled;
}

bool unpack_zstd(std::span<const u8> compressed, std::span<u8> cluster) {
  ZSTD_DCtx* const context = ::ZSTD_createDCtx();
  if (context == nullptr) return false;
  ZSTD_inBuffer in{compressed.data(), compressed.size(), 0};
  ZSTD_outBuffer out{cluster.data(), cluster.size(), 0};
  std::size_t result = 1;
  while (out.pos < out.size) {
    const std::size_t before = in.pos + out.pos;
    result = ::ZSTD_decompressStream(context, &out, &in);
    if (::ZSTD_isError(result) != 0 || result == 0 || in.pos + out.pos == before) break;
  }
  ::ZSTD_freeDCtx(context);
  return ::ZSTD_isError(result) == 0 && out.pos == out.size;
}

}  // namespace

bool decompress_cluster(Qcow2Compression kind, std::span<const u8> compressed, std::span<u8> cluster) {
  return kind == Qcow2Compression::kZlib ? inflate_cluster(compressed, cluster)
                                         : unpack_zstd(compressed, cluster);
}

}  // namespace vellum
