// The context in which software engines execute a vCPU: architectural state, MMU, and what surrounds them.
//
// Convention of everything in cpu/system: a function that can meet a guest fault returns bool; false means
// that `fault` holds the exception and that the architectural state is as the SDM says it is when that
// exception is delivered (mostly: unchanged, RIP at the faulting instruction is the engine's business).
#pragma once

#include "base/clock.hpp"
#include "base/trace.hpp"
#include "cpu/hazard.hpp"
#include "cpu/mmu/mmu.hpp"
#include "cpu/state.hpp"
#include "cpu/system/unknown_msrs.hpp"
#include "cpu/vcpu_board.hpp"
#include "memory/address_space.hpp"
#include "x86/cpu_model.hpp"

namespace vellum {

struct Vcpu {
  Vcpu(unsigned number, AddressSpace& address_space, VcpuBoard& vcpu_board, Clock& machine_clock,
       const x86::CpuModel& cpu_model, Hazards& hazard_word)
      : index(number),
        space(address_space),
        board(vcpu_board),
        clock(machine_clock),
        model(cpu_model),
        hazards(hazard_word),
        mmu(address_space, vcpu_board, state, fault) {}
  Vcpu(const Vcpu&) = delete;
  Vcpu& operator=(const Vcpu&) = delete;

  VcpuState state;       ///< first, so that an engine can address registers by their offset in Vcpu
  u64 zero = 0;          ///< always 0: the base or index of an address that has none
  x86::Exception fault;  ///< valid after a function returned false

  unsigned index;
  AddressSpace& space;
  VcpuBoard& board;
  Clock& clock;
  const x86::CpuModel& model;
  Hazards& hazards;
  Mmu mmu;

  /// INT n, INT3, INTO or INT1 went to its handler, which begins with TF clear: no single-step trap comes
  /// after it.
  bool entered_handler = false;
  /// FLDENV or FRSTOR replaced FSW, an error that was put aside included.
  bool x87_status_loaded = false;
  UnknownMsrs unknown_msrs;
  u32 pauses = 0;  ///< PAUSE instructions, for yielding the host CPU now and then
  /// Instructions retired before the unit now running, and within it, for RDTSC and the virtual clock.
  u64 retired = 0;
  Tracer trace;

  void set_trace(const Tracer& to) { trace = mmu.trace = to; }

  // Each records an exception and returns false, for `return v.raise_gp(0);`.
  bool raise(const x86::Exception& e) {
    fault = e;
    return false;
  }
  bool raise(u8 vector) { return raise({.vector = vector}); }
  bool raise(u8 vector, u32 error_code) {
    return raise({.vector = vector, .has_error_code = true, .error_code = error_code});
  }
  bool raise_gp(u32 error_code = 0) { return raise(x86::kGp, error_code); }
  bool raise_ud() { return raise(x86::kUd); }
};

}  // namespace vellum
