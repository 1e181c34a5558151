// The two formats that are block codecs in a container of their own: lz4's legacy frame (lz4
// doc/lz4_Frame_format.md, "Legacy frame") and lzop's file (as Linux's lib/decompress_unlzo.c documents it).
#include <lz4.h>
#include <lzo/lzo1x.h>
#include <zlib.h>

#include <algorithm>

#include "base/bits.hpp"
#include "boot/byte_view.hpp"
#include "boot/decompress.hpp"

namespace vellum::detail {
namespace {

constexpr u64 kLz4Block = u64{8} << 20;  // every block but the last unpacks to this much
constexpr u32 kLz4Magic = 0x184c2102;

constexpr u64 kLzopBlockLimit = u64{64} << 20;  // lzop's own limit
constexpr u32 kAdlerOfData = 1, kAdlerOfPacked = 2, kCrcOfData = 0x100, kCrcOfPacked = 0x200, kFilter = 0x800;

tl::unexpected<Error> truncated() {
  return fail(ErrorCode::kBadInput, "ends too early: the file is truncated");
}
tl::unexpected<Error> too_large(u64 limit) {
  return fail(ErrorCode::kBadInput, "unpacks to more than the {} bytes it may", limit);
}

// A cursor over big-endian fields. Past the end it yields zeroes and says so.
class BigEndian {
 public:
  explicit BigEndian(std::span<const u8> bytes) : rest_(bytes) {}
  u32 get(unsigned size) {
    const auto field = take(size);
    u32 value = 0;
    for (const u8 byte : field) value = (value << 8) | byte;
    return value;
  }
  std::span<const u8> take(u64 size) {
    if (size > rest_.size()) {
      failed_ = true;
      return {};
    }
    const auto part = rest_.first(size);
    rest_ = rest_.subspan(size);
    return part;
  }
  bool failed() const { return failed_; }

 private:
  std::span<const u8> rest_;
  bool failed_ = false;
};

// Reads the header and returns its flags.
Result<u32> lzop_header(BigEndian& in) {
  constexpr u8 kMagicSize = 9;
  constexpr u32 kModern = 0x940;  // the version that added fields
  in.take(kMagicSize);
  const u32 version = in.get(2);
  in.get(2);  // library version
  if (version >= kModern) in.get(2);
  const u32 method = in.get(1);
  if (version >= kModern) in.get(1);  // level
  const u32 flags = in.get(4);
  if ((flags & kFilter) != 0) in.get(4);
  in.get(4);                          // mode
  in.get(4);                          // time
  if (version >= kModern) in.get(4);  // time, high part
  in.take(in.get(1));                 // file name
  in.get(4);                          // checksum of the header
  if (in.failed()) return truncated();
  if (method < 1 || method > 3)
    return fail(ErrorCode::kUnsupported, "uses lzop method {}, not LZO1X", method);
  return flags;
}

}  // namespace

Result<u64> unpack_lz4_legacy(std::span<const u8> in, std::span<u8> out) {
  u64 position = 0, produced = 0;
  while (const auto size = read_at<u32>(in, position)) {
    position += 4;
    if (*size == kLz4Magic) continue;  // the start, or another frame appended
    // The last four bytes are no block: Linux's build puts the unpacked size there.
    if (position == in.size()) break;
    const auto block = slice(in, position, *size);
    if (!block || block->size() > LZ4_MAX_INPUT_SIZE) return truncated();
    const u64 room = std::min<u64>(out.size() - produced, kLz4Block);
    // SAFETY: chars and bytes may alias; both sizes fit in an int (LZ4_MAX_INPUT_SIZE and kLz4Block).
    const int made = LZ4_decompress_safe(reinterpret_cast<const char*>(block->data()),
                                         reinterpret_cast<char*>(out.data() + produced),
                                         static_cast<int>(block->size()), static_cast<int>(room));
    if (made < 0) {
      if (room < kLz4Block) return too_large(out.size());
      return fail(ErrorCode::kBadInput, "is damaged (bad data in the block at offset {:#x})", position);
    }
    produced += static_cast<u64>(made);
    position += block->size();
  }
  return produced;
}

Result<u64> unpack_lzop(std::span<const u8> in, std::span<u8> out) {
  BigEndian cursor(in);
  VELLUM_TRY_ASSIGN(flags, lzop_header(cursor));
  u64 produced = 0;
  for (;;) {
    const u32 size = cursor.get(4);
    if (cursor.failed()) return truncated();
    if (size == 0) return produced;
    const u32 packed_size = cursor.get(4);
    const u32 adler = (flags & kAdlerOfData) != 0 ? cursor.get(4) : 0;
    const u32 crc = (flags & kCrcOfData) != 0 ? cursor.get(4) : 0;
    const bool stored = packed_size == size;
    if (!stored && (flags & kAdlerOfPacked) != 0) cursor.get(4);
    if (!stored && (flags & kCrcOfPacked) != 0) cursor.get(4);
    const auto packed = cursor.take(packed_size);
    if (cursor.failed()) return truncated();
    if (packed_size > size || size > kLzopBlockLimit)
      return fail(ErrorCode::kBadInput, "is damaged (block sizes)");
    if (size > out.size() - produced) return too_large(out.size());

    const auto target = out.subspan(produced, size);
    lzo_uint made = size;
    if (stored) {
      std::memcpy(target.data(), packed.data(), size);
    } else if (lzo1x_decompress_safe(packed.data(), packed.size(), target.data(), &made, nullptr) !=
                   LZO_E_OK ||
               made != size) {
      return fail(ErrorCode::kBadInput, "is damaged (bad data)");
    }
    if (((flags & kAdlerOfData) != 0 && adler32(1, target.data(), size) != adler) ||
        ((flags & kCrcOfData) != 0 && crc32(0, target.data(), size) != crc))
      return fail(ErrorCode::kBadInput, "is damaged (checksum)");
    produced += size;
  }
}

}  // namespace vellum::detail
