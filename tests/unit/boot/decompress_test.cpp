#include "boot/decompress.hpp"

#include <bzlib.h>
#include <gtest/gtest.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <zlib.h>
#include <zstd.h>

#include "images.hpp"

namespace vellum {
namespace {

using test::Bytes;
using test::put;
using test::operator+;
using test::sample;

Bytes bzip2(const Bytes& plain) {
  Bytes packed(plain.size() + plain.size() / 50 + 700);
  auto size = static_cast<unsigned>(packed.size());
  EXPECT_EQ(BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(packed.data()), &size,
                                     reinterpret_cast<char*>(const_cast<u8*>(plain.data())),
                                     static_cast<unsigned>(plain.size()), 9, 0, 0),
            BZ_OK);
  packed.resize(size);
  return packed;
}

// Linux's xz_wrap.sh: the x86 filter before LZMA2, CRC32.
Bytes xz(const Bytes& plain) {
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 1);
  lzma_filter filters[] = {
      {LZMA_FILTER_X86, nullptr}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  Bytes packed(lzma_stream_buffer_bound(plain.size()));
  std::size_t size = 0;
  EXPECT_EQ(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, nullptr, plain.data(), plain.size(),
                                      packed.data(), &size, packed.size()),
            LZMA_OK);
  packed.resize(size);
  return packed;
}

Bytes lzma(const Bytes& plain) {
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 1);
  lzma_stream stream = LZMA_STREAM_INIT;
  EXPECT_EQ(lzma_alone_encoder(&stream, &options), LZMA_OK);
  Bytes packed(plain.size() + 4096);
  stream.next_in = plain.data();
  stream.avail_in = plain.size();
  stream.next_out = packed.data();
  stream.avail_out = packed.size();
  EXPECT_EQ(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  lzma_end(&stream);
  return packed;
}

Bytes lz4_legacy(const Bytes& plain) {
  Bytes packed;
  put<u32>(packed, 0, 0x184c2102);
  for (std::size_t at = 0; at < plain.size(); at += 8 << 20) {
    const int size = static_cast<int>(std::min<std::size_t>(plain.size() - at, 8 << 20));
    Bytes block(static_cast<std::size_t>(LZ4_compressBound(size)));
    const int made =
        LZ4_compress_default(reinterpret_cast<const char*>(plain.data() + at),
                             reinterpret_cast<char*>(block.data()), size, static_cast<int>(block.size()));
    block.resize(static_cast<std::size_t>(made));
    put<u32>(packed, packed.size(), static_cast<u32>(made));
    packed = packed + block;
  }
  return packed;
}

Bytes zstd(const Bytes& plain) {
  Bytes packed(ZSTD_compressBound(plain.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 3));
  return packed;
}

void put_big(Bytes& bytes, u32 value, unsigned size) {
  for (unsigned i = size; i-- > 0;) bytes.push_back(static_cast<u8>(value >> (8 * i)));
}

// An lzop file as `lzop -9` writes it: LZO1X-999, Adler-32 of data and of packed data; one block stored.
Bytes lzop(const Bytes& plain) {
  constexpr std::size_t kBlock = 256 << 10;
  Bytes packed{0x89, 'L', 'Z', 'O', 0x00, '\r', '\n', 0x1a, '\n'};
  put_big(packed, 0x1040, 2), put_big(packed, 0x2080, 2), put_big(packed, 0x0940, 2);
  packed.push_back(3), packed.push_back(9);  // method, level
  put_big(packed, 3, 4);                     // both Adler-32s
  put_big(packed, 0100644, 4), put_big(packed, 1, 4), put_big(packed, 0, 4);
  packed.push_back(1), packed.push_back('k');
  put_big(packed, 0, 4);
  Bytes work(LZO1X_1_MEM_COMPRESS);
  for (std::size_t at = 0; at < plain.size(); at += kBlock) {
    const Bytes data(plain.begin() + static_cast<long>(at),
                     plain.begin() + static_cast<long>(std::min(plain.size(), at + kBlock)));
    Bytes block(data.size() + data.size() / 16 + 67);
    lzo_uint made = block.size();
    EXPECT_EQ(lzo1x_1_compress(data.data(), data.size(), block.data(), &made, work.data()), LZO_E_OK);
    block.resize(made);
    const bool stored = at == 0;
    put_big(packed, static_cast<u32>(data.size()), 4);
    put_big(packed, static_cast<u32>(stored ? data.size() : made), 4);
    put_big(packed, static_cast<u32>(adler32(1, data.data(), static_cast<unsigned>(data.size()))), 4);
    if (!stored) put_big(packed, static_cast<u32>(adler32(1, block.data(), static_cast<unsigned>(made))), 4);
    packed = packed + (stored ? data : block);
  }
  put_big(packed, 0, 4);
  return packed;
}

struct Format {
  Compression compression;
  Bytes (*pack)(const Bytes&);
  bool checksummed;  ///< any changed byte must be noticed
};
std::ostream& operator<<(std::ostream& out, const Format& format) {
  return out << compression_name(format.compression);
}

class Decompress : public testing::TestWithParam<Format> {
 protected:
  const Bytes plain = sample(600'000);  // more than two of lzop's blocks
  const Bytes packed = GetParam().pack(plain);
};

TEST_P(Decompress, IsRecognised) {
  EXPECT_EQ(detect_compression(packed), GetParam().compression);
}

TEST_P(Decompress, RoundTrip) {
  const auto unpacked = decompress(packed, plain.size());
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_TRUE(std::ranges::equal(unpacked->bytes(), plain));
}

TEST_P(Decompress, AppendedSizeIsNotData) {
  Bytes with_size = packed;
  put<u32>(with_size, packed.size(), static_cast<u32>(plain.size()));
  const auto unpacked = decompress(with_size, u64{64} << 20);
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_EQ(unpacked->bytes().size(), plain.size());
}

TEST_P(Decompress, OutputIsBounded) {
  const auto unpacked = decompress(packed, plain.size() - 1);
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().code, ErrorCode::kBadInput);
  EXPECT_NE(unpacked.error().message.find("unpacks to more than"), std::string::npos)
      << unpacked.error().message;
}

TEST_P(Decompress, TruncationIsNoticed) {
  const auto unpacked = decompress(std::span(packed).first(packed.size() / 2), plain.size());
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().code, ErrorCode::kBadInput);
}

TEST_P(Decompress, DamageNeverEscapesTheBuffer) {
  // The sanitizers judge this one; formats with a checksum must also say so.
  const Bytes small = GetParam().pack(sample(20000));
  unsigned accepted = 0;
  for (std::size_t at = 0; at < small.size(); at += 37) {
    Bytes damaged = small;
    damaged[at] ^= 0xa5;
    const auto unpacked = decompress(damaged, 40000);
    accepted += unpacked && !std::ranges::equal(unpacked->bytes(), sample(20000));
  }
  EXPECT_LE(accepted, GetParam().checksummed ? 0u : small.size());
}

INSTANTIATE_TEST_SUITE_P(
    Formats, Decompress,
    testing::Values(Format{Compression::kGzip, test::gzip, true}, Format{Compression::kBzip2, bzip2, true},
                    Format{Compression::kLzma, lzma, false}, Format{Compression::kXz, xz, true},
                    Format{Compression::kLzo, lzop, true}, Format{Compression::kLz4, lz4_legacy, false},
                    Format{Compression::kZstd, zstd, false}),
    [](const auto& tested) { return std::string(compression_name(tested.param.compression)); });

TEST(Decompress, Lz4OfSeveralBlocks) {
  const Bytes plain = sample(17 << 20), packed = lz4_legacy(plain);
  const auto unpacked = decompress(packed, plain.size());
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_TRUE(std::ranges::equal(unpacked->bytes(), plain));
  // The limit lies within the third block.
  EXPECT_FALSE(decompress(packed, plain.size() - 1));
}

TEST(Decompress, UnknownFormatIsRefused) {
  const auto unpacked = decompress(test::text_bytes("no format at all"), 4096);
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().code, ErrorCode::kUnsupported);
}

TEST(Decompress, HugeDictionaryIsRefused) {
  Bytes packed = lzma(sample(1000));
  put<u32>(packed, 1, 0xc0000000);  // the header's dictionary size: 3 GiB
  const auto unpacked = decompress(packed, 4096);
  ASSERT_FALSE(unpacked);
  EXPECT_NE(unpacked.error().message.find("dictionary"), std::string::npos) << unpacked.error().message;
}

}  // namespace
}  // namespace vellum
