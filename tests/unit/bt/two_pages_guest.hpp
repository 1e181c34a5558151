// A loop over two guest-virtual pages, the second of which may be either of two physical ones: jumps between
// pages hold for one mapping each.
#pragma once

#include <cstring>

#include "long_guest.hpp"

namespace vellum::bt {

class TwoPagesGuest : public LongGuest {
 protected:
  /// kData counts in RAX, kData + 0x1000 in RBX.
  static constexpr u64 kFar = 0x200000;
  static constexpr u64 kBack = kCode + 0x40;

  /// An instruction in kFar's page and the next: INC RAX or INC RBX, as the second page is kCountsRax or
  /// kCountsRbx (cross()).
  static constexpr u64 kCrossing = kFar + 0xffe;
  static constexpr u64 kCountsRax = kData + 0x1000, kCountsRbx = kData + 0x2000;

  TwoPagesGuest() : TwoPagesGuest({.cache_bytes = 4 << 20, .threshold = 0}) {}
  /// kPml4 has kData there. A jump from kCode to kFar, which is the test's, makes it a loop of RCX rounds.
  explicit TwoPagesGuest(const Options& options) : LongGuest(options) {
    map(kPml4, kData);
    code({0x48, 0xff, 0xc0}, kData);           // INC RAX
    code({0x48, 0xff, 0xc3}, kData + 0x1000);  // INC RBX
    for (const u64 page : {kData, kData + 0x1000}) jump(page + 3, kFar + 3, kBack);
    code({0xff, 0xc9, 0x75, 0xbc, 0xf4}, kBack);  // DEC ECX; JNZ kCode; HLT
  }
  /// Tables at `pml4` and the three pages behind it: as LongGuest's, and kFar -> `physical`.
  void map(u64 pml4, u64 physical) {
    const u64 pt = pml4 == kPml4 ? 0x5000 : pml4 + 0x3000;
    put64(pml4, (pml4 + 0x1000) | 3);
    put64(pml4 + 0x1000, (pml4 + 0x2000) | 3);
    put64(pml4 + 0x2000, 0x83);
    put64(pml4 + 0x2008, pt | 3);
    put64(pt, physical | 3);
  }
  /// Once more, from `from`. Not by push(), which flushes what is known of mappings.
  void run_again(u64 from, u64 rounds) {
    VcpuState& s = engine_.vcpu().state;
    s.activity = Activity::kRunning;
    s.rip = from;
    s.gpr[x86::kRcx] = rounds;
    resume();
  }
  /// Behind kCrossing goes on at `target`. kPml4 has kCountsRax.
  void cross(u64 target) {
    code({0x48, 0xff}, kData + 0xffe);
    code({0xc0}, kCountsRax);
    code({0xc3}, kCountsRbx);
    for (const u64 page : {kCountsRax, kCountsRbx}) jump(page + 1, kFar + 0x1001, target);
    map_second(kPml4, kCountsRax);
  }
  void map_second(u64 pml4, u64 physical) {
    put64((pml4 == kPml4 ? 0x5000 : pml4 + 0x3000) + 8, physical | 3);
  }
  void jump(u64 at, u64 linear, u64 target) {
    code({0xe9}, at);
    const u32 distance = static_cast<u32>(target - (linear + 5));
    std::memcpy(ram_->host(GuestPhys(at + 1)), &distance, 4);
  }
};

}  // namespace vellum::bt
