// What the guest fuzzer runs: arbitrary code, found at several addresses, in one of eight modes, among
// descriptor tables, page tables and registers that are partly nonsense and follow from a seed.
//
//   0x00000  IVT (real mode), then noise    0x10000  PML4 or page directory   0x18000  noise
//   0x04000  GDT                            0x11000  PDPT (4 in a row)        0x20000  code, every 4 KiB
//   0x06000  IDT                            0x12000  page directory           0x40000  stacks
//   0x08000  LDT                            0x13000  page tables              0x50000  TSSs
//   0x60000  noise
#pragma once

#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace vellum::fuzz {

enum class Mode : u8 { kReal, kVirtual8086, kFlat16, kFlat32, kPaged32, kPae, kCompat, kLong };

class Guest {
 public:
  Guest(GuestRam& ram, Mode mode, u8 privilege, u64 seed)
      : ram_(ram), mode_(mode), cpl_(privilege), noise_(seed) {}

  void fill(std::span<const u8> code) {
    for (u64 at = 0; at < kMemory; at += 8) put(at, noise_.below(4) == 0 ? noise_.next() : 0);
    for (u64 at = kCode; at < kCodeEnd; at += kPageSize) {
      const u64 room = kCodeEnd - at;
      guest_copy(ram_.host(GuestPhys(at)), code.data(), std::min<u64>(code.size(), room));
    }
    if (mode_ == Mode::kReal || mode_ == Mode::kVirtual8086)
      for (u64 vector = 0; vector < 256; ++vector) put(4 * vector, code_address() - kCode, u64{kCode} >> 4);
    tables();
    paging();
  }

  VcpuState state(unsigned index) {
    VcpuState s = reset_state(true);
    for (u64& r : s.gpr) r = interesting();
    s.gpr[x86::kRsp] = kStacks + 0x1000 * (noise_.below(14) + 1) - 8 * noise_.below(8);
    s.rip = mode_ == Mode::kReal || mode_ == Mode::kVirtual8086 ? 0 : kCode;
    s.rflags |= noise_.next() & (x86::rflags::kArithmetic | x86::rflags::kIf | x86::rflags::kDf);
    if (noise_.below(8) == 0)
      s.rflags |=
          noise_.next() & (x86::rflags::kTf | x86::rflags::kAc | x86::rflags::kIopl | x86::rflags::kNt);
    s.gdtr = {kGdt, static_cast<u16>(noise_.below(8) == 0 ? noise_.next() : 0x1fff)};
    s.idtr = {mode_ == Mode::kReal ? 0 : kIdt,
              static_cast<u16>(noise_.below(8) == 0 ? noise_.next() : 0xfff)};
    s.ldtr = {.selector = 0x30, .attributes = 0x82, .limit = 0xfff, .base = kLdt};
    s.tr = {.selector = kTssSelector, .attributes = 0x8b, .limit = 0x2067, .base = kTss + index * 0x4000};
    s.cpl = cpl_;
    control(s);
    segments(s);
    vectors(s.xsave);
    s.msr.star = u64{kCode0} << 32 | u64{kCode3 - 16 + 3} << 48;
    s.msr.lstar = s.msr.cstar = kCode;
    s.msr.sysenter_cs = kCode0;
    s.msr.sysenter_eip = kCode;
    s.msr.sysenter_esp = kStacks + 0x2000;
    for (u64& dr : s.dr) dr = code_address();
    if (noise_.below(8) == 0) s.dr7 |= noise_.next() & 0xffff03ff;
    return s;
  }

 private:
  static constexpr u64 kGdt = 0x4000, kIdt = 0x6000, kLdt = 0x8000, kTop = 0x10000, kPdpt = 0x11000,
                       kDirectory = 0x12000, kTables = 0x13000, kCode = 0x20000, kCodeEnd = 0x40000,
                       kStacks = 0x40000, kTss = 0x50000;
  static constexpr u16 kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x18, kData3 = 0x20, kTssSelector = 0x28;
  static constexpr u64 kSlots = 512;

  void put(u64 at, u64 value) { guest_store(ram_.host(GuestPhys(at)), value); }
  void put(u64 at, u64 low, u64 high) {
    guest_store(ram_.host(GuestPhys(at)), static_cast<u16>(low));
    guest_store(ram_.host(GuestPhys(at + 2)), static_cast<u16>(high));
  }
  bool long_mode() const { return mode_ == Mode::kLong || mode_ == Mode::kCompat; }
  bool paged() const { return mode_ >= Mode::kPaged32; }
  u64 code_address() { return kCode + noise_.below(64); }

  /// Addresses near edges, in tables and devices, and plain noise.
  u64 interesting() {
    switch (noise_.below(8)) {
      case 0:
        return noise_.below(kMemory);
      case 1:
        return kMemory - noise_.below(32);
      case 2:
        return (noise_.below(128) << 12) - noise_.below(32);
      case 3:
        return 0xfee0'0000 + 16 * noise_.below(64);
      case 4:
        return 0xfec0'0000 + 16 * noise_.below(2);
      case 5:
        return 0x0000'8000'0000'0000 - noise_.below(64);
      case 6:
        return noise_.below(256);
      default:
        return noise_.next() >> noise_.below(64);
    }
  }

  static u64 descriptor(u64 base, u32 limit, u64 attributes) {
    return (limit & 0xffff) | (base & 0xffffff) << 16 | (attributes & 0xff) << 40 |
           (limit >> 16 & 0xfull) << 48 | (attributes >> 12 & 0xf) << 52 | (base >> 24 & 0xff) << 56;
  }

  u64 code_attributes(unsigned dpl) const {
    const u64 size = mode_ == Mode::kLong ? 0xa000 : mode_ == Mode::kFlat16 ? 0x8000 : 0xc000;
    return 0x9b | u64{dpl} << 5 | size;
  }

  void tables() {
    for (const u64 table : {kGdt, kLdt})
      for (u64 n = 0; n < 64; ++n)  // descriptors of all types, most with a sensible base
        put(table + 8 * n,
            descriptor(noise_.below(4) == 0 ? noise_.next() : kTss, static_cast<u32>(noise_.below(0x10000)),
                       (noise_.next() & 0xf07f) | (noise_.below(8) == 0 ? 0 : 0x80)));
    put(kGdt, 0);
    put(kGdt + kCode0, descriptor(0, 0xfffff, code_attributes(0)));
    put(kGdt + kData0, descriptor(0, 0xfffff, 0xc093));
    put(kGdt + kCode3, descriptor(0, 0xfffff, code_attributes(3)));
    put(kGdt + kData3, descriptor(0, 0xfffff, 0xc0f3));
    put(kGdt + kTssSelector, descriptor(kTss, 0x2067, 0x8b));
    for (u64 vector = 0; vector < 256; ++vector) {
      const u64 target = noise_.below(16) == 0 ? noise_.next() & 0xffff'ffff : code_address();
      const u64 selector = noise_.below(16) == 0 ? noise_.next() & 0xffff : kCode0;
      const u64 types = long_mode() ? 0xefeeull : 0x8586'8e8full;
      const u64 type =
          noise_.below(32) == 0 ? noise_.next() & 0xff : (types >> 8 * noise_.below(4) & 0xff) | 0x8e;
      const u64 gate = (target & 0xffff) | selector << 16 | (long_mode() ? noise_.below(8) << 32 : 0) |
                       type << 40 | (target >> 16 & 0xffff) << 48;
      put(kIdt + (long_mode() ? 16 : 8) * vector, gate);
      if (long_mode()) put(kIdt + 16 * vector + 8, target >> 32 & 0xffff'ffff);
    }
    for (u64 at = kTss; at < kTss + 0x68; at += 8)
      put(at, (kStacks + 0x1000 * noise_.below(15)) << (long_mode() ? 32 : 0));
    put(kTss + 0x64, 0x0068'0000);  // I/O map base
  }

  /// An identity mapping with holes, odd rights, reserved bits and wild frames.
  u64 entry(u64 frame) {
    u64 e = frame | 7;
    switch (noise_.below(24)) {
      case 0:
        e &= ~u64{1};
        break;
      case 1:
        e &= ~u64{2};
        break;
      case 2:
        e &= ~u64{4};
        break;
      case 3:
        e ^= u64{1} << noise_.below(64);
        break;
      case 4:
        e = (noise_.below(160) << 12) | 7;
        break;
      case 5:
        e = noise_.next();
        break;
      default:
        break;
    }
    return e;
  }

  void paging() {
    if (!paged()) return;
    if (mode_ == Mode::kPaged32) {
      for (u64 n = 0; n < 2 * kSlots; ++n) {
        const u32 table = static_cast<u32>(n == 0 ? kTables | 7 : entry(noise_.below(128) << 12));
        guest_store(ram_.host(GuestPhys(kTop + 4 * n)), table);
        guest_store(ram_.host(GuestPhys(kTables + 4 * n)), static_cast<u32>(entry(n << 12)));
      }
    } else {
      for (u64 n = 1; n < kSlots; ++n) {
        put(kTop + 8 * n, entry(kPdpt));
        put(kPdpt + 8 * n, entry(kDirectory));
        put(kDirectory + 8 * n, entry(noise_.below(2) == 0 ? kTables : (noise_.below(64) << 12) | 0x80));
      }
      put(kTop, kPdpt | 7);
      put(kPdpt, kDirectory | (mode_ == Mode::kPae ? 1 : 7));
      put(kDirectory, kTables | 7);
      for (u64 n = 0; n < kSlots; ++n) put(kTables + 8 * n, entry(n << 12));
    }
    // The first code page is there, or nothing much happens.
    if (mode_ == Mode::kPaged32)
      guest_store(ram_.host(GuestPhys(kTables + 4 * (kCode >> 12))), static_cast<u32>(kCode | 7));
    else
      put(kTables + 8 * (kCode >> 12), kCode | 7);
  }

  void control(VcpuState& s) {
    namespace cr0 = x86::cr0;
    namespace cr4 = x86::cr4;
    s.cr0 = cr0::kEt | (noise_.next() & (cr0::kWp | cr0::kAm | cr0::kNe | cr0::kMp));
    if (noise_.below(16) == 0) s.cr0 |= noise_.next() & (cr0::kTs | cr0::kEm);
    s.cr4 = cr4::kOsfxsr | cr4::kOsxmmexcpt | cr4::kOsxsave;
    s.cr4 |= noise_.next() &
             (cr4::kVme | cr4::kPvi | cr4::kDe | cr4::kPse | cr4::kPge | cr4::kUmip | cr4::kFsgsbase);
    if (noise_.below(4) == 0) s.cr4 |= noise_.next() & (cr4::kSmep | cr4::kSmap | cr4::kTsd);
    s.xcr0 = x86::xcr0::kX87 | x86::xcr0::kSse | x86::xcr0::kAvx;
    s.msr.efer = x86::efer::kSce | (noise_.next() & x86::efer::kNxe);
    if (mode_ != Mode::kReal) s.cr0 |= cr0::kPe;
    if (mode_ >= Mode::kPae) s.cr4 |= cr4::kPae;
    if (long_mode()) {
      s.msr.efer |= x86::efer::kLme | x86::efer::kLma;
      s.cr4 |= noise_.next() & cr4::kPcide;
    }
    if (paged()) s.cr0 |= cr0::kPg;
    s.cr3 = mode_ == Mode::kPae ? kPdpt : kTop;
    if (mode_ == Mode::kPae) s.pdpte[0] = kDirectory | 1;
    if (mode_ == Mode::kVirtual8086) s.rflags |= x86::rflags::kVm;
  }

  void vectors(XsaveArea& area) {
    area.header[0] = 7;
    for (unsigned n = 0; n < 16; ++n) {
      for (u8* at : {area.xmm(n), area.ymm_hi(n)}) {
        const u64 words[]{interesting(), noise_.next()};
        std::memcpy(at, words, sizeof words);
      }
    }
  }

  void segments(VcpuState& s) {
    using x86::Seg;
    if (mode_ == Mode::kReal || mode_ == Mode::kVirtual8086) {
      const u16 attributes = mode_ == Mode::kReal ? 0x93 : 0xf3;
      for (x86::Segment& segment : s.seg) segment = {static_cast<u16>(kCode >> 4), attributes, 0xffff, kCode};
      s.segment(Seg::kSs) = {static_cast<u16>(kStacks >> 4), attributes, 0xffff, kStacks};
      s.gpr[x86::kRsp] &= 0xffff;
      return;
    }
    const u16 rpl = cpl_;
    const u16 dpl = static_cast<u16>(cpl_ << 5);
    const u16 data = static_cast<u16>((cpl_ == 0 ? kData0 : kData3) | rpl);
    for (x86::Segment& segment : s.seg) {
      segment = {data, static_cast<u16>(0xc093 | dpl), ~u32{0}, 0};
      if (noise_.below(8) == 0) segment.limit = static_cast<u32>(noise_.next() >> noise_.below(64));
    }
    s.segment(Seg::kCs) = {static_cast<u16>((cpl_ == 0 ? kCode0 : kCode3) | rpl),
                           static_cast<u16>(code_attributes(cpl_)), ~u32{0}, 0};
    s.segment(Seg::kSs).limit = ~u32{0};
    s.segment(Seg::kGs).base = long_mode() ? 0x1000 : 0;
  }

  GuestRam& ram_;
  const Mode mode_;
  const u8 cpl_;
  Noise noise_;
};

}  // namespace vellum::fuzz
