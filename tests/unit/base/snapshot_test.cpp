// The snapshot codec: every kind of field comes back; damaged and hostile streams fail and never read out of
// bounds.
#include "base/snapshot.hpp"

#include <gtest/gtest.h>

namespace vellum {
namespace {

enum class Colour : u16 { kRed = 1, kBlue = 0xbeef };

struct Inner {
  u32 a = 0;
  bool b = false;
  bool operator==(const Inner&) const = default;
  template <class V>
  void visit(V& v) {
    v(a), v(b);
  }
};

struct Sample {
  static constexpr std::string_view kKind = "sample";
  static constexpr u32 kVersion = 3;

  u8 byte = 0;
  i16 negative = 0;
  u64 wide = 0;
  Colour colour = Colour::kRed;
  std::array<u16, 3> fixed{};
  std::vector<Inner> list;
  std::string text;
  std::optional<u32> some, none;
  Inner inner;

  bool operator==(const Sample&) const = default;
  template <class V>
  void visit(V& v) {
    v(byte), v(negative), v(wide), v(colour), v(fixed), v(list), v(text), v(some), v(none), v(inner);
  }
};

Sample filled() {
  return {.byte = 7,
          .negative = -300,
          .wide = 0x0123456789abcdef,
          .colour = Colour::kBlue,
          .fixed = {1, 2, 0xffff},
          .list = {{1, true}, {0xffffffff, false}},
          .text = std::string("a\0b", 3),
          .some = 42,
          .none = std::nullopt,
          .inner = {9, true}};
}

TEST(Snapshot, EveryFieldComesBack) {
  const SavedState saved = encode_state(filled());
  EXPECT_EQ(saved.kind, "sample");
  EXPECT_EQ(saved.version, 3u);
  const auto back = decode_state<Sample>(saved);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, filled());
}

TEST(Snapshot, EncodingIsLittleEndianInTheFieldsOwnWidth) {
  StateWriter writer;
  writer(u32{0x11223344});
  writer(true);
  writer(std::vector<u8>{5, 6});
  EXPECT_EQ(writer.bytes, (std::vector<u8>{0x44, 0x33, 0x22, 0x11, 1, 2, 0, 0, 0, 5, 6}));
}

TEST(Snapshot, OtherKindOrVersionIsRefusedByName) {
  SavedState saved = encode_state(filled());
  saved.version = 2;
  const auto old = decode_state<Sample>(saved);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, ErrorCode::kBadInput);
  EXPECT_NE(old.error().message.find("version 2"), std::string::npos);
  saved.kind = "other";
  const auto other = decode_state<Sample>(saved);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("'other'"), std::string::npos);
}

TEST(Snapshot, EveryTruncationAndExtensionFails) {
  const SavedState whole = encode_state(filled());
  for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
    SavedState cut = whole;
    cut.bytes.resize(size);
    EXPECT_FALSE(decode_state<Sample>(cut)) << size;
  }
  SavedState longer = whole;
  longer.bytes.push_back(0);
  EXPECT_FALSE(decode_state<Sample>(longer));
}

TEST(Snapshot, HugeCountsAllocateNothing) {
  const std::vector<u8> bytes{0xff, 0xff, 0xff, 0xff, 1, 2};
  StateReader reader(bytes);
  std::vector<u64> list;
  reader(list);
  EXPECT_TRUE(reader.failed);
  EXPECT_TRUE(list.empty());
}

TEST(Snapshot, ArrayOfAnotherLengthFails) {
  StateWriter writer;
  writer(std::array<u8, 4>{1, 2, 3, 4});
  StateReader reader(writer.bytes);
  std::array<u8, 3> three{};
  reader(three);
  EXPECT_TRUE(reader.failed);
}

// Any single damaged byte: refused, or decoded to something that encodes as long; never past the end (the
// sanitizers watch).
TEST(Snapshot, DamagedBytesAreSurvived) {
  const SavedState whole = encode_state(filled());
  for (std::size_t i = 0; i < whole.bytes.size(); ++i) {
    for (const u8 damage : {0x01, 0x80, 0xff}) {
      SavedState damaged = whole;
      damaged.bytes[i] ^= damage;
      const auto result = decode_state<Sample>(damaged);
      const std::size_t size = result ? encode_state(*result).bytes.size() : whole.bytes.size();
      EXPECT_EQ(size, whole.bytes.size()) << i;
    }
  }
}

}  // namespace
}  // namespace vellum
