// MOV to and from control registers, LMSW, CLTS: every check of the SDM's pages, and what each write flushes.
#include "fixture.hpp"

namespace vellum::test {
namespace {

class ControlRegisters : public ControlTest {
 protected:
  u64 read(unsigned n) {
    u64 value = 0;
    EXPECT_TRUE(read_cr(*v, n, value));
    return value;
  }
};

TEST_F(ControlRegisters, OnlyDocumentedNumbersExist) {
  enter_long();
  u64 value;
  for (const unsigned n : {1u, 5u, 6u, 7u, 9u, 15u}) {
    expect_ud(write_cr(*v, n, 0));
    expect_ud(read_cr(*v, n, value));
  }
}

TEST_F(ControlRegisters, Cr8ExistsIn64BitModeOnly) {
  u64 value;
  expect_ud(read_cr(*v, 8, value));
  enter_long();
  ASSERT_TRUE(write_cr(*v, 8, 15));
  EXPECT_EQ(board.cr8, 15);
  EXPECT_EQ(read(8), 15u);
  expect_gp(write_cr(*v, 8, 16));
  expect_gp(write_cr(*v, 8, bit(63)));
}

TEST_F(ControlRegisters, PrivilegeIsCheckedAfterExistence) {
  enter_long();
  u64 value;
  for (const u8 cpl : {1, 2, 3}) {
    set_cpl(cpl);
    for (const unsigned n : {0u, 2u, 3u, 4u, 8u}) {
      expect_gp(write_cr(*v, n, 0));
      expect_gp(read_cr(*v, n, value));
    }
    expect_ud(write_cr(*v, 1, 0));
    expect_gp(load_msw(*v, 1));
    expect_gp(clear_ts(*v));
  }
}

struct Cr0Case {
  const char* what;
  u64 value;
  bool valid;
};
class Cr0Combination : public ControlRegisters, public testing::WithParamInterface<Cr0Case> {};

TEST_P(Cr0Combination, FromRealMode) {
  const u64 before = v->state.cr0;
  const bool ok = write_cr(*v, 0, GetParam().value);
  EXPECT_EQ(ok, GetParam().valid) << GetParam().what;
  EXPECT_EQ(v->state.cr0, ok ? GetParam().value | cr0::kEt : before) << GetParam().what;
}

INSTANTIATE_TEST_SUITE_P(
    Values, Cr0Combination,
    testing::Values(
        Cr0Case{"nothing", 0, true}, Cr0Case{"PE", cr0::kPe, true}, Cr0Case{"PG without PE", cr0::kPg, false},
        Cr0Case{"PG and PE", cr0::kPg | cr0::kPe, true}, Cr0Case{"NW without CD", cr0::kNw, false},
        Cr0Case{"CD without NW", cr0::kCd, true}, Cr0Case{"NW and CD", cr0::kNw | cr0::kCd, true},
        Cr0Case{"bit 32", bit(32), false}, Cr0Case{"bit 63", bit(63) | cr0::kPe, false},
        Cr0Case{"all others", cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kNe | cr0::kWp | cr0::kAm,
                true}),
    [](const auto& instance) { return "Case" + std::to_string(instance.index); });

TEST_F(ControlRegisters, Cr0IgnoresReservedBitsOfTheLowHalf) {
  ASSERT_TRUE(write_cr(*v, 0, cr0::kPe | bit(6) | bit(15) | bit(17) | bit(28)));
  EXPECT_EQ(read(0), cr0::kPe | cr0::kEt);
}

// --- IA-32e mode (vol. 3A §9.8.5)
// --------------------------------------------------------------------------------

class LongModeEntry : public ControlRegisters {
 protected:
  LongModeEntry() {
    enter_long();
    v->state.segment(Seg::kCs).attributes = 0xc09b;
    v->state.cr0 &= ~cr0::kPg;
    v->state.msr.efer = efer::kLme;
    resync(*v);
  }
  bool enable_paging() { return write_cr(*v, 0, v->state.cr0 | cr0::kPg); }
};

TEST_F(LongModeEntry, PagingWithLmeSetsLma) {
  ASSERT_TRUE(enable_paging());
  EXPECT_EQ(v->state.msr.efer, efer::kLme | efer::kLma);
}

TEST_F(LongModeEntry, NeedsPae) {
  v->state.cr4 = 0;
  expect_gp(enable_paging());
  EXPECT_EQ(v->state.msr.efer, efer::kLme);
}

TEST_F(LongModeEntry, RefusesACodeSegmentWithL) {
  v->state.segment(Seg::kCs).attributes = 0xa09b;
  expect_gp(enable_paging());
}

TEST_F(LongModeEntry, RefusesA16BitTss) {
  v->state.tr.attributes = 0x83;
  expect_gp(enable_paging());
}

TEST_F(LongModeEntry, LeavingFromCompatibilityModeClearsLma) {
  ASSERT_TRUE(enable_paging());
  ASSERT_TRUE(write_cr(*v, 0, v->state.cr0 & ~cr0::kPg));
  EXPECT_EQ(v->state.msr.efer, efer::kLme);
}

TEST_F(ControlRegisters, PagingCannotBeTurnedOffIn64BitMode) {
  enter_long();
  expect_gp(write_cr(*v, 0, v->state.cr0 & ~cr0::kPg));
  EXPECT_TRUE(v->state.long_mode_active());
}

TEST_F(ControlRegisters, PagingCannotBeTurnedOffUnderPcid) {
  enter_long();
  v->state.segment(Seg::kCs).attributes = 0xc09b;
  ASSERT_TRUE(write_cr(*v, 4, v->state.cr4 | cr4::kPcide));
  expect_gp(write_cr(*v, 0, v->state.cr0 & ~cr0::kPg));
}

// --- PAE paging's PDPTEs (vol. 3A §4.4.1)
// --------------------------------------------------------------------------

class PaePaging : public ControlRegisters {
 protected:
  static constexpr u64 kTable = 0x6000, kBadTable = 0x6020;
  PaePaging() {
    enter_protected();
    for (unsigned i = 0; i < 4; ++i) put64(kTable + 8 * i, kPd | 1);
    put64(kPd, 0x87);
    put64(kBadTable, kPd | 1 | bit(1));  // R/W is reserved in a PDPTE
    v->state.cr3 = kTable;
    v->state.cr4 = cr4::kPae;
  }
};

TEST_F(PaePaging, TurningPagingOnLoadsThem) {
  ASSERT_TRUE(write_cr(*v, 0, v->state.cr0 | cr0::kPg));
  EXPECT_EQ(v->state.pdpte[3], kPd | 1);
}

TEST_F(PaePaging, AReservedBitIsGpAndChangesNothing) {
  v->state.cr3 = kBadTable;
  expect_gp(write_cr(*v, 0, v->state.cr0 | cr0::kPg));
  EXPECT_EQ(v->state.cr0 & cr0::kPg, 0u);
  v->state.cr3 = kTable;
  ASSERT_TRUE(write_cr(*v, 0, v->state.cr0 | cr0::kPg));
  expect_gp(write_cr(*v, 3, kBadTable));
  EXPECT_EQ(v->state.cr3, kTable);
  EXPECT_EQ(v->state.pdpte[0], kPd | 1);
}

struct PdpteTrigger {
  unsigned cr;
  u64 toggled;
  bool reloads;
};
class PdpteReload : public PaePaging, public testing::WithParamInterface<PdpteTrigger> {};

TEST_P(PdpteReload, OnlyWhereTheSdmSaysSo) {
  ASSERT_TRUE(write_cr(*v, 0, v->state.cr0 | cr0::kPg));
  put64(kTable, 0);  // seen only by a reload
  const PdpteTrigger t = GetParam();
  ASSERT_TRUE(write_cr(*v, t.cr, read(t.cr) ^ t.toggled));
  EXPECT_EQ(v->state.pdpte[0], t.reloads ? 0 : kPd | 1);
}

INSTANTIATE_TEST_SUITE_P(Writes, PdpteReload,
                         testing::Values(PdpteTrigger{0, cr0::kNw, true},
                                         PdpteTrigger{0, cr0::kCd | cr0::kNw, true},
                                         PdpteTrigger{0, cr0::kWp, false}, PdpteTrigger{0, cr0::kTs, false},
                                         PdpteTrigger{3, 0, true}, PdpteTrigger{4, cr4::kPge, true},
                                         PdpteTrigger{4, cr4::kPse, true}, PdpteTrigger{4, cr4::kSmep, true},
                                         PdpteTrigger{4, cr4::kSmap, false},
                                         PdpteTrigger{4, cr4::kTsd, false}));

// --- CR3
// -----------------------------------------------------------------------------------------------------------

TEST_F(ControlRegisters, Cr3RefusesBitsBeyondThePhysicalAddress) {
  enter_long();
  ASSERT_TRUE(write_cr(*v, 3, kPml4 | 0x18));
  EXPECT_EQ(read(3), kPml4 | 0x18);
  for (const unsigned n : {40u, 51u, 62u, 63u}) expect_gp(write_cr(*v, 3, kPml4 | bit(n)));
}

TEST_F(ControlRegisters, Cr3FlushesAllButGlobalEntries) {
  enter_long();
  make_stale();
  ASSERT_TRUE(write_cr(*v, 3, kPml4));
  EXPECT_TRUE(flushed());
  EXPECT_FALSE(global_flushed());
}

TEST_F(ControlRegisters, NoFlushBitKeepsThePcidsEntries) {
  enter_long();
  ASSERT_TRUE(write_cr(*v, 4, v->state.cr4 | cr4::kPcide));
  ASSERT_TRUE(write_cr(*v, 3, kPml4 | 5));
  make_stale();
  ASSERT_TRUE(write_cr(*v, 3, kPml4 | 6 | bit(63)));
  EXPECT_EQ(read(3), kPml4 | 6);  // bit 63 is not stored
  ASSERT_TRUE(write_cr(*v, 3, kPml4 | 5 | bit(63)));
  EXPECT_FALSE(flushed());
  ASSERT_TRUE(write_cr(*v, 3, kPml4 | 5));
  EXPECT_TRUE(flushed());
  expect_gp(write_cr(*v, 3, kPml4 | bit(62)));
}

// --- CR4
// -----------------------------------------------------------------------------------------------------------

TEST_F(ControlRegisters, Cr4TakesExactlyTheModelsBits) {
  for (unsigned n = 0; n < 64; ++n) {
    if (bit(n) == cr4::kPcide) continue;
    const bool valid = (model.cr4_valid_bits() & bit(n)) != 0;
    EXPECT_EQ(write_cr(*v, 4, bit(n)), valid) << n;
    EXPECT_EQ(v->state.cr4 == bit(n), valid) << n;
  }
}

TEST_F(ControlRegisters, La57IsRefused) {
  expect_gp(write_cr(*v, 4, cr4::kLa57));
}

TEST_F(ControlRegisters, PaeMayNotBeClearedInLongMode) {
  enter_long();
  expect_gp(write_cr(*v, 4, cr4::kPge));
}

TEST_F(ControlRegisters, PcideNeedsLongModeAndPcidZero) {
  expect_gp(write_cr(*v, 4, cr4::kPcide | cr4::kPae));
  enter_long();
  v->state.cr3 = kPml4 | 0x10;
  expect_gp(write_cr(*v, 4, v->state.cr4 | cr4::kPcide));
  v->state.cr3 = kPml4;
  ASSERT_TRUE(write_cr(*v, 4, v->state.cr4 | cr4::kPcide));
  ASSERT_TRUE(write_cr(*v, 3, kPml4 | 7));
  // Set already: other bits may change whatever the PCID is.
  EXPECT_TRUE(write_cr(*v, 4, v->state.cr4 | cr4::kTsd));
}

struct Cr4Flush {
  u64 toggled;
  bool flushes;
};
class Cr4Flushes : public ControlRegisters, public testing::WithParamInterface<Cr4Flush> {};

TEST_P(Cr4Flushes, GlobalEntriesToo) {
  enter_long();
  make_stale();
  ASSERT_TRUE(write_cr(*v, 4, v->state.cr4 ^ GetParam().toggled));
  EXPECT_EQ(flushed(), GetParam().flushes);
  EXPECT_EQ(global_flushed(), GetParam().flushes);
}

INSTANTIATE_TEST_SUITE_P(Bits, Cr4Flushes,
                         testing::Values(Cr4Flush{cr4::kPge, true}, Cr4Flush{cr4::kSmep, true},
                                         Cr4Flush{cr4::kPcide, true}, Cr4Flush{cr4::kPse, true},
                                         Cr4Flush{cr4::kTsd, false}, Cr4Flush{cr4::kOsxsave, false}));

TEST_F(ControlRegisters, ClearingPcideReturnsToPcidZero) {
  enter_long();
  ASSERT_TRUE(write_cr(*v, 4, v->state.cr4 | cr4::kPcide));
  ASSERT_TRUE(write_cr(*v, 3, kPml4 | 9));
  make_stale();
  ASSERT_TRUE(write_cr(*v, 4, v->state.cr4 & ~cr4::kPcide));
  EXPECT_TRUE(flushed());
  EXPECT_TRUE(global_flushed());
  map_to(kPageA);
  ASSERT_TRUE(write_cr(*v, 3, kPml4));
  EXPECT_EQ(load(kLinear), kValueA);
}

TEST_F(ControlRegisters, WriteProtectionTakesEffectAtOnce) {
  enter_long();
  put64(kPt, kPageA | 5);  // read-only
  ASSERT_TRUE(v->mmu.write_as(Privilege::kSupervisor, kLinear, 8, 1));
  ASSERT_TRUE(write_cr(*v, 0, v->state.cr0 | cr0::kWp));
  EXPECT_FALSE(v->mmu.write_as(Privilege::kSupervisor, kLinear, 8, 2));
  EXPECT_EQ(v->fault.vector, kPf);
}

// --- LMSW, CLTS
// ------------------------------------------------------------------------------------------------------

TEST_F(ControlRegisters, LmswSetsFourBitsAndNeverClearsPe) {
  const u64 caches = v->state.cr0;
  ASSERT_TRUE(load_msw(*v, 0xffff));
  EXPECT_EQ(v->state.cr0, caches | 0xf);
  ASSERT_TRUE(load_msw(*v, 0));
  EXPECT_EQ(v->state.cr0, caches | cr0::kPe);
}

TEST_F(ControlRegisters, CltsClearsTsAlone) {
  v->state.cr0 |= cr0::kTs | cr0::kMp;
  const u64 before = v->state.cr0;
  ASSERT_TRUE(clear_ts(*v));
  EXPECT_EQ(v->state.cr0, before & ~cr0::kTs);
}

}  // namespace
}  // namespace vellum::test
