#include "boot/entry_state.hpp"

namespace vellum {
namespace {

// Attributes as in x86::Segment: G, D/B or L, P, S and the type with its accessed bit.
constexpr u16 kCode32 = 0xc09b, kCode64 = 0xa09b, kData = 0xc093, kTss32Busy = 0x008b;

x86::Segment flat(u16 selector, u16 attributes) {
  return {selector, attributes, 0xffffffff, 0};
}

// A task segment must be loaded to satisfy VMX and long mode; nothing reads it before the kernel loads its
// own.
x86::Segment task_segment() {
  return {kBootTss, kTss32Busy, 0x67, 0};
}

EntryState flat_entry(GuestPhys gdt, u16 code_attributes, u64 entry) {
  EntryState state;
  state.rip = entry;
  state.seg.fill(flat(kBootDs, kData));
  state.seg[static_cast<unsigned>(x86::Seg::kCs)] = flat(kBootCs, code_attributes);
  state.tr = task_segment();
  state.gdtr = {gdt.value, kBootGdtSize - 1};
  state.cr0 = x86::cr0::kPe | x86::cr0::kEt;
  return state;
}

}  // namespace

std::array<u64, kBootGdtSize / 8> boot_gdt(bool long_mode) {
  return {0,
          0,
          make_descriptor(flat(kBootCs, long_mode ? kCode64 : kCode32)),
          make_descriptor(flat(kBootDs, kData)),
          make_descriptor(task_segment()),
          0};
}

EntryState protected_mode_entry(GuestPhys gdt, u64 entry) {
  return flat_entry(gdt, kCode32, entry);
}

EntryState long_mode_entry(GuestPhys gdt, GuestPhys pml4, u64 entry) {
  EntryState state = flat_entry(gdt, kCode64, entry);
  state.cr0 |= x86::cr0::kPg;
  state.cr3 = pml4.value;
  state.cr4 = x86::cr4::kPae;
  state.efer = x86::efer::kLme | x86::efer::kLma;
  return state;
}

std::array<u64, kIdentityTablePages * 512> identity_page_tables(GuestPhys at) {
  constexpr u64 kPresent = 1, kWritable = 2, kLarge = bit(7);
  constexpr unsigned kDirectories = 4;
  std::array<u64, kIdentityTablePages * 512> tables{};
  tables[0] = (at.value + kPageSize) | kPresent | kWritable;
  for (unsigned i = 0; i < kDirectories; ++i)
    tables[512 + i] = (at.value + (2 + i) * kPageSize) | kPresent | kWritable;
  for (u64 i = 0; i < kDirectories * 512; ++i) tables[1024 + i] = (i << 21) | kPresent | kWritable | kLarge;
  return tables;
}

}  // namespace vellum
