#include "irq/apic_image.hpp"

#include <algorithm>

namespace vellum {
namespace {

using namespace apic;

ApicTimer::Mode timer_mode(u32 lvt_timer) {
  return static_cast<ApicTimer::Mode>((lvt_timer & lvt::kTimerMode) >> lvt::kTimerModeShift);
}

u32 defined(const ApicImage& image, Register r) {
  return image.registers[r] & (kRegisters[r].writable | kRegisters[r].read_only);
}

/// LDR of x2APIC mode follows from the id (SDM vol. 3A §11.12.10.2).
u32 derived_ldr(u32 id) {
  return (id >> 4) << 16 | 1u << (id & 15);
}

u32 remaining(const ApicTimer::State& timer, u64 now_ns) {
  const u64 past = now_ns > timer.start_ns ? (now_ns - timer.start_ns) / ApicTimer::divisor(timer) : 0;
  // One that is due now expires at the next tick: 0 would say that it does not count.
  return past >= timer.start_count ? 1 : static_cast<u32>(timer.start_count - past);
}

}  // namespace

ApicImage image_of(const LocalApic::State& state, u32 id, u64 now_ns) {
  ApicImage image;
  auto& r = image.registers;
  const bool x2apic = (state.base & base_msr::kX2apic) != 0;
  image.base = state.base;
  r[kId] = x2apic ? id : id << 24;
  r[kVersion] = kVersionValue;
  r[kTpr] = state.tpr;
  r[kLdr] = x2apic ? derived_ldr(id) : state.ldr;
  r[kDfr] = state.dfr;
  r[kSvr] = state.svr;
  for (unsigned i = 0; i < 8; ++i) {
    r[kIsr + i] = state.isr[i];
    r[kTmr + i] = state.tmr[i];
    r[kIrr + i] = state.irr[i];
  }
  r[kEsr] = state.esr;
  r[kIcrLow] = static_cast<u32>(state.icr);
  r[kIcrHigh] = static_cast<u32>(state.icr >> 32);
  for (unsigned i = 0; i < kLvtCount; ++i) r[kLvtTimer + i] = state.lvt[i];
  r[kDivide] = state.timer.divide_config;
  const ApicTimer::Mode mode = timer_mode(r[kLvtTimer]);
  if (mode == ApicTimer::Mode::kTscDeadline) {
    image.tsc_deadline = state.timer.tsc_deadline;
  } else if (state.timer.counting) {
    r[kInitialCount] = state.timer.initial_count;
    r[kCurrentCount] = remaining(state.timer, now_ns);
  }
  return image;
}

LocalApic::State state_of(const ApicImage& image, const LocalApic::State& before, u64 now_ns) {
  const auto& r = image.registers;
  LocalApic::State state;
  state.base = image.base;
  state.tpr = static_cast<u8>(r[kTpr]);
  if ((state.base & base_msr::kX2apic) == 0) state.ldr = defined(image, kLdr);
  state.dfr = r[kDfr] | kRegisters[kDfr].read_only;
  state.svr = defined(image, kSvr);
  for (unsigned i = 0; i < 8; ++i) {
    state.isr[i] = r[kIsr + i];
    state.tmr[i] = r[kTmr + i];
    state.irr[i] = r[kIrr + i];
  }
  state.esr = r[kEsr];
  state.icr = u64{r[kIcrHigh]} << 32 | (r[kIcrLow] & ~icr::kBusy);
  for (unsigned i = 0; i < kLvtCount; ++i)
    state.lvt[i] = defined(image, static_cast<Register>(kLvtTimer + i));
  state.lint = before.lint;
  state.ext_int = before.ext_int;

  const ApicTimer::Mode mode = timer_mode(r[kLvtTimer]);
  ApicTimer::State& timer = state.timer;
  timer.divide_config = static_cast<u8>(defined(image, kDivide));
  if (mode == ApicTimer::Mode::kTscDeadline) {
    timer.tsc_deadline = image.tsc_deadline;
    return state;
  }
  timer.initial_count = r[kInitialCount];
  // A periodic count of 0 is the moment before its reload; a one-shot of 0 is over.
  timer.counting = timer.initial_count != 0 && (r[kCurrentCount] != 0 || mode == ApicTimer::Mode::kPeriodic);
  timer.start_count = std::min(r[kCurrentCount], timer.initial_count);
  timer.start_ns = timer.counting ? now_ns : 0;
  return state;
}

}  // namespace vellum
