#include "io/png.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

namespace vellum {
namespace {

u32 word(const std::vector<u8>& png, std::size_t at) {
  return u32{png.at(at)} << 24 | u32{png.at(at + 1)} << 16 | u32{png.at(at + 2)} << 8 | png.at(at + 3);
}

TEST(Png, ChunksHaveTheirLengthsAndSums) {
  const std::vector<u8> rgb{1, 2, 3, 4, 5, 6};
  const auto png = png_of(2, 1, rgb);
  const u32 data = word(png, 33);

  EXPECT_EQ(std::vector<u8>(png.begin(), png.begin() + 8),
            (std::vector<u8>{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}));
  EXPECT_EQ(word(png, 8), 13u);
  EXPECT_EQ(word(png, 16), 2u) << "width";
  EXPECT_EQ(word(png, 20), 1u) << "height";
  EXPECT_EQ(word(png, 29), ::crc32(0, &png[12], 17));
  EXPECT_EQ(word(png, 41 + data), ::crc32(0, &png[37], 4 + data));
  EXPECT_EQ(png.size(), 33 + 12 + data + 12);
}

TEST(Png, TheLinesArePackedBehindTheirFilters) {
  const std::vector<u8> rgb{1, 2, 3, 4, 5, 6};
  const auto png = png_of(1, 2, rgb);
  std::vector<u8> lines(8);
  uLongf size = lines.size();

  ASSERT_EQ(::uncompress(lines.data(), &size, &png[41], word(png, 33)), Z_OK);
  EXPECT_EQ(lines, (std::vector<u8>{0, 1, 2, 3, 0, 4, 5, 6}));
}

}  // namespace
}  // namespace vellum
