// Memory operands that fault: alignment, missing and read-only pages, segment limits; nothing may have
// changed.
#include "bench.hpp"
#include "memory/bus.hpp"

namespace vellum::test {
namespace {

using interp::Flow;
using namespace x86;

class Faults : public testing::Test {
 protected:
  Flow at(u64 address, const std::vector<u8>& bytes) {
    bench.v.state.gpr[kRbx] = address;
    return bench.run(bytes);
  }
  NativeBench bench;
};

struct AlignmentCase {
  const char* name;
  std::vector<u8> bytes;  // operand [rbx]
  bool demands;
};

TEST_F(Faults, AlignmentIsDemandedWhereTheSdmSays) {
  if (!bench.model.has(Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  const AlignmentCase cases[] = {
      {"movaps load", {0x0f, 0x28, 0x03}, true},
      {"movaps store", {0x0f, 0x29, 0x03}, true},
      {"movups", {0x0f, 0x10, 0x03}, false},
      {"movdqa", {0x66, 0x0f, 0x6f, 0x03}, true},
      {"movdqu", {0xf3, 0x0f, 0x7f, 0x03}, false},
      {"lddqu", {0xf2, 0x0f, 0xf0, 0x03}, false},
      {"movntps", {0x0f, 0x2b, 0x03}, true},
      {"movntdqa", {0x66, 0x0f, 0x38, 0x2a, 0x03}, true},
      {"addps", {0x0f, 0x58, 0x03}, true},
      {"paddd", {0x66, 0x0f, 0xfe, 0x03}, true},
      {"pshufb", {0x66, 0x0f, 0x38, 0x00, 0x03}, true},
      {"aesenc", {0x66, 0x0f, 0x38, 0xdc, 0x03}, true},
      {"sha1nexte", {0x0f, 0x38, 0xc8, 0x03}, true},
      {"cvtpd2pi", {0x66, 0x0f, 0x2d, 0x03}, true},
      {"pcmpistri", {0x66, 0x0f, 0x3a, 0x63, 0x03, 0x00}, false},
      {"addsd", {0xf2, 0x0f, 0x58, 0x03}, false},
      {"movhps", {0x0f, 0x16, 0x03}, false},
      {"paddb mm", {0x0f, 0xfc, 0x03}, false},
      {"vmovaps xmm", {0xc5, 0xf8, 0x28, 0x03}, true},
      {"vmovups xmm", {0xc5, 0xf8, 0x10, 0x03}, false},
      {"vaddps xmm", {0xc5, 0xf0, 0x58, 0x03}, false},
      {"vmovntdq ymm", {0xc5, 0xfd, 0xe7, 0x03}, true},
      {"fld m80", {0xdb, 0x2b}, false},
  };
  for (const AlignmentCase& c : cases) {
    const Flow flow = at(kData + 8, c.bytes);
    EXPECT_EQ(flow == Flow::kFault, c.demands) << c.name;
    EXPECT_TRUE(!c.demands || bench.v.fault.vector == kGp) << c.name;
    EXPECT_NE(at(kData + 32, c.bytes), Flow::kFault) << c.name;
  }
  // A 32-byte operand of an aligned move needs 32.
  expect_fault(bench, at(kData + 16, {0xc5, 0xfc, 0x28, 0x03}), kGp);
  EXPECT_EQ(at(kData + 64, {0xc5, 0xfc, 0x28, 0x03}), Flow::kNext);
}

TEST_F(Faults, AStoreThatCrossesIntoAHoleStoresNothing) {
  const std::vector<std::vector<u8>> stores = {{0x0f, 0x11, 0x03},               // movups [rbx], xmm0
                                               {0x66, 0x0f, 0xd6, 0x03},         // movq [rbx], xmm0
                                               {0xdb, 0x3b},                     // fstp tbyte [rbx]
                                               {0xdd, 0x13},                     // fst qword [rbx]
                                               {0x0f, 0x7f, 0x03},               // movq [rbx], mm0
                                               {0x0f, 0x17, 0x03},               // movhps [rbx], xmm0
                                               {0x48, 0x0f, 0xc3, 0x03},         // movnti [rbx], rax
                                               {0x48, 0x0f, 0x38, 0xf1, 0x03}};  // movbe [rbx], rax
  std::fill_n(bench.v.state.xsave.xmm(0), 16, u8{0x55});
  bench.v.state.gpr[kRax] = 0x5555555555555555;
  for (const auto& bytes : stores) {
    bench.poke(kHole - 4, std::array<u8, 4>{});
    const XsaveArea before = bench.v.state.xsave;
    EXPECT_EQ(at(kHole - 4, bytes), Flow::kFault);
    EXPECT_EQ(bench.v.fault.vector, kPf);
    EXPECT_EQ(bench.v.fault.address, kHole);
    EXPECT_EQ(bench.v.fault.error_code, pf::kWrite);
    EXPECT_EQ(bench.peek(kHole - 4, 4), std::vector<u8>(4, 0));
    EXPECT_TRUE(bench.v.state.xsave == before);
  }
}

TEST_F(Faults, ALoadFromAHoleChangesNothing) {
  const std::vector<std::vector<u8>> loads = {{0x0f, 0x10, 0x03},
                                              {0x66, 0x0f, 0xfe, 0x03},
                                              {0xf2, 0x0f, 0x58, 0x03},
                                              {0xdd, 0x03},
                                              {0x0f, 0xfc, 0x03}};
  for (const auto& bytes : loads) {
    const XsaveArea before = bench.v.state.xsave;
    EXPECT_EQ(at(kHole, bytes), Flow::kFault);
    EXPECT_EQ(bench.v.fault.vector, kPf);
    EXPECT_EQ(bench.v.fault.error_code, 0u);
    EXPECT_TRUE(bench.v.state.xsave == before);
  }
}

TEST_F(Faults, AReadOnlyPageTakesLoadsButNoStores) {
  EXPECT_EQ(at(kReadOnly, {0x0f, 0x28, 0x03}), Flow::kNext);
  EXPECT_EQ(at(kReadOnly, {0x0f, 0x29, 0x03}), Flow::kFault);
  EXPECT_EQ(bench.v.fault.error_code, pf::kPresent | pf::kWrite);
}

TEST_F(Faults, NonCanonicalAddressesAreGpOrSs) {
  expect_fault(bench, at(u64{1} << 47, {0x0f, 0x10, 0x03}), kGp);
  bench.v.state.gpr[kRbp] = u64{1} << 47;
  expect_fault(bench, bench.run({0x0f, 0x10, 0x45, 0x00}), kSs);
}

TEST_F(Faults, SegmentLimitsHoldInProtectedMode) {
  bench.enter_protected_mode();
  bench.v.state.segment(Seg::kDs).limit = 0x20ff;
  EXPECT_EQ(at(0x20f0, {0x0f, 0x10, 0x03}), Flow::kNext);
  expect_fault(bench, at(0x20f1, {0x0f, 0x10, 0x03}), kGp);
  expect_fault(bench, at(0x20f7, {0xdb, 0x2b}), kGp);  // fld m80: ten bytes
  EXPECT_EQ(at(0x20f6, {0xdb, 0x2b}), Flow::kNext);
}

TEST_F(Faults, AStoreToTrackedCodeEndsTheUnit) {
  const std::vector<u8> movups = {0x0f, 0x11, 0x03}, fst = {0xdd, 0x13};
  EXPECT_EQ(at(kData, movups), Flow::kNext);
  bench.v.mmu.code_was_written = false;
  GuestPhys physical;
  ASSERT_TRUE(bench.v.mmu.translate_quietly(kData, physical));
  bench.ram->track_code(physical, 16);
  EXPECT_EQ(at(kData, movups), Flow::kEndUnit);
  EXPECT_EQ(at(kData, fst), Flow::kEndUnit);
  EXPECT_EQ(at(kData + 0x200, movups), Flow::kNext);
}

class Recorder final : public BusDevice {
 public:
  u64 read(u64 offset, unsigned size) override {
    return (0x0706050403020100 + offset * 0x0101010101010101) & low_mask(8 * size);
  }
  void write(u64 offset, unsigned size, u64 value) override {
    for (unsigned n = 0; n < size; ++n) bytes.at(offset + n) = static_cast<u8>(value >> (8 * n));
  }
  std::array<u8, 64> bytes{};
};

TEST_F(Faults, DevicesAreReachedThroughABuffer) {
  Recorder device;
  bench.enter_protected_mode();
  ASSERT_TRUE(bench.mmio.add(0xe0000000, 64, device, "recorder").has_value());
  EXPECT_EQ(at(0xe0000000, {0x0f, 0x28, 0x03}), Flow::kNext);  // movaps xmm0, [ebx]
  for (u8 n = 0; n < 16; ++n) EXPECT_EQ(bench.v.state.xsave.xmm(0)[n], n);
  EXPECT_NE(at(0xe0000010, {0x0f, 0x29, 0x03}), Flow::kFault);
  for (u8 n = 0; n < 16; ++n) EXPECT_EQ(device.bytes[16u + n], n);
}

TEST_F(Faults, AnX87StoreThatRaisesAnExceptionLeavesADeviceAlone) {
  Recorder device;
  bench.enter_protected_mode();
  ASSERT_TRUE(bench.mmio.add(0xe0000000, 64, device, "recorder").has_value());
  device.bytes.fill(0xee);
  bench.v.state.xsave.fcw() = 0x37e;                      // IE unmasked
  EXPECT_NE(at(0xe0000000, {0xdd, 0x13}), Flow::kFault);  // fst of an empty register
  EXPECT_EQ(bench.v.state.xsave.fsw() & 0x8081, 0x8081);
  EXPECT_EQ(device.bytes[0], 0xee);
}

}  // namespace
}  // namespace vellum::test
