// QEMU's firmware configuration device.
#include "devices/legacy/fw_cfg.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kRequest = 0x2000, kBuffer = 0x3000;

struct FwCfgTest : testing::Test {
  static FwCfgItems items() {
    FwCfgItems items;
    items.add_number<u16>(FwCfgItems::kCpuCount, 3);
    items.add_file("etc/b", {1, 2, 3, 4, 5});
    items.add_file("etc/a", {9});
    return items;
  }
  void select(u16 key) { device.write(0, 2, key); }
  std::vector<u8> take(unsigned count) {
    std::vector<u8> bytes;
    for (unsigned i = 0; i < count; ++i) bytes.push_back(in(device, 1));
    return bytes;
  }
  void request(u32 control, u32 length, u64 address) {
    const auto put = [&](u64 at, u32 value) {
      guest_store<u32>(ram->host(GuestPhys(at)), __builtin_bswap32(value));
    };
    put(kRequest, control), put(kRequest + 4, length);
    put(kRequest + 8, static_cast<u32>(address >> 32)), put(kRequest + 12, static_cast<u32>(address));
    device.write(4, 4, 0);
    device.write(8, 4, __builtin_bswap32(kRequest));
  }
  u32 status() const { return __builtin_bswap32(guest_load<u32>(ram->host(GuestPhys(kRequest)))); }
  u8 buffer(u64 offset) const { return *ram->host(GuestPhys(kBuffer + offset)); }

  std::unique_ptr<GuestRam> ram = std::move(GuestRam::create(0x10000).value());
  Bus mmio{"mmio"}, ports{"port"};
  AddressSpace space{*ram, mmio, ports};
  FwCfg device{space, items()};
};

TEST_F(FwCfgTest, AFileThatChangesIsReadAsItIsNow) {
  FwCfgItems changing = items();
  u8 now = 1;
  changing.set_refresh("etc/a", [&now](std::vector<u8>& bytes) { bytes[0] = now; });
  const u16 key = changing.key_of("etc/a");
  FwCfg fw_cfg{space, std::move(changing)};

  fw_cfg.write(0, 2, key);
  now = 2;
  EXPECT_EQ(in(fw_cfg, 1), 2u);
  fw_cfg.write(0, 2, key);
  now = 3;
  EXPECT_EQ(in(fw_cfg, 1), 3u);
  guest_store<u32>(ram->host(GuestPhys(kRequest)), __builtin_bswap32(u32{key} << 16 | 8 | 2));
  guest_store<u32>(ram->host(GuestPhys(kRequest + 4)), __builtin_bswap32(1));
  guest_store<u64>(ram->host(GuestPhys(kRequest + 8)), __builtin_bswap64(kBuffer));
  now = 4;
  fw_cfg.write(4, 8, __builtin_bswap64(kRequest));
  EXPECT_EQ(buffer(0), 4u);
}

TEST_F(FwCfgTest, SaysWhoItIs) {
  select(FwCfgItems::kSignature);
  EXPECT_EQ(take(5), (std::vector<u8>{'Q', 'E', 'M', 'U', 0}));
  select(FwCfgItems::kId);
  EXPECT_EQ(take(4), (std::vector<u8>{3, 0, 0, 0}));
  EXPECT_EQ(device.read(4, 4), 0x554d4551u);
  EXPECT_EQ(device.read(8, 4), 0x47464320u);
}

TEST_F(FwCfgTest, NumbersAreLittleEndianAndUnknownItemsEmpty) {
  select(FwCfgItems::kCpuCount);
  EXPECT_EQ(take(3), (std::vector<u8>{3, 0, 0}));
  select(0x1234);
  EXPECT_EQ(take(2), (std::vector<u8>{0, 0}));
}

TEST_F(FwCfgTest, TheDirectoryIsSortedAndBigEndian) {
  select(FwCfgItems::kDirectory);

  const auto bytes = take(4 + 2 * 64);

  EXPECT_EQ(bytes[3], 2);
  EXPECT_EQ(std::vector<u8>(&bytes[4], &bytes[12]), (std::vector<u8>{0, 0, 0, 1, 0, 0x21, 0, 0}));
  EXPECT_STREQ(reinterpret_cast<const char*>(&bytes[12]), "etc/a");
  EXPECT_EQ(std::vector<u8>(&bytes[68], &bytes[76]), (std::vector<u8>{0, 0, 0, 5, 0, 0x20, 0, 0}));
}

TEST_F(FwCfgTest, DmaSelectsAndReads) {
  request(0x20'0000 | 8 | 2, 4, kBuffer);

  EXPECT_EQ(status(), 0u);
  EXPECT_EQ(buffer(0), 1);
  EXPECT_EQ(buffer(3), 4);
  EXPECT_EQ(take(1), (std::vector<u8>{5}));
}

TEST_F(FwCfgTest, DmaSkipsAndReadsZeroesPastTheEnd) {
  *ram->host(GuestPhys(kBuffer + 1)) = 0xff;
  *ram->host(GuestPhys(kBuffer + 2)) = 0xff;

  request(0x20'0000 | 8 | 4, 4, 0);
  request(2, 2, kBuffer);

  EXPECT_EQ(buffer(0), 5);
  EXPECT_EQ(buffer(1), 0);
  EXPECT_EQ(buffer(2), 0xff);
}

TEST_F(FwCfgTest, DmaBySixtyFourBits) {
  request(0, 0, 0);
  guest_store<u32>(ram->host(GuestPhys(kRequest)), __builtin_bswap32(0x21'0000 | 8 | 2));
  guest_store<u32>(ram->host(GuestPhys(kRequest + 4)), __builtin_bswap32(1));
  guest_store<u64>(ram->host(GuestPhys(kRequest + 8)), __builtin_bswap64(kBuffer));

  device.write(4, 8, __builtin_bswap64(kRequest));

  EXPECT_EQ(buffer(0), 9);
}

TEST_F(FwCfgTest, DmaThatCannotBeIsAnError) {
  request(0x20'0000 | 8 | 2, 4, 0xfffe);
  EXPECT_EQ(status(), 1u) << "a buffer that ends beyond RAM";
  request(0x20'0000 | 8 | 2, ~0u, kBuffer);
  EXPECT_EQ(status(), 1u) << "zeroes that do not fit";
  request(0x20'0000 | 8 | 16, 4, kBuffer);
  EXPECT_EQ(status(), 1u) << "a write";
  device.write(8, 4, ~0u);  // a request that is nowhere
  EXPECT_EQ(status(), 1u);
}

TEST_F(FwCfgTest, IsRestoredInMidItem) {
  select(FwCfgItems::kFirstFile);
  take(2);
  device.write(4, 4, 0x01020304);

  FwCfg other(space, items(), *decode_state<FwCfg::State>(device.save()));

  EXPECT_EQ(in(other, 1), 3);
  EXPECT_EQ(decode_state<FwCfg::State>(other.save())->dma_high, 0x04030201u);
}

TEST_F(FwCfgTest, AnOffsetFromOutsideIsHarmless) {
  FwCfg::State state;
  state.key = FwCfgItems::kFirstFile;
  state.offset = ~0u;

  FwCfg other(space, items(), state);

  EXPECT_EQ(in(other, 1), 0);
}

}  // namespace
}  // namespace vellum::test
