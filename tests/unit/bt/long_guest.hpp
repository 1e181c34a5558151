// A guest in 64-bit mode at CPL 0: the first 2 MiB are mapped one to one by one large page; exception
// handlers halt at 0x8000 + vector. Every unit is translated the first time that it runs.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "base/clock.hpp"
#include "cpu/bare_board.hpp"
#include "cpu/bt/translator.hpp"

namespace vellum::bt {

class SilentBoard final : public BareBoard {
 public:
  int acknowledge_interrupt() override {
    hazards->clear(Hazards::kInterrupt);
    return vector;
  }

  int vector = -1;
  Hazards* hazards = nullptr;
};

/// The counter of that name, or 0.
inline u64 count_of(const Engine& engine, std::string_view name) {
  std::vector<StatRow> rows;
  engine.stats(rows);
  for (const StatRow& row : rows)
    if (row.name == name) return row.count;
  return 0;
}

/// Not under ThreadSanitizer and AddressSanitizer, which leave no room for them.
inline bool has_flat_tables(const Engine& engine) {
  std::vector<StatRow> rows;
  engine.stats(rows);
  return std::ranges::count(rows, "pages entered in flat tables", &StatRow::name) != 0;
}

class LongGuest : public ::testing::Test {
 protected:
  static constexpr u64 kCode = 0x1000, kPml4 = 0x2000, kPdpt = 0x3000, kPd = 0x4000, kGdt = 0x6000,
                       kIdt = 0x7000, kHandlers = 0x8000, kStack = 0xa000, kData = 0x10000;

  explicit LongGuest(const Options& options = {.cache_bytes = 4 << 20, .threshold = 0},
                     std::string_view model = "x86-64-v2")
      : ram_(*GuestRam::create(4 << 20)),
        model_(*x86::CpuModel::create(model)),
        space_{*ram_, mmio_, ports_},
        engine_(0, space_, board_, clock_, model_, hazards_, options) {
    board_.hazards = &hazards_;
    put64(kPml4, kPdpt | 3);
    put64(kPdpt, kPd | 3);
    put64(kPd, 0x83);
    put64(kGdt + 8, 0x00af9b000000ffff);   // 64-bit code
    put64(kGdt + 16, 0x00cf93000000ffff);  // data
    for (u64 n = 0; n < 256; ++n) {
      const u64 handler = kHandlers + n;
      put64(kIdt + 16 * n, (handler & 0xffff) | (u64{8} << 16) | (u64{0x8e00} << 32));
      ram_->host(GuestPhys(handler))[0] = 0xf4;  // HLT
    }
    VcpuState& s = state_;
    s = reset_state(true);
    s.cr0 |= x86::cr0::kPe | x86::cr0::kPg;
    s.cr3 = kPml4;
    s.cr4 = x86::cr4::kPae;
    s.msr.efer = x86::efer::kLme | x86::efer::kLma;
    const x86::Segment data{.selector = 16, .attributes = 0xc093, .limit = 0xffffffff, .base = 0};
    for (auto& segment : s.seg) segment = data;
    s.segment(x86::Seg::kCs) = {.selector = 8, .attributes = 0xa09b, .limit = 0xffffffff, .base = 0};
    s.gdtr = {kGdt, 23};
    s.idtr = {kIdt, 0xfff};
    s.rip = kCode;
    s.gpr[x86::kRsp] = kStack;
  }

  // At any alignment.
  u64 at64(u64 a) const {
    u64 value = 0;
    std::memcpy(&value, ram_->host(GuestPhys(a)), sizeof value);
    return value;
  }
  void put64(u64 a, u64 value) { std::memcpy(ram_->host(GuestPhys(a)), &value, sizeof value); }
  void code(std::initializer_list<int> bytes, u64 at = kCode) {
    u8* p = ram_->host(GuestPhys(at));
    for (const int b : bytes) *p++ = static_cast<u8>(b);
    ram_->note_store(GuestPhys(at), bytes.size());
  }
  Exit run(u64 instructions = 100'000) {
    engine_.push(StateMask::kAll, state_);
    return resume(instructions);
  }
  Exit resume(u64 instructions = 100'000) {
    const u64 before = engine_.retired();
    Exit e = engine_.run(Budget{instructions});
    ran_ = engine_.retired() - before;
    engine_.pull(StateMask::kAll, state_);
    return e;
  }
  u64 rax() const { return state_.gpr[x86::kRax]; }
  u64 count(std::string_view name) const { return count_of(engine_, name); }
  /// The vector whose handler the guest halted in, or -1; its frame is frame()[0] = RIP, [2] = RFLAGS.
  int halted_in_handler() const {
    if (state_.activity != Activity::kHalted || state_.rip <= kHandlers || state_.rip > kHandlers + 256)
      return -1;
    return static_cast<int>(state_.rip - 1 - kHandlers);
  }
  const u64* frame() { return reinterpret_cast<const u64*>(ram_->host(GuestPhys(state_.gpr[x86::kRsp]))); }

  std::unique_ptr<GuestRam> ram_;
  x86::CpuModel model_;
  Bus mmio_{"mmio"}, ports_{"ports"};
  AddressSpace space_;
  SilentBoard board_;
  VirtualClock clock_;
  Hazards hazards_;
  Translator engine_;
  VcpuState state_;
  u64 ran_ = 0;
};

}  // namespace vellum::bt
