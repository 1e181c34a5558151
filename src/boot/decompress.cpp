#include "boot/decompress.hpp"

#include <bzlib.h>
#include <lzma.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>

#include "base/assert.hpp"
#include "boot/byte_view.hpp"

namespace vellum {
namespace {

// The dictionary size is a field of the file. Linux's build uses up to 128 MiB (xz --extreme); a decoder that
// would take more than this is refused.
constexpr u64 kDecoderMemoryLimit = u64{256} << 20;
// zlib and bzip2 count in 32 bits.
constexpr u64 kChunk = u64{1} << 30;

tl::unexpected<Error> too_large(u64 limit) {
  return fail(ErrorCode::kBadInput, "unpacks to more than the {} bytes it may", limit);
}
tl::unexpected<Error> truncated() {
  return fail(ErrorCode::kBadInput, "ends too early: the file is truncated");
}
tl::unexpected<Error> damaged(std::string_view why) {
  return fail(ErrorCode::kBadInput, "is damaged ({})", why);
}

Result<u64> unpack_gzip(std::span<const u8> in, std::span<u8> out) {
  z_stream stream{};
  constexpr int kGzipHeader = 16;
  if (inflateInit2(&stream, kGzipHeader + MAX_WBITS) != Z_OK) return damaged("no memory for zlib");
  u64 used = 0, produced = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    const auto source = in.subspan(used, std::min<u64>(in.size() - used, kChunk));
    const auto target = out.subspan(produced, std::min<u64>(out.size() - produced, kChunk));
    stream.next_in = const_cast<u8*>(source.data());  // zlib's interface predates const
    stream.avail_in = static_cast<unsigned>(source.size());
    stream.next_out = target.data();
    stream.avail_out = static_cast<unsigned>(target.size());
    status = inflate(&stream, Z_NO_FLUSH);
    used += source.size() - stream.avail_in;
    produced += target.size() - stream.avail_out;
  }
  const std::string why = stream.msg != nullptr ? stream.msg : "bad data";
  inflateEnd(&stream);
  if (status == Z_STREAM_END) return produced;
  if (status != Z_BUF_ERROR) return damaged(why);  // Z_BUF_ERROR: no progress was possible
  if (produced == out.size()) return too_large(out.size());
  return truncated();
}

Result<u64> unpack_bzip2(std::span<const u8> in, std::span<u8> out) {
  bz_stream stream{};
  if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) return damaged("no memory for bzip2");
  u64 used = 0, produced = 0;
  int status = BZ_OK;
  bool stuck = false;
  while (status == BZ_OK && !stuck) {
    const auto source = in.subspan(used, std::min<u64>(in.size() - used, kChunk));
    const auto target = out.subspan(produced, std::min<u64>(out.size() - produced, kChunk));
    // SAFETY: bzip2 reads chars and does not write through next_in.
    stream.next_in = reinterpret_cast<char*>(const_cast<u8*>(source.data()));
    stream.avail_in = static_cast<unsigned>(source.size());
    stream.next_out = reinterpret_cast<char*>(target.data());
    stream.avail_out = static_cast<unsigned>(target.size());
    status = BZ2_bzDecompress(&stream);
    const u64 eaten = source.size() - stream.avail_in, made = target.size() - stream.avail_out;
    used += eaten;
    produced += made;
    stuck = eaten == 0 && made == 0;
  }
  BZ2_bzDecompressEnd(&stream);
  if (status == BZ_STREAM_END) return produced;
  if (status != BZ_OK) return damaged("bad data");
  if (produced == out.size()) return too_large(out.size());
  return truncated();
}

Result<u64> unpack_lzma(std::span<const u8> in, std::span<u8> out, bool xz) {
  lzma_stream stream = LZMA_STREAM_INIT;
  const lzma_ret ready = xz ? lzma_stream_decoder(&stream, kDecoderMemoryLimit, 0)
                            : lzma_alone_decoder(&stream, kDecoderMemoryLimit);
  if (ready != LZMA_OK) return damaged("no memory for lzma");
  stream.next_in = in.data();
  stream.avail_in = in.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK) status = lzma_code(&stream, LZMA_RUN);
  const u64 produced = out.size() - stream.avail_out;
  lzma_end(&stream);
  switch (status) {
    case LZMA_STREAM_END:
      return produced;
    case LZMA_BUF_ERROR:  // no progress was possible
      if (produced == out.size()) return too_large(out.size());
      return truncated();
    case LZMA_MEMLIMIT_ERROR:
      return damaged("its dictionary is larger than any kernel's");
    case LZMA_MEM_ERROR:
      return damaged("no memory for lzma");
    case LZMA_OPTIONS_ERROR:
      return damaged("it uses a filter that liblzma lacks");
    default:
      return damaged("bad data");
  }
}

Result<u64> unpack_zstd(std::span<const u8> in, std::span<u8> out) {
  // One frame: what follows it is not ours. Decoding in one go needs no window buffer, whatever the frame
  // asks for.
  const std::size_t frame = ZSTD_findFrameCompressedSize(in.data(), in.size());
  if (ZSTD_isError(frame) != 0) return damaged(ZSTD_getErrorName(frame));
  const std::size_t produced = ZSTD_decompress(out.data(), out.size(), in.data(), frame);
  if (ZSTD_isError(produced) == 0) return produced;
  const std::string_view why = ZSTD_getErrorName(produced);
  if (why == "Destination buffer is too small") return too_large(out.size());
  return damaged(why);
}

Result<u64> unpack(Compression compression, std::span<const u8> in, std::span<u8> out) {
  switch (compression) {
    case Compression::kGzip:
      return unpack_gzip(in, out);
    case Compression::kBzip2:
      return unpack_bzip2(in, out);
    case Compression::kLzma:
      return unpack_lzma(in, out, false);
    case Compression::kXz:
      return unpack_lzma(in, out, true);
    case Compression::kLzo:
      return detail::unpack_lzop(in, out);
    case Compression::kLz4:
      return detail::unpack_lz4_legacy(in, out);
    case Compression::kZstd:
      return unpack_zstd(in, out);
    case Compression::kUnknown:
      break;
  }
  return fail(ErrorCode::kUnsupported, "is compressed in a format that Vellum does not know");
}

}  // namespace

Compression detect_compression(std::span<const u8> bytes) {
  if (starts_with(bytes, {0x1f, 0x8b})) return Compression::kGzip;
  if (starts_with(bytes, {'B', 'Z', 'h'})) return Compression::kBzip2;
  if (starts_with(bytes, {0x5d, 0x00, 0x00})) return Compression::kLzma;
  if (starts_with(bytes, {0xfd, '7', 'z', 'X', 'Z', 0x00})) return Compression::kXz;
  if (starts_with(bytes, {0x89, 'L', 'Z', 'O', 0x00})) return Compression::kLzo;
  if (starts_with(bytes, {0x02, 0x21, 0x4c, 0x18})) return Compression::kLz4;
  if (starts_with(bytes, {0x28, 0xb5, 0x2f, 0xfd})) return Compression::kZstd;
  return Compression::kUnknown;
}

std::string_view compression_name(Compression compression) {
  static constexpr std::array<std::string_view, 8> kNames{"unknown", "gzip", "bzip2", "lzma",
                                                          "xz",      "lzo",  "lz4",   "zstd"};
  return kNames[static_cast<std::size_t>(compression)];
}

Result<Unpacked> decompress(std::span<const u8> bytes, u64 limit) {
  VELLUM_ASSERT(limit > 0, "limit {}", limit);
  const Compression compression = detect_compression(bytes);
  VELLUM_TRY_ASSIGN(
      mapping, Mapping::create(limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE));
  auto size = unpack(compression, bytes, mapping.span());
  if (!size) {
    return tl::unexpected(std::move(size).error().context(
        fmt::format("its {}-compressed payload", compression_name(compression))));
  }
  return Unpacked(std::move(mapping), *size);
}

}  // namespace vellum
