#include "fixture.hpp"

namespace vellum::test {
namespace {

std::unique_ptr<GuestRam> make_ram() {
  auto ram = GuestRam::create(Machine::kRamSize, Machine::kBlockRoom);
  return std::move(ram.value());
}

}  // namespace

Machine::Machine(Mode paging, u32 stamp_limit)
    : ram(make_ram()), space{*ram, mmio, ports}, mmu(space, board, state, fault, stamp_limit) {
  enter(paging);
}

void Machine::enter(Mode paging) {
  mode = paging;
  for (u64 a = kRoot; a < kRoot + 0x40000; a += 8) poke<u64>(a, 0);
  next_table_ = kRoot + kPageSize;
  state = VcpuState{};
  state.cr3 = kRoot;
  state.cr0 = paging == Mode::kUnpaged ? x86::cr0::kPe : x86::cr0::kPe | x86::cr0::kPg | x86::cr0::kWp;
  state.cr4 = paging == Mode::k32Bit ? x86::cr4::kPse : x86::cr4::kPae;
  state.cr4 |= x86::cr4::kPge;
  if (paging == Mode::k4Level) state.msr.efer = x86::efer::kLme | x86::efer::kLma;
  if (paging == Mode::k4Level || paging == Mode::kPae) state.msr.efer |= x86::efer::kNxe;
  if (paging == Mode::kPae) {
    for (u64 i = 0; i < 4; ++i) {
      poke<u64>(kRoot + 8 * i, next_table_ | kP);
      next_table_ += kPageSize;
    }
    EXPECT_TRUE(load_pdptes(space, mmu.paging_features(), state.cr3, state.pdpte));
  }
  mmu.update_context();
  mmu.flush_all();
}

GuestPhys Machine::entry_at(u64 linear, unsigned level) {
  u64 table = kRoot;
  unsigned at = top_level();
  if (mode == Mode::kPae) {
    table = peek<u64>(kRoot + 8 * ((linear >> 30) & 3)) & ~u64{0xfff};
    at = 1;
  }
  for (;; --at) {
    const u64 index = (linear >> (12 + at * index_bits())) & ((u64{1} << index_bits()) - 1);
    const u64 where = table + index * entry_bytes();
    if (at == level) return GuestPhys(where);
    u64 value = entry_bytes() == 4 ? peek<u32>(where) : peek<u64>(where);
    if ((value & kP) == 0) {
      value = next_table_ | kP | kRw | kUs;
      next_table_ += kPageSize;
      write_entry(where, value);
    }
    table = value & 0xfffffff000;
  }
}

u64 Machine::entry(u64 linear, unsigned level) {
  const u64 at = entry_at(linear, level).value;
  return entry_bytes() == 4 ? peek<u32>(at) : peek<u64>(at);
}

void Machine::map(u64 linear, u64 physical, u64 flags, unsigned level) {
  set_entry(linear, level, physical | flags | kP | (level > 0 ? kPs : 0));
}

void expect_page_fault(const Machine& m, bool done, u64 address, u32 error_code) {
  EXPECT_FALSE(done);
  EXPECT_EQ(m.fault.vector, x86::kPf);
  EXPECT_EQ(m.fault.kind, x86::EventKind::kFault);
  EXPECT_TRUE(m.fault.has_error_code);
  EXPECT_EQ(m.fault.error_code, error_code);
  EXPECT_EQ(m.fault.address, address);
}

void expect_fault(const Machine& m, bool done, u8 vector) {
  EXPECT_FALSE(done);
  EXPECT_EQ(m.fault.vector, vector);
  EXPECT_TRUE(m.fault.has_error_code);
  EXPECT_EQ(m.fault.error_code, 0u);
}

}  // namespace vellum::test
