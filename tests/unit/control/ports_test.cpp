// I/O permission and port accesses (SDM vol. 1 §19.5).
#include "fixture.hpp"

namespace vellum::test {
namespace {

class PortDevice final : public BusDevice {
 public:
  u64 read(u64 offset, unsigned size) override { return (0x44332211 >> (8 * offset)) & low_mask(8 * size); }
  void write(u64 offset, unsigned size, u64 value) override { last = {offset, size, value}; }
  struct {
    u64 offset = 0;
    unsigned size = 0;
    u64 value = 0;
  } last;
};

class Ports : public ControlTest {
 protected:
  static constexpr u16 kMapBase = 0x80;

  Ports() { enter_protected(); }

  /// A 32-bit TSS at kTss whose map of 0x100 bytes denies every port, but for the last byte's 0xff.
  void make_tss(u16 map_base = kMapBase, u32 limit = kMapBase + 0x100) {
    v->state.tr = {.selector = 8, .attributes = 0x8b, .limit = limit, .base = kTss};
    for (u64 a = kTss; a < kTss + 0x200; a += 8) put64(a, ~u64{0});
    put_bytes(kTss + 0x66, map_base);
  }
  void put_bytes(u64 address, u16 value) {
    const u8 bytes[]{static_cast<u8>(value), static_cast<u8>(value >> 8)};
    ASSERT_TRUE(space.write(GuestPhys(address), bytes));
  }
  void allow(u16 port) {
    u8 byte = 0;
    const GuestPhys at(kTss + kMapBase + port / 8);
    ASSERT_TRUE(space.read(at, {&byte, 1}));
    byte = static_cast<u8>(byte & ~(1u << (port % 8)));
    ASSERT_TRUE(space.write(at, {&byte, 1}));
  }
};

TEST_F(Ports, RealModeAndIoplNeedNoMap) {
  v->state.tr = {};
  set_cpl(2);
  v->state.rflags |= bit(13);  // IOPL 2
  EXPECT_TRUE(check_io_permission(*v, 0x3f8, 1));
  set_cpl(3);
  expect_gp(check_io_permission(*v, 0x3f8, 1));
  v->state.cr0 &= ~cr0::kPe;
  EXPECT_TRUE(check_io_permission(*v, 0x3f8, 1));
}

TEST_F(Ports, MapDecidesAboveIopl) {
  make_tss();
  set_cpl(3);
  expect_gp(check_io_permission(*v, 0x3f8, 1));
  allow(0x3f8);
  EXPECT_TRUE(check_io_permission(*v, 0x3f8, 1));
  expect_gp(check_io_permission(*v, 0x3f7, 1));
  expect_gp(check_io_permission(*v, 0x3f9, 1));
}

TEST_F(Ports, EveryPortOfAWideAccessMustBeAllowed) {
  make_tss();
  set_cpl(3);
  for (const u16 port : {0x3fe, 0x3ff, 0x400}) allow(port);
  EXPECT_TRUE(check_io_permission(*v, 0x3fe, 2));
  EXPECT_TRUE(check_io_permission(*v, 0x3ff, 2));  // across a byte of the map
  expect_gp(check_io_permission(*v, 0x3fe, 4));
  allow(0x401);
  EXPECT_TRUE(check_io_permission(*v, 0x3fe, 4));
}

TEST_F(Ports, VirtualModeAsksTheMapWhateverIopl) {
  make_tss();
  v->state.rflags |= rflags::kVm | rflags::kIopl;
  set_cpl(3);
  expect_gp(check_io_permission(*v, 0x60, 1));
  allow(0x60);
  EXPECT_TRUE(check_io_permission(*v, 0x60, 1));
}

// Two bytes are read, so that the map's last byte must be followed by one more within the limit.
TEST_F(Ports, LimitMustCoverBothBytes) {
  make_tss(kMapBase, kMapBase + 1);
  for (const u16 port : {0, 7, 8, 15}) allow(port);
  set_cpl(3);
  EXPECT_TRUE(check_io_permission(*v, 7, 1));
  expect_gp(check_io_permission(*v, 8, 1));
}

TEST_F(Ports, MapBaseBeyondTheLimitMeansNoMap) {
  make_tss(0xffff);
  set_cpl(3);
  expect_gp(check_io_permission(*v, 0, 1));
  make_tss(kMapBase, 0x66);  // not even the base is within
  expect_gp(check_io_permission(*v, 0, 1));
}

TEST_F(Ports, A16BitOrAbsentTssHasNoMap) {
  make_tss();
  allow(0x60);
  set_cpl(3);
  for (const u16 attributes : {0x81, 0x83, 0x0b}) {
    v->state.tr.attributes = attributes;
    expect_gp(check_io_permission(*v, 0x60, 1));
  }
  v->state.tr.attributes = 0x89;
  EXPECT_TRUE(check_io_permission(*v, 0x60, 1));
}

TEST_F(Ports, MapIsReadAsSupervisor) {
  enter_long();
  make_tss();
  allow(0x60);
  put64(kPd, 0x83);  // supervisor only
  v->mmu.flush_all();
  set_cpl(3);
  EXPECT_TRUE(check_io_permission(*v, 0x60, 1));
}

TEST_F(Ports, AMissingMapPageIsAPageFault) {
  enter_long();
  v->state.tr = {.selector = 8, .attributes = 0x8b, .limit = 0x2000, .base = 0x60000000};
  set_cpl(3);
  EXPECT_FALSE(check_io_permission(*v, 0x60, 1));
  EXPECT_EQ(v->fault.vector, kPf);
  EXPECT_EQ(v->fault.address, 0x60000066u);
  EXPECT_EQ(v->fault.error_code & pf::kUser, 0u);
}

TEST_F(Ports, AccessesReachTheBus) {
  PortDevice device;
  ASSERT_TRUE(ports.add(0x3f8, 4, device, "device"));
  EXPECT_EQ(port_read(*v, 0x3f8, 4), 0x44332211u);
  EXPECT_EQ(port_read(*v, 0x3f9, 1), 0x22u);
  EXPECT_EQ(port_read(*v, 0x80, 2), 0xffffu);
  port_write(*v, 0x3fa, 2, 0x12345678);
  EXPECT_EQ(device.last.offset, 2u);
  EXPECT_EQ(device.last.value, 0x5678u);
}

struct BreakpointCase {
  u64 address, length_field;
  u16 port;
  unsigned size;
  bool hit;
};
class IoBreakpoints : public Ports, public testing::WithParamInterface<BreakpointCase> {};

TEST_P(IoBreakpoints, MatchUnderDeOnly) {
  const BreakpointCase c = GetParam();
  v->state.dr[2] = c.address;
  v->state.dr7 = dr7::kFixed1 | (1u << 5) | (u64{2} << 24) | (c.length_field << 26);  // G2, I/O
  port_read(*v, c.port, c.size);
  EXPECT_EQ(v->mmu.breakpoint_hits, 0u);
  v->state.cr4 |= cr4::kDe;
  port_read(*v, c.port, c.size);
  EXPECT_EQ(v->mmu.breakpoint_hits, c.hit ? 4u : 0u);
  v->mmu.breakpoint_hits = 0;
  port_write(*v, c.port, c.size, 0);
  EXPECT_EQ(v->mmu.breakpoint_hits, c.hit ? 4u : 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, IoBreakpoints,
    testing::Values(BreakpointCase{0x60, 0, 0x60, 1, true}, BreakpointCase{0x60, 0, 0x61, 1, false},
                    BreakpointCase{0x61, 0, 0x60, 2, true}, BreakpointCase{0x62, 0, 0x60, 2, false},
                    BreakpointCase{0x60, 3, 0x63, 1, true}, BreakpointCase{0x62, 3, 0x60, 1, true},
                    BreakpointCase{0x60, 1, 0x62, 4, false}, BreakpointCase{0x60, 1, 0x5e, 4, true}));

}  // namespace
}  // namespace vellum::test
