// x87 data instructions by thunk. The thunk loads the whole x87 state, runs the one instruction and saves the
// state; it is entered only when no unmasked exception is pending, so the host never takes #MF: an exception
// that the instruction itself raises is left in the saved FSW (and cleared on the host by FNINIT), and the
// next waiting instruction finds it.
//
// The pointers are ours: FXSAVE would store the thunk's own address (Intel) or nothing (AMD). FOP is recorded
// by instructions that raise an unmasked exception only, FIP and FDP by all (SDM vol. 1 §8.1.8, §8.1.9: the
// fopcode compatibility mode's default). FCS and FDS are always 0 (CPUID.(7,0):EBX[13]).
#include "cpu/interp/native/x87.hpp"

#include "cpu/interp/native/families.hpp"
#include "cpu/interp/native/memory.hpp"
#include "cpu/interp/native/mxcsr.hpp"

namespace vellum::interp::native {
namespace {

enum class Memory : u8 { kNone, kRead, kWrite };

// Exceptions that keep a store from happening when unmasked: all but inexact (SDM vol. 1 §8.5).
constexpr u16 kPreventStore = 0x1f;

template <Memory kMemory>
void run_thunk(Vcpu& v, const Insn& i, void* memory) {
  XsaveArea& x = v.state.xsave;
  u64 fdp = x.fdp();
  const u16 fop = x.fop();
  reinterpret_cast<Thunk>(const_cast<void*>(i.extra))(&v.state, memory);
  // FXRSTOR loaded the guest's MXCSR too.
  if ((x.mxcsr() & ~kMxcsrFlags) != kMxcsrDefault) [[unlikely]]
    host_mxcsr(kMxcsrDefault);
  if constexpr (kMemory != Memory::kNone) fdp = data_pointer(v, i, offset_of(v, i));
  x.fip() = instruction_pointer(v, i);
  x.fdp() = fdp;
  x.fop() = (x.fsw() & kFswPending) != 0 ? static_cast<u16>(i.imm) : fop;
}

template <Memory kMemory>
Flow run_x87(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87>(v.state)) [[unlikely]]
    return gate_fault(v, Gate::kX87);
  const auto run = [&](void* memory) {
    run_thunk<kMemory>(v, i, memory);
    return true;
  };
  if constexpr (kMemory == Memory::kRead) {
    return with_source(v, i, i.size, run);
  } else if constexpr (kMemory == Memory::kWrite) {
    return with_target(v, i, i.size, run, [&] {
      XsaveArea& x = v.state.xsave;
      return (x.fsw() & ~x.fcw() & kPreventStore) == 0;
    });
  } else {
    run(nullptr);
    return Flow::kNext;
  }
}

}  // namespace

bool bind_x87(const Request& r, Insn& out) {
  const ZydisDecodedInstruction& info = r.decoded.info;
  MemoryUse use;
  const ThunkSpec spec = plan_thunk(r.decoded, r.mode_64, use);
  out.run = run_x87<Memory::kNone>;
  if (use.operand != nullptr) {
    bind_memory(*use.operand, info, r.mode_64, out);
    out.size = static_cast<u8>(use.size);
    out.run = use.written ? run_x87<Memory::kWrite> : run_x87<Memory::kRead>;
  }
  out.aux = 0;
  out.imm = (info.opcode & 7u) << 8 | r.decoded.bytes[info.raw.modrm.offset];
  out.extra = reinterpret_cast<const void*>(r.thunks.get(spec));
  return true;
}

}  // namespace vellum::interp::native
