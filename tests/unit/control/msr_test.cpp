// Model-specific registers: what exists on which model, and which values each takes.
#include <set>

#include "cpu/system/msr_table.hpp"
#include "fixture.hpp"

namespace vellum::test {
namespace {

class Msr : public ControlTest {
 protected:
  using ControlTest::ControlTest;
  u64 read(u32 index) {
    u64 value = 0;
    EXPECT_TRUE(read_msr(*v, index, value)) << std::hex << index;
    return value;
  }
};

TEST_F(Msr, TableIsNamedAndUseful) {
  std::set<std::string_view> names;
  for (const MsrRow& row : msr_table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.read != nullptr || row.write != nullptr) << row.name;
  }
}

TEST_F(Msr, UnknownOnesAreGp) {
  u64 value;
  for (const u32 index : {0x0u, 0x3au, 0xc1u, 0x17bu, 0x186u, 0x400u, 0x480u, 0x606u, 0xda0u, 0xc0000105u,
                          0xc0010015u, 0xffffffffu}) {
    expect_gp(read_msr(*v, index, value));
    expect_gp(write_msr(*v, index, 0));
  }
}

TEST_F(Msr, PrivilegeIsChecked) {
  enter_long();
  set_cpl(3);
  u64 value;
  expect_gp(read_msr(*v, msr::kTsc, value));
  expect_gp(write_msr(*v, msr::kPat, v->state.msr.pat));
}

// One row for each rule: a value that is taken and reads back, or is refused and changes nothing.
struct WriteCase {
  u32 index;
  u64 value;
  bool valid;
};
class MsrWrites : public Msr, public testing::WithParamInterface<WriteCase> {};

TEST_P(MsrWrites, AreChecked) {
  const WriteCase c = GetParam();
  const u64 before = read(c.index);
  const bool ok = write_msr(*v, c.index, c.value);
  EXPECT_EQ(ok, c.valid) << std::hex << c.index << " " << c.value;
  EXPECT_EQ(read(c.index), c.valid ? c.value : before) << std::hex << c.index << " " << c.value;
  EXPECT_TRUE(ok || v->fault.vector == kGp);
}

TEST_F(Msr, ThatThereIsNotIsCountedByNumber) {
  u64 value = 0;
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(read_msr(*v, 0x12345, value));
  EXPECT_FALSE(write_msr(*v, 0x12345, 0));
  EXPECT_TRUE(read_msr(*v, msr::kFsBase, value));
  for (u32 n = 0; n < 40; ++n) EXPECT_FALSE(read_msr(*v, 0x5000 + n, value));
  std::vector<StatRow> rows;
  v->unknown_msrs.stats("vcpu0", rows);
  ASSERT_EQ(rows.size(), 34u) << "32 numbers, one of them both ways, and the rest";
  EXPECT_EQ(rows[0].name, "MSR 0x12345 read, which there is not: #GP");
  EXPECT_EQ(rows[0].count, 3u);
  EXPECT_EQ(rows[1].name, "MSR 0x12345 written, which there is not: #GP");
  EXPECT_EQ(rows[1].count, 1u);
  EXPECT_EQ(rows.back().name, "further MSRs read, which there is not: #GP");
  EXPECT_EQ(rows.back().count, 9u);
}

constexpr u64 kNonCanonical = u64{1} << 47, kKernel = 0xffff800000000000;

INSTANTIATE_TEST_SUITE_P(
    Canonical, MsrWrites,
    testing::Values(
        WriteCase{msr::kFsBase, kKernel, true}, WriteCase{msr::kFsBase, kNonCanonical, false},
        WriteCase{msr::kGsBase, kKernel, true}, WriteCase{msr::kGsBase, kNonCanonical, false},
        WriteCase{msr::kKernelGsBase, kKernel, true}, WriteCase{msr::kKernelGsBase, kNonCanonical, false},
        WriteCase{msr::kLstar, kKernel, true}, WriteCase{msr::kLstar, kNonCanonical, false},
        WriteCase{msr::kCstar, kKernel, true}, WriteCase{msr::kCstar, bit(63), false},
        WriteCase{msr::kSysenterEsp, kKernel, true}, WriteCase{msr::kSysenterEsp, kNonCanonical, false},
        WriteCase{msr::kSysenterEip, kKernel, true}, WriteCase{msr::kSysenterEip, kNonCanonical, false}));

INSTANTIATE_TEST_SUITE_P(
    ReservedBits, MsrWrites,
    testing::Values(WriteCase{msr::kStar, ~u64{0}, true}, WriteCase{msr::kSfmask, 0xffffffff, true},
                    WriteCase{msr::kSfmask, bit(32), false}, WriteCase{msr::kTscAux, 0xffffffff, true},
                    WriteCase{msr::kTscAux, bit(32), false}, WriteCase{msr::kSysenterCs, 0xffffffff, true},
                    WriteCase{msr::kSpecCtrl, 0x403, true}, WriteCase{msr::kSpecCtrl, 4, false},
                    WriteCase{msr::kMcgStatus, 7, true}, WriteCase{msr::kMcgStatus, 8, false},
                    WriteCase{msr::kDebugctl, 2, true}, WriteCase{msr::kDebugctl, 1, false},
                    WriteCase{msr::kMiscEnable, 0x1801, true}, WriteCase{msr::kMiscEnable, 0x401801, true},
                    WriteCase{msr::kMiscEnable, 0x1801 | bit(34), false},
                    WriteCase{msr::kMiscEnable, 0x1801 | bit(18), false}));

INSTANTIATE_TEST_SUITE_P(
    MemoryTypes, MsrWrites,
    testing::Values(WriteCase{msr::kPat, 0x0706050401000000, true},
                    WriteCase{msr::kPat, 0x0000000000000002, false},
                    WriteCase{msr::kPat, 0x0300000000000000, false},
                    WriteCase{msr::kPat, 0x0000000000000008, false},
                    WriteCase{msr::kMtrrDefType, 0xc06, true}, WriteCase{msr::kMtrrDefType, 0x007, false},
                    WriteCase{msr::kMtrrDefType, 0x1006, false}, WriteCase{msr::kMtrrDefType, 0x106, false},
                    WriteCase{0x200, 0x80000006, true}, WriteCase{0x200, 0x80000002, false},
                    WriteCase{0x200, 0x106, false}, WriteCase{0x20e, bit(40), false},
                    WriteCase{0x20e, bit(39) | 1, true}, WriteCase{0x201, 0xff80000800, true},
                    WriteCase{0x201, 0xff80000001, false}, WriteCase{0x20f, bit(40) | 0x800, false},
                    WriteCase{0x250, 0x0606060606060606, true}, WriteCase{0x258, 0x0505050505050505, true},
                    WriteCase{0x259, 0x0706060606060606, false}, WriteCase{0x268, 0x0101010101010101, true},
                    WriteCase{0x26f, 0x0404040404040404, true}, WriteCase{0x26f, 0x0000000000000003, false}));

TEST_F(Msr, EachMtrrHasItsOwnPlace) {
  std::set<u32> indices{0x250, 0x258, 0x259};
  for (u32 i = 0x268; i <= 0x26f; ++i) indices.insert(i);
  u64 types = 0;
  for (const u32 i : indices) ASSERT_TRUE(write_msr(*v, i, types++ % 2 == 0 ? 0x06 : 0x0500 | types % 2));
  for (u32 i = 0x200; i <= 0x20f; ++i) ASSERT_TRUE(write_msr(*v, i, u64{i} << 12));
  types = 0;
  for (const u32 i : indices) {
    const u64 expected = types++ % 2 == 0 ? 0x06 : 0x0500 | types % 2;
    EXPECT_EQ(read(i), expected) << std::hex << i;
  }
  for (u32 i = 0x200; i <= 0x20f; ++i) EXPECT_EQ(read(i), u64{i} << 12);
  u64 value;
  for (const u32 i : {0x210u, 0x251u, 0x25au, 0x267u, 0x270u}) expect_gp(read_msr(*v, i, value));
}

TEST_F(Msr, ReadOnlyOnes) {
  EXPECT_EQ(read(msr::kMtrrCap), 0x508u);
  EXPECT_EQ(read(msr::kMcgCap), 0u);
  EXPECT_EQ(read(msr::kArchCapabilities), model.arch_capabilities());
  EXPECT_EQ(read(msr::kPlatformInfo), 10u << 8);  // the virtual clock: 1 GHz
  for (const u32 index :
       {msr::kMtrrCap, msr::kMcgCap, msr::kArchCapabilities, msr::kPlatformInfo, msr::kPlatformId})
    expect_gp(write_msr(*v, index, 0));
}

TEST_F(Msr, PredictionCommandIsWriteOnly) {
  u64 value;
  EXPECT_TRUE(write_msr(*v, msr::kPredCmd, 1));
  EXPECT_TRUE(write_msr(*v, msr::kPredCmd, 0));
  expect_gp(write_msr(*v, msr::kPredCmd, 2));
  expect_gp(read_msr(*v, msr::kPredCmd, value));
}

TEST_F(Msr, MicrocodeRevisionSurvivesIntelsReadingProtocol) {
  ASSERT_TRUE(write_msr(*v, msr::kBiosSignId, 0));
  EXPECT_NE(read(msr::kBiosSignId) >> 32, 0u);
}

// --- EFER
// ----------------------------------------------------------------------------------------------------------

TEST_F(Msr, EferTakesTheModelsBits) {
  for (unsigned n = 0; n < 64; ++n) {
    const bool valid = n == 0 || n == 8 || n == 10 || n == 11;
    EXPECT_EQ(write_msr(*v, msr::kEfer, bit(n)), valid) << n;
  }
  ASSERT_TRUE(write_msr(*v, msr::kEfer, efer::kLma | efer::kSce));
  EXPECT_EQ(read(msr::kEfer), efer::kSce);  // LMA is the processor's
}

TEST_F(Msr, LmeMayNotChangeUnderPaging) {
  enter_long();
  expect_gp(write_msr(*v, msr::kEfer, 0));
  EXPECT_EQ(read(msr::kEfer), efer::kLme | efer::kLma);
  ASSERT_TRUE(write_msr(*v, msr::kEfer, efer::kLme | efer::kSce));
  EXPECT_EQ(read(msr::kEfer), efer::kLme | efer::kLma | efer::kSce);
}

TEST_F(Msr, NxeChangesWhatPageTablesMean) {
  enter_long();
  put64(kPt, kPageA | 7 | bit(63));
  Mmu::FetchPage page;
  EXPECT_FALSE(v->mmu.fetch(kLinear, page));  // bit 63 is reserved
  EXPECT_EQ(v->fault.error_code & pf::kReserved, pf::kReserved);
  ASSERT_TRUE(write_msr(*v, msr::kEfer, efer::kLme | efer::kNxe));
  EXPECT_FALSE(v->mmu.fetch(kLinear, page));
  EXPECT_EQ(v->fault.error_code & pf::kReserved, 0u);
  EXPECT_EQ(load(kLinear), kValueA);
}

// --- Time
// ------------------------------------------------------------------------------------------------------------

TEST_F(Msr, TscAndTscAdjustMoveTogether) {
  clock.retire(1000);
  EXPECT_EQ(read(msr::kTsc), 1000u);
  ASSERT_TRUE(write_msr(*v, msr::kTsc, 5000));
  EXPECT_EQ(read(msr::kTscAdjust), 4000u);
  clock.retire(10);
  EXPECT_EQ(read_tsc(*v), 5010u);
  ASSERT_TRUE(write_msr(*v, msr::kTscAdjust, static_cast<u64>(-10)));
  EXPECT_EQ(read(msr::kTsc), 1000u);
}

TEST_F(Msr, DeadlineIsInTheVcpusOwnTicks) {
  clock.retire(1000);
  ASSERT_TRUE(write_msr(*v, msr::kTscAdjust, 500));
  ASSERT_TRUE(write_msr(*v, msr::kTscDeadline, 4500));
  EXPECT_EQ(board.msrs[msr::kTscDeadline], 4000u);
  EXPECT_EQ(read(msr::kTscDeadline), 4500u);
  ASSERT_TRUE(write_msr(*v, msr::kTscDeadline, 0));
  EXPECT_EQ(board.msrs[msr::kTscDeadline], 0u);
  EXPECT_EQ(read(msr::kTscDeadline), 0u);
}

TEST_F(Msr, MovingTheTscKeepsAnArmedDeadlinesValue) {
  clock.retire(1000);
  ASSERT_TRUE(write_msr(*v, msr::kTscDeadline, 9000));
  ASSERT_TRUE(write_msr(*v, msr::kTsc, 3000));
  EXPECT_EQ(read(msr::kTscDeadline), 9000u);
  EXPECT_EQ(board.msrs[msr::kTscDeadline], 7000u);
}

TEST_F(Msr, AnOverdueDeadlineIsDueNow) {
  clock.retire(1000);
  ASSERT_TRUE(write_msr(*v, msr::kTscAdjust, 1'000'000));
  ASSERT_TRUE(write_msr(*v, msr::kTscDeadline, 5));  // before this vCPU's time zero on the board's clock
  EXPECT_EQ(board.msrs[msr::kTscDeadline], 1000u);
}

// --- The board's
// -------------------------------------------------------------------------------------------------------

TEST_F(Msr, ApicRegistersAreTheBoards) {
  EXPECT_EQ(read(msr::kApicBase), 0xfee00900u);
  ASSERT_TRUE(write_msr(*v, msr::kApicBase, 0xfee00d00));
  EXPECT_EQ(board.msrs[msr::kApicBase], 0xfee00d00u);
  expect_gp(write_msr(*v, msr::kApicBase, bit(40) | 0x900));
  EXPECT_EQ(read(msr::kX2apicFirst + 2), 0x30000u);
  u64 value;
  expect_gp(read_msr(*v, msr::kX2apicFirst + 1, value));
  expect_gp(write_msr(*v, msr::kX2apicLast, 0));
}

// --- Models
// ------------------------------------------------------------------------------------------------------------

class AmdMsr : public ControlTest {
 protected:
  AmdMsr() {
    model = test_model("host", "AuthenticAMD");
    resync(*v);
  }
};

TEST_F(AmdMsr, HasAmdsAndNotIntels) {
  u64 value = 0;
  for (const u32 index : {msr::kAmdSyscfg, msr::kAmdHwcr, msr::kAmdNbCfg, msr::kAmdDeCfg}) {
    EXPECT_TRUE(read_msr(*v, index, value)) << std::hex << index;
    EXPECT_TRUE(write_msr(*v, index, value)) << std::hex << index;
  }
  for (const u32 index : {msr::kMiscEnable, msr::kPlatformId, msr::kPlatformInfo})
    expect_gp(read_msr(*v, index, value));
  ASSERT_TRUE(read_msr(*v, msr::kBiosSignId, value));
  EXPECT_NE(value & 0xffffffff, 0u);
}

TEST_F(Msr, CpuidSeesTheVcpu) {
  enter_long();
  v->state.cr4 |= cr4::kOsxsave;
  v->state.xcr0 = 7;
  EXPECT_EQ(cpuid(*v, 0xb, 1), (CpuidResult{2, 4, 0x201, 3}));
  EXPECT_EQ(cpuid(*v, 1, 0).ecx >> 27 & 1, 1u);
  EXPECT_EQ(cpuid(*v, 1, 0).edx >> 9 & 1, 1u);
  EXPECT_EQ(cpuid(*v, 0xd, 0).ebx, 832u);
  EXPECT_EQ(cpuid(*v, 0x40000010, 0).eax, 1'000'000u);
  board.msrs[msr::kApicBase] = 0xfee00100;
  EXPECT_EQ(cpuid(*v, 1, 0).edx >> 9 & 1, 0u);
  ASSERT_TRUE(write_msr(*v, msr::kMiscEnable, msr::misc_enable::kLimitCpuid));
  EXPECT_EQ(cpuid(*v, 0, 0).eax, 2u);
}

}  // namespace
}  // namespace vellum::test
