// FXSAVE and XSAVE images, byte by byte against the host's (x87 pointers aside, which are the thunks'
// business), and what the restoring instructions refuse.
#include <cstring>

#include "differential.hpp"

namespace vellum::test {
namespace {

using interp::Flow;

constexpr unsigned kArea = 832;
using Area = std::array<u8, 1024>;

const std::vector<u8> kFxsave64 = {0x48, 0x0f, 0xae, 0x03}, kFxrstor64 = {0x48, 0x0f, 0xae, 0x0b};
const std::vector<u8> kFxsave = {0x0f, 0xae, 0x03}, kFxrstor = {0x0f, 0xae, 0x0b};
const std::vector<u8> kXsave64 = {0x48, 0x0f, 0xae, 0x23}, kXrstor64 = {0x48, 0x0f, 0xae, 0x2b};
const std::vector<u8> kXsave = {0x0f, 0xae, 0x23}, kXrstor = {0x0f, 0xae, 0x2b};
const std::vector<u8> kXsaveopt64 = {0x48, 0x0f, 0xae, 0x33}, kXsavec64 = {0x48, 0x0f, 0xc7, 0x23};

class SaveArea : public testing::Test {
 protected:
  void SetUp() override {
    if (!bench.model.has(x86::Feature::kXsave) || !bench.model.has(x86::Feature::kAvx))
      GTEST_SKIP() << "the host lacks XSAVE or AVX";
  }

  // Both sides' memory is `area`, at guest address `at`; RBX points to it, EDX:EAX = mask.
  void prepare(const HostState& from, u64 mask) {
    state = from;
    copy_state(state, bench.v.state);
    bench.v.state.xsave.fip() = bench.v.state.xsave.fdp() = 0;
    bench.v.state.xsave.fop() = 0;
    set_both(x86::kRax, mask & 0xffffffff);
    set_both(x86::kRdx, mask >> 32);
    state.gpr[x86::kRbx] = reinterpret_cast<u64>(area.data());
    bench.v.state.gpr[x86::kRbx] = kAt;
    bench.poke(kAt, area);
  }
  void set_both(unsigned n, u64 value) { state.gpr[n] = bench.v.state.gpr[n] = value; }

  void expect_same_area(const char* what) {
    const auto guest = bench.peek(kAt, area.size());
    for (unsigned n = 0; n < area.size(); ++n) {
      const bool pointers = n >= 6 && n < 24;
      const bool mxcsr_mask = n >= 28 && n < 32;  // ours is fixed
      if (pointers || mxcsr_mask) continue;
      ASSERT_EQ(guest[n], area[n]) << what << " at byte " << n;
    }
  }
  void expect_same_registers(const char* what) {
    XsaveArea& x = bench.v.state.xsave;
    EXPECT_EQ(x.mxcsr(), state.mxcsr()) << what;
    EXPECT_EQ(x.fcw(), state.fcw()) << what;
    EXPECT_EQ(x.fsw(), state.fsw()) << what;
    EXPECT_EQ(x.ftw(), state.ftw()) << what;
    for (unsigned n = 0; n < 8; ++n)
      EXPECT_EQ(std::memcmp(x.st(n), state.st(n), 10), 0) << what << " st" << n;
    for (unsigned n = 0; n < 16; ++n) {
      EXPECT_EQ(std::memcmp(x.xmm(n), state.ymm[n].data(), 16), 0) << what << " xmm" << n;
      EXPECT_EQ(std::memcmp(x.ymm_hi(n), state.ymm[n].data() + 16, 16), 0) << what << " ymm" << n;
    }
  }

  HostState random_state() {
    HostState s;
    randomize(s, random, {.unmask_simd = true, .unmask_x87 = true});
    return s;
  }
  void randomize_area() {
    for (auto& byte : area) byte = static_cast<u8>(random());
  }
  // A legacy region that may be loaded.
  void plausible_area() {
    randomize_area();
    const HostState s = random_state();
    std::copy_n(s.fx.begin(), 416, area.begin());
    std::fill_n(area.begin() + 512, 64, u8{0});
  }
  void header(u64 xstate_bv, u64 xcomp_bv) {
    std::memcpy(area.data() + 512, &xstate_bv, 8);
    std::memcpy(area.data() + 520, &xcomp_bv, 8);
  }

  static constexpr u64 kAt = kData + 0xe00;  // crosses into the next page
  Random random{11};
  NativeBench bench;
  HostState state;
  alignas(64) Area area{};
};

TEST_F(SaveArea, FxsaveMatchesTheHost) {
  for (unsigned round = 0; round < 50; ++round)
    for (const auto& bytes : {kFxsave64, kFxsave}) {
      randomize_area();
      prepare(random_state(), 0);
      ASSERT_EQ(bench.run(bytes), Flow::kNext);
      ASSERT_EQ(run_on_host(bytes, state), HostOutcome::kDone);
      expect_same_area("fxsave");
    }
}

TEST_F(SaveArea, FxrstorMatchesTheHost) {
  for (unsigned round = 0; round < 50; ++round)
    for (const auto& bytes : {kFxrstor64, kFxrstor}) {
      plausible_area();
      prepare(random_state(), 0);
      ASSERT_EQ(bench.run(bytes), Flow::kNext);
      ASSERT_EQ(run_on_host(bytes, state), HostOutcome::kDone);
      expect_same_registers("fxrstor");
    }
}

TEST_F(SaveArea, XsaveMatchesTheHost) {
  for (unsigned round = 0; round < 20; ++round)
    for (u64 mask = 0; mask < 8; ++mask)
      for (const auto& bytes : {kXsave64, kXsave}) {
        randomize_area();
        header(random() & 7, 0);
        prepare(random_state(), mask);
        ASSERT_EQ(bench.run(bytes), Flow::kNext);
        ASSERT_EQ(run_on_host(bytes, state), HostOutcome::kDone);
        expect_same_area("xsave");
      }
}

TEST_F(SaveArea, XsaveoptAndXsavecMatchTheHost) {
  if (!bench.model.has(x86::Feature::kXsavec)) GTEST_SKIP() << "the host lacks XSAVEC";
  for (unsigned round = 0; round < 20; ++round)
    for (u64 mask = 0; mask < 8; ++mask)
      for (const auto& bytes : {kXsaveopt64, kXsavec64}) {
        randomize_area();
        header(random() & 7, 0);
        prepare(random_state(), mask);
        ASSERT_EQ(bench.run(bytes), Flow::kNext);
        ASSERT_EQ(run_on_host(bytes, state), HostOutcome::kDone);
        expect_same_area("xsaveopt or xsavec");
      }
}

TEST_F(SaveArea, ComponentsInTheirInitialStateAreNotMarked) {
  randomize_area();
  header(7, 0);
  HostState initial;
  initial.fcw() = 0x37f;
  initial.mxcsr() = 0x1f80;
  prepare(initial, 7);
  ASSERT_EQ(bench.run(kXsaveopt64), Flow::kNext);
  EXPECT_EQ(bench.peek(kAt + 512, 8), std::vector<u8>(8, 0));
  // Nothing but MXCSR and the header was written.
  EXPECT_EQ(bench.peek(kAt + 160, 256), std::vector<u8>(area.begin() + 160, area.begin() + 416));
}

TEST_F(SaveArea, XrstorMatchesTheHost) {
  for (unsigned round = 0; round < 10; ++round)
    for (u64 mask = 0; mask < 8; ++mask)
      for (u64 xstate_bv = 0; xstate_bv < 8; ++xstate_bv)
        for (const auto& bytes : {kXrstor64, kXrstor}) {
          plausible_area();
          header(xstate_bv, 0);
          prepare(random_state(), mask);
          ASSERT_EQ(bench.run(bytes), Flow::kNext);
          ASSERT_EQ(run_on_host(bytes, state), HostOutcome::kDone);
          expect_same_registers("xrstor");
        }
}

TEST_F(SaveArea, XrstorOfTheCompactedFormMatchesTheHost) {
  if (!bench.model.has(x86::Feature::kXsavec)) GTEST_SKIP() << "the host lacks XSAVEC";
  for (unsigned round = 0; round < 10; ++round)
    for (u64 mask = 0; mask < 8; ++mask)
      for (u64 xcomp_bv = 0; xcomp_bv < 8; ++xcomp_bv) {
        plausible_area();
        header(random() & xcomp_bv, xcomp_bv | u64{1} << 63);
        prepare(random_state(), mask);
        ASSERT_EQ(bench.run(kXrstor64), Flow::kNext);
        ASSERT_EQ(run_on_host(kXrstor64, state), HostOutcome::kDone);
        expect_same_registers("compacted xrstor");
      }
}

TEST_F(SaveArea, BadHeadersAreRefusedAsByTheHost) {
  if (!bench.model.has(x86::Feature::kXsavec)) GTEST_SKIP() << "the host lacks XSAVEC";
  constexpr u64 kUnknown = u64{1} << 40, kCompacted = u64{1} << 63;
  struct Case {
    u64 xstate_bv, xcomp_bv;
    unsigned dirty_byte;
  };
  for (const Case& c :
       {Case{kUnknown | 3, 0, 0}, Case{3, kUnknown | kCompacted, 0}, Case{7, 3 | kCompacted, 0},
        Case{3, 1, 0}, Case{3, 0, 528}, Case{3, 0, 535}, Case{3, 7 | kCompacted, 536},
        Case{3, 7 | kCompacted, 575}, Case{3, 0, 536}, Case{3, 0, 575}}) {
    plausible_area();
    header(c.xstate_bv, c.xcomp_bv);
    if (c.dirty_byte != 0) area[c.dirty_byte] = 1;
    prepare(random_state(), 7);
    const Flow flow = bench.run(kXrstor64);
    const HostOutcome host = run_on_host(kXrstor64, state);
    EXPECT_EQ(flow == Flow::kFault, host == HostOutcome::kGeneralProtection)
        << std::hex << c.xstate_bv << " " << c.xcomp_bv << " " << c.dirty_byte;
    EXPECT_TRUE(flow != Flow::kFault || bench.v.fault.vector == x86::kGp);
  }
}

TEST_F(SaveArea, ReservedMxcsrBitsAreRefusedAndChangeNothing) {
  for (const auto& bytes : {kFxrstor64, kXrstor64}) {
    plausible_area();
    header(7, 0);
    area[26] = 1;  // bit 16
    prepare(random_state(), 7);
    const XsaveArea before = bench.v.state.xsave;
    expect_fault(bench, bench.run(bytes), x86::kGp);
    EXPECT_TRUE(bench.v.state.xsave == before);
  }
  // LDMXCSR
  prepare(random_state(), 0);
  bench.poke(kAt, std::array<u8, 4>{0x80, 0x1f, 1, 0});
  expect_fault(bench, bench.run({0x0f, 0xae, 0x13}), x86::kGp);
}

TEST_F(SaveArea, MisalignedAreasAreRefused) {
  prepare(random_state(), 7);
  bench.v.state.gpr[x86::kRbx] = kAt + 8;
  expect_fault(bench, bench.run(kFxsave64), x86::kGp);
  expect_fault(bench, bench.run(kFxrstor), x86::kGp);
  bench.v.state.gpr[x86::kRbx] = kAt + 32;
  EXPECT_EQ(bench.run(kFxsave64), Flow::kNext);
  expect_fault(bench, bench.run(kXsave64), x86::kGp);
  expect_fault(bench, bench.run(kXrstor64), x86::kGp);
}

TEST_F(SaveArea, AnAreaThatRunsIntoAHoleFaultsBeforeAnythingIsWritten) {
  prepare(random_state(), 7);
  const u64 at = kHole - 576;
  bench.poke(at, std::vector<u8>(576, 0));
  bench.v.state.gpr[x86::kRbx] = at;
  EXPECT_EQ(bench.run(kXsave64), Flow::kFault);
  EXPECT_EQ(bench.v.fault.vector, x86::kPf);
  EXPECT_EQ(bench.v.fault.address, kHole);
  EXPECT_EQ(bench.peek(at, 576), std::vector<u8>(576, 0));
  bench.v.state.gpr[x86::kRax] = 3;  // without AVX it fits
  EXPECT_EQ(bench.run(kXsave64), Flow::kNext);
}

TEST_F(SaveArea, OnlyEightRegistersAreMovedOutside64BitMode) {
  bench.enter_protected_mode();
  XsaveArea& x = bench.v.state.xsave;
  for (unsigned n = 0; n < 16; ++n) x.xmm(n)[0] = x.ymm_hi(n)[0] = static_cast<u8>(n + 1);
  bench.v.state.gpr[x86::kRbx] = 0x2000;
  bench.v.state.gpr[x86::kRax] = 7;
  bench.v.state.gpr[x86::kRdx] = 0;
  bench.poke(0x2000, std::vector<u8>(kArea, 0));
  ASSERT_EQ(bench.run(kXsave), Flow::kNext);
  EXPECT_EQ(bench.peek(0x2000 + 160 + 16 * 7, 1)[0], 8);
  EXPECT_EQ(bench.peek(0x2000 + 160 + 16 * 8, 1)[0], 0);
  EXPECT_EQ(bench.peek(0x2000 + 576 + 16 * 8, 1)[0], 0);
  ASSERT_EQ(bench.run({0xc5, 0xfc, 0x77}), Flow::kNext);  // vzeroall
  EXPECT_EQ(x.xmm(7)[0], 0);
  EXPECT_EQ(x.xmm(8)[0], 9);
  ASSERT_EQ(bench.run(kXrstor), Flow::kNext);
  EXPECT_EQ(x.xmm(7)[0], 8);
  EXPECT_EQ(x.ymm_hi(7)[0], 8);
}

}  // namespace
}  // namespace vellum::test
