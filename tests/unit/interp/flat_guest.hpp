// A guest in flat 32-bit protected mode without paging: code and data at chosen guest-physical addresses, and
// exception handlers that halt at address 0x8000 + vector.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>

#include "base/clock.hpp"
#include "cpu/bare_board.hpp"
#include "cpu/interp/interpreter.hpp"

namespace vellum::interp {

class QuietBoard final : public BareBoard {
 public:
  int acknowledge_interrupt() override {
    const int v = vector;
    vector = -1;
    hazards->clear(Hazards::kInterrupt);
    return v;
  }

  bool drive_ferr(bool asserted) override {
    ferr = asserted;
    ignne = ignne && asserted;
    return ignne;
  }

  bool ferr = false, ignne = false;
  int vector = -1;
  Hazards* hazards = nullptr;
};

class FlatGuest : public ::testing::Test {
 protected:
  static constexpr u64 kCode = 0x1000, kGdt = 0x6000, kIdt = 0x7000, kHandlers = 0x8000, kStack = 0xa000,
                       kData = 0x10000;

  FlatGuest()
      : ram_(*GuestRam::create(4 << 20)),
        model_(*x86::CpuModel::create("x86-64-v2")),
        space_{*ram_, mmio_, ports_},
        engine_(0, space_, board_, clock_, model_, hazards_) {
    board_.hazards = &hazards_;
    put64(kGdt + 8, 0x00cf9b000000ffff);   // flat code
    put64(kGdt + 16, 0x00cf93000000ffff);  // flat data
    for (u64 n = 0; n < 256; ++n) {
      const u64 handler = kHandlers + n;
      put64(kIdt + 8 * n, (handler & 0xffff) | (u64{8} << 16) | (u64{0x8e00} << 32));
      ram_->host(GuestPhys(handler))[0] = 0xf4;  // HLT
    }
    VcpuState& s = state_;
    s = reset_state(true);
    s.cr0 |= x86::cr0::kPe;
    const x86::Segment data{.selector = 16, .attributes = 0xc093, .limit = 0xffffffff, .base = 0};
    for (auto& segment : s.seg) segment = data;
    s.segment(x86::Seg::kCs) = {.selector = 8, .attributes = 0xc09b, .limit = 0xffffffff, .base = 0};
    s.gdtr = {kGdt, 23};
    s.idtr = {kIdt, 0x7ff};
    s.rip = kCode;
    s.gpr[x86::kRsp] = kStack;
  }

  void put64(u64 a, u64 value) { *reinterpret_cast<u64*>(ram_->host(GuestPhys(a))) = value; }
  void code(std::initializer_list<int> bytes, u64 at = kCode) {
    u8* p = ram_->host(GuestPhys(at));
    for (const int b : bytes) *p++ = static_cast<u8>(b);
    ram_->note_store(GuestPhys(at), bytes.size());
  }
  Exit run(u64 instructions = 1000) {
    engine_.push(StateMask::kAll, state_);
    return resume(instructions);
  }
  Exit resume(u64 instructions = 1000) {
    const u64 before = engine_.retired();
    Exit e = engine_.run(Budget{instructions});
    ran_ = engine_.retired() - before;
    engine_.pull(StateMask::kAll, state_);
    return e;
  }
  u32 eax() const { return static_cast<u32>(state_.gpr[x86::kRax]); }
  u32 ecx() const { return static_cast<u32>(state_.gpr[x86::kRcx]); }
  /// The vector whose handler the guest halted in, or -1.
  int halted_in_handler() const {
    if (state_.activity != Activity::kHalted || state_.rip <= kHandlers || state_.rip > kHandlers + 256)
      return -1;
    return static_cast<int>(state_.rip - 1 - kHandlers);
  }

  std::unique_ptr<GuestRam> ram_;
  x86::CpuModel model_;
  Bus mmio_{"mmio"}, ports_{"ports"};
  AddressSpace space_;
  QuietBoard board_;
  VirtualClock clock_;
  Hazards hazards_;
  Interpreter engine_;
  VcpuState state_;
  u64 ran_ = 0;
};

}  // namespace vellum::interp
