#include "protection_bench.hpp"

#include "cpu/system/segments.hpp"

namespace vellum::test {

using x86::Seg;
namespace flag = x86::rflags;

namespace {

std::unique_ptr<GuestRam> make_ram() {
  return std::move(GuestRam::create(u64{4} << 20).value());
}

constexpr unsigned kTss32 = 9;

}  // namespace

int InterruptBoard::acknowledge_interrupt() {
  if (vectors_.empty()) {
    hazards_.clear(Hazards::kInterrupt);
    return -1;
  }
  const u8 vector = vectors_.front();
  vectors_.pop_front();
  if (vectors_.empty()) hazards_.clear(Hazards::kInterrupt);
  return vector;
}

void InterruptBoard::request(u8 vector) {
  vectors_.push_back(vector);
  hazards_.set(Hazards::kInterrupt);
}

Bench::Bench()
    : ram_(make_ram()),
      space_{*ram_, mmio_, ports_},
      model_(x86::CpuModel::create("x86-64-v3").value()),
      v(0, space_, board, clock_, model_, hazards) {
  v.state = reset_state(true);
  restore_gdt();
  v.state.gdtr = {.base = kGdt, .limit = 0xff};
  v.state.idtr = {.base = kIdt, .limit = 0xfff};
  v.state.rip = kStart;
}

void Bench::restore_gdt() {
  using namespace ar;
  constexpr u32 kAll = 0xffffffff;
  set_descriptor(kCode0, kPresent | kCode | k32, 0, kAll);
  set_descriptor(kData0, kPresent | kData | k32, 0, kAll);
  set_descriptor(kCode3, kPresent | kCode | k32 | dpl(3), 0, kAll);
  set_descriptor(kData3, kPresent | kData | k32 | dpl(3), 0, kAll);
  set_descriptor(kCode64, kPresent | kCode | k64, 0, kAll);
  set_descriptor(kCode64User, kPresent | kCode | k64 | dpl(3), 0, kAll);
  set_descriptor(kConforming0, kPresent | kCode | 4 | k32, 0, kAll);
  set_descriptor(kCode16, kPresent | kCode | k16, 0, 0xffff);
  set_descriptor(kStack16, kPresent | kData | k16, 0x10000, 0xffff);
  set_descriptor(kCode1, kPresent | kCode | k32 | dpl(1), 0, kAll);
  set_descriptor(kData1, kPresent | kData | k32 | dpl(1), 0, kAll);
  set_system(kTssA, kTss32, 0, kTssABase, 0xff);
  set_system(kTssB, kTss32, 0, kTssBBase, 0xff);
  set_system(kLdt, x86::kLdt, 0, kLdtBase, 0xff);
  set_descriptor(kConforming3, kPresent | kCode | 4 | k32 | dpl(3), 0, kAll);
  set_descriptor(kExecuteOnly, kPresent | 0x19 | k32, 0, kAll);
  set_descriptor(kReadOnly, kPresent | 0x11 | k32, 0, kAll);
  set_descriptor(kAbsentCode, kCode | k32, 0, kAll);
  set_descriptor(kAbsentData, kData | k32, 0, kAll);
  set_descriptor(kExpandDown, kPresent | 0x17 | 0x4000, 0, 0xfff);
  set_descriptor(kSmallCode, kPresent | kCode | 0x4000, 0, 0xfff);
  set_descriptor(kSmallStack, kPresent | kData | 0x4000, kStack0 - 0x1000, 0xfff);
  set_descriptor(kBadCode64, kPresent | kCode | k64 | k32, 0, kAll);
}

void Bench::load(Seg s, u16 selector) {
  seg(s) = x86::parse_descriptor(selector, descriptor(selector));
}

void Bench::load_all(u16 code, u16 data, u64 stack) {
  load(Seg::kCs, code);
  for (const Seg s : {Seg::kSs, Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs}) load(s, data);
  v.state.cpl = code & 3;
  v.state.rflags &= ~(flag::kVm | flag::kIopl);
  rsp() = stack;
}

void Bench::finish() {
  v.mmu.update_context();
  v.mmu.flush_all();
}

void Bench::enter_real() {
  v.state.cr0 &= ~(x86::cr0::kPe | x86::cr0::kPg);
  v.state.idtr = {.base = 0, .limit = 0x3ff};
  for (const Seg s : {Seg::kCs, Seg::kSs, Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs})
    seg(s) = {.selector = 0x1000, .attributes = 0x93, .limit = 0xffff, .base = 0x10000};
  v.state.rip = 0x100;
  rsp() = 0x8000;
  finish();
}

void Bench::enter_protected(unsigned cpl) {
  const u16 code[] = {kCode0, kCode1 | 1, 0, kCode3 | 3};
  const u16 data[] = {kData0, kData1 | 1, 0, kData3 | 3};
  const u64 stack[] = {kStack0, kStack1, 0, kStack3};
  v.state.cr0 |= x86::cr0::kPe;
  load_all(code[cpl], data[cpl], stack[cpl]);
  v.state.ldtr = x86::parse_descriptor(kLdt, descriptor(kLdt));
  write(kGdt + kTssA + 5, 1, 0x80 | x86::kTss32Busy);
  v.state.tr = x86::parse_descriptor(kTssA, descriptor(kTssA));
  write(kTssABase + 4, 4, kStack0);
  write(kTssABase + 8, 2, kData0);
  write(kTssABase + 12, 4, kStack1);
  write(kTssABase + 16, 2, kData1 | 1);
  finish();
}

void Bench::enter_protected_16() {
  enter_protected(0);
  load(Seg::kCs, kCode16);
  load(Seg::kSs, kStack16);
  rsp() = 0x8000;
  v.state.rip = 0x100;
  finish();
}

void Bench::enter_v86(unsigned iopl) {
  enter_protected(3);
  v.state.rflags |= flag::kVm | (u64{iopl} << 12) | flag::kIf;
  for (const Seg s : {Seg::kCs, Seg::kSs, Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs})
    EXPECT_TRUE(load_segment(v, s, 0x1000 + static_cast<u16>(s)));
  v.state.rip = 0x100;
  rsp() = 0x8000;
  finish();
}

void Bench::enter_long(unsigned cpl) {
  // PML4 → PDPT → PD → two page tables: 4 MiB in 4 KiB pages, user and writable.
  constexpr u64 kTable = 7;
  write(kPageTables, 8, (kPageTables + 0x1000) | kTable);
  write(kPageTables + 0x1000, 8, (kPageTables + 0x2000) | kTable);
  for (u64 i = 0; i < 2; ++i)
    write(kPageTables + 0x2000 + 8 * i, 8, (kPageTables + 0x3000 + 0x1000 * i) | kTable);
  for (u64 i = 0; i < 1024; ++i) write(kPageTables + 0x3000 + 8 * i, 8, (i << 12) | kTable);
  enter_protected(cpl);
  v.state.cr3 = kPageTables;
  v.state.cr4 |= x86::cr4::kPae;
  v.state.msr.efer = x86::efer::kLme | x86::efer::kLma | x86::efer::kSce | x86::efer::kNxe;
  v.state.cr0 |= x86::cr0::kPg | x86::cr0::kWp;
  load(Seg::kCs, cpl == 0 ? kCode64 : kCode64User | 3);
  // A 64-bit TSS: RSP0 at 4, IST1 at 36.
  write(kTssABase + 4, 8, kStack0);
  write(kTssABase + 12, 8, kStack1);
  write(kTssABase + 36, 8, kIstStack);
  finish();
}

void Bench::enter_compatibility(unsigned cpl) {
  enter_long(cpl);
  load(Seg::kCs, cpl == 0 ? kCode0 : kCode3 | 3);
  finish();
}

void Bench::enable_paging() {
  write(kPageTables, 4, (kPageTables + 0x1000) | 7);
  for (u64 i = 0; i < 1024; ++i) write(kPageTables + 0x1000 + 4 * i, 4, (i << 12) | 7);
  v.state.cr3 = kPageTables;
  v.state.cr0 |= x86::cr0::kPg | x86::cr0::kWp;
  finish();
}

void Bench::map_page(u64 linear, u64 flags) {
  const bool long_mode = v.state.long_mode_active();
  const u64 page = linear >> 12;
  const u64 entry = long_mode ? kPageTables + 0x3000 + 8 * page : kPageTables + 0x1000 + 4 * page;
  write(entry, long_mode ? 8 : 4, (page << 12) | flags);
  v.mmu.flush_all();
}

void Bench::set_descriptor(u16 selector, u16 attributes, u64 base, u32 limit) {
  write(kGdt + (selector & 0xfff8), 8,
        x86::make_descriptor({.selector = selector, .attributes = attributes, .limit = limit, .base = base}));
}

void Bench::set_system(u16 selector, unsigned type, unsigned dpl, u64 base, u32 limit, bool present) {
  const auto attributes = static_cast<u16>(type | dpl << 5 | (present ? ar::kPresent : 0));
  set_descriptor(selector, attributes, base, limit);
  write(kGdt + (selector & 0xfff8) + 8, 8, base >> 32);
}

void Bench::set_call_gate(u16 selector, unsigned type, unsigned dpl, u16 target, u64 offset,
                          unsigned parameters) {
  const u64 low = (offset & 0xffff) | u64{target} << 16 | u64{parameters} << 32 |
                  u64{0x80 | type | dpl << 5} << 40 | bits(offset, 31, 16) << 48;
  write(kGdt + selector, 8, low);
  if (v.state.long_mode_active()) write(kGdt + selector + 8, 8, offset >> 32);
}

void Bench::set_gate(u8 vector, unsigned type, u16 target, u64 offset, unsigned dpl, unsigned ist) {
  const bool long_mode = v.state.long_mode_active();
  const u64 present = type == 0 ? 0 : 0x80;
  const u64 low = (offset & 0xffff) | u64{target} << 16 | u64{ist} << 32 | (present | type | dpl << 5) << 40 |
                  bits(offset, 31, 16) << 48;
  write(kIdt + vector * (long_mode ? 16 : 8), 8, low);
  if (long_mode) write(kIdt + vector * 16 + 8, 8, offset >> 32);
}

u64 Bench::descriptor(u16 selector) {
  return read(kGdt + (selector & 0xfff8), 8);
}

u64 Bench::read(u64 address, unsigned size) {
  u64 value = 0;
  EXPECT_TRUE(space_.read(GuestPhys(address), {reinterpret_cast<u8*>(&value), size})) << address;
  return value;
}

void Bench::write(u64 address, unsigned size, u64 value) {
  EXPECT_TRUE(space_.write(GuestPhys(address), {reinterpret_cast<const u8*>(&value), size})) << address;
}

void Bench::put_on_stack(unsigned size, std::vector<u64> values) {
  rsp() -= size * values.size();
  const u64 top = v.state.mode_64() ? rsp() : seg(Seg::kSs).base + rsp();
  for (std::size_t i = 0; i < values.size(); ++i) write(top + i * size, size, values[i]);
}

std::vector<u64> Bench::items(u64 address, unsigned size, unsigned count) {
  std::vector<u64> values;
  for (unsigned i = 0; i < count; ++i) values.push_back(read(address + u64{i} * size, size));
  return values;
}

std::string Bench::outcome(bool ok, const std::vector<u8>& before) {
  if (ok) return "ok";
  const x86::Exception& e = v.fault;
  std::string text = x86::vector_name(e.vector);
  if (e.has_error_code) text += fmt::format("({:#x})", e.error_code);
  if (e.kind == x86::EventKind::kTrap) return text + " at target";
  if (encode_state(v.state).bytes != before) text += " and changed the state";
  return text;
}

}  // namespace vellum::test
