// Every combination of paging mode, page size, R/W, U/S and XD at each level, CPL, kind of access, WP, SMEP,
// SMAP, AC and NXE against the SDM's rules (sdm_oracle.hpp); with cold and with warm TLB, through the
// accesses that guests use.
#include <fmt/format.h>

#include "fixture.hpp"
#include "sdm_oracle.hpp"

namespace vellum::test {
namespace {

struct Shape {
  const char* name;
  Mode mode;
  unsigned leaf_level;
  unsigned levels;  // entries that control the translation
};

// A linear address whose low 30 bits lead to RAM at 3 MiB in pages of every size.
constexpr u64 kLinear4Level = 0x7f8040300000, kLinear32 = 0x40300000, kPhysical = 0x300000;

class PermissionMatrix : public testing::TestWithParam<Shape> {
 protected:
  PermissionMatrix() : m(GetParam().mode) {
    linear = GetParam().mode == Mode::k4Level ? kLinear4Level : kLinear32;
    const unsigned page_shift = 12 + GetParam().leaf_level * m.index_bits();
    m.map(linear, kPhysical >> page_shift << page_shift, kRw | kUs, GetParam().leaf_level);
    for (unsigned i = 0; i < GetParam().levels; ++i) {
      const unsigned level = GetParam().leaf_level + GetParam().levels - 1 - i;
      places.push_back(
          {m.entry_at(linear, level).value, m.entry(linear, level) & ~(kP | kRw | kUs | kA | kD)});
    }
  }

  // Writes the entries that `flags` describes, four bits for each level: P, R/W, U/S, XD.
  void set_entries(unsigned flags) {
    q.entries.clear();
    for (const auto& [place, base] : places) {
      const Question::Entry e{(flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0, (flags & 8) != 0};
      flags >>= 4;
      q.entries.push_back(e);
      m.write_entry(place, base | (e.present ? kP : 0) | (e.writable ? kRw : 0) | (e.user ? kUs : 0) |
                               (e.xd ? kXd : 0));
    }
  }

  void set_controls(unsigned controls) {
    q.xd_exists = GetParam().mode != Mode::k32Bit;
    q.wp = (controls & 1) != 0;
    q.smep = (controls & 2) != 0;
    q.smap = (controls & 4) != 0;
    q.nxe = (controls & 8) != 0;
    m.set_bit(m.state.cr0, x86::cr0::kWp, q.wp);
    m.set_bit(m.state.cr4, x86::cr4::kSmep, q.smep);
    m.set_bit(m.state.cr4, x86::cr4::kSmap, q.smap);
    m.set_bit(m.state.msr.efer, x86::efer::kNxe, q.nxe);
  }

  // Who: 0 CPL 0, 1 CPL 0 with AC, 2 CPL 3, 3 CPL 3 with AC, 4 implicit at CPL 3, 5 the same with AC.
  void set_context(unsigned who) {
    q.ac = (who & 1) != 0;
    q.implicit = who >= 4;
    q.user_mode = who == 2 || who == 3;
    m.set_bit(m.state.rflags, x86::rflags::kAc, q.ac);
    m.set_cpl(who >= 2 ? 3 : 0);
  }

  bool access(char kind) {
    u64 wide = 0;
    u8 byte = 0;
    Mmu::FetchPage page;
    if (kind == 'x') return m.mmu.fetch(linear, page);
    if (q.implicit)
      return kind == 'r' ? m.mmu.read_as(Privilege::kImplicit, linear, 1, wide)
                         : m.mmu.write_as(Privilege::kImplicit, linear, 1, 0);
    return kind == 'r' ? m.mmu.read<u8>(linear, byte) : m.mmu.write<u8>(linear, 0);
  }

  // Compares one access with the SDM's verdict; true if they agree.
  bool agrees(char kind) {
    q.kind = kind;
    const std::optional<u32> wanted = sdm_verdict(q);
    const bool done = access(kind);
    ++cases;
    const bool right =
        done ? !wanted.has_value()
             : wanted == m.fault.error_code && m.fault.vector == x86::kPf && m.fault.address == linear;
    if (!right) {
      std::string entries;
      for (const Question::Entry& e : q.entries)
        entries += fmt::format(" [{}{}{}{}]", e.present ? "P" : "", e.writable ? "W" : "", e.user ? "U" : "",
                               e.xd ? "X" : "");
      ADD_FAILURE() << fmt::format(
          "{} '{}' user={} implicit={} wp={} smep={} smap={} ac={} nxe={} entries{}: SDM {:#x}, got {:#x}",
          GetParam().name, kind, q.user_mode, q.implicit, q.wp, q.smep, q.smap, q.ac, q.nxe, entries,
          wanted ? int(*wanted) : -1, done ? -1 : int(m.fault.error_code));
    }
    return right;
  }

  bool all_agree(unsigned who, bool cold) {
    set_context(who);
    for (const char kind : {'r', 'w', 'x'}) {
      if (kind == 'x' && q.implicit) continue;  // fetches are never implicit accesses
      if (cold) m.mmu.flush_all();
      if (!agrees(kind)) return false;
    }
    return true;
  }

  Machine m;
  u64 linear = 0;
  std::vector<std::pair<u64, u64>> places;  // where each entry stands and its address bits, topmost first
  Question q;
  u64 cases = 0;
};

// All rights at all levels, all present.
TEST_P(PermissionMatrix, RightsAgreeWithTheSdm) {
  const unsigned rights_per_level = GetParam().mode == Mode::k32Bit ? 4 : 8;
  unsigned combinations = 1;
  for (unsigned i = 0; i < GetParam().levels; ++i) combinations *= rights_per_level;
  for (unsigned combination = 0; combination < combinations; ++combination) {
    unsigned flags = 0;
    for (unsigned i = 0, rest = combination; i < GetParam().levels; ++i, rest /= rights_per_level)
      flags |= (1 | rest % rights_per_level << 1) << (4 * i);
    for (unsigned controls = 0; controls < 16; ++controls) {
      set_controls(controls);
      set_entries(flags);
      m.mmu.flush_all();
      for (unsigned who = 0; who < 6; ++who) ASSERT_TRUE(all_agree(who, false));
    }
  }
  RecordProperty("cases", static_cast<int>(cases));
}

// The same with entries that are not present, or whose XD is reserved, at any level; the TLB is flushed each
// time.
TEST_P(PermissionMatrix, MissingAndReservedEntriesAgreeWithTheSdm) {
  const unsigned step = GetParam().mode == Mode::k32Bit ? 8 : 16;
  unsigned combinations = 1;
  for (unsigned i = 0; i < GetParam().levels; ++i) combinations *= step;
  for (unsigned combination = 0; combination < combinations; ++combination) {
    unsigned flags = 0;
    for (unsigned i = 0, rest = combination; i < GetParam().levels; ++i, rest /= step)
      flags |= rest % step << (4 * i);
    for (const unsigned controls : {0b0000u, 0b0110u, 0b1001u, 0b1111u}) {
      set_controls(controls);
      set_entries(flags);
      for (unsigned who = 0; who < 6; ++who) ASSERT_TRUE(all_agree(who, true));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paging, PermissionMatrix,
                         testing::Values(Shape{"FourLevel4K", Mode::k4Level, 0, 4},
                                         Shape{"FourLevel2M", Mode::k4Level, 1, 3},
                                         Shape{"FourLevel1G", Mode::k4Level, 2, 2},
                                         Shape{"Pae4K", Mode::kPae, 0, 2}, Shape{"Pae2M", Mode::kPae, 1, 1},
                                         Shape{"Legacy4K", Mode::k32Bit, 0, 2},
                                         Shape{"Legacy4M", Mode::k32Bit, 1, 1}),
                         [](const auto& param) { return param.param.name; });

// The oracle itself: exactly one rule speaks of any access.
TEST(SdmOracle, RulesAreCompleteAndDisjoint) {
  for (unsigned n = 0; n < 1u << 11; ++n) {
    for (const char kind : {'r', 'w', 'x'}) {
      const auto is = [n](unsigned b) { return (n >> b & 1) != 0; };
      const Question question{is(0), !is(0) && is(1), kind,  is(2), is(3),
                              is(4), is(5),           is(6), is(7), {{true, is(8), is(9), is(10)}}};
      ASSERT_EQ(rules_that_apply(question), 1u) << n << kind;
    }
  }
}

}  // namespace
}  // namespace vellum::test
