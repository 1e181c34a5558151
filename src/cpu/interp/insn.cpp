#include "cpu/interp/insn.hpp"

#include <cstddef>

#include "base/assert.hpp"

namespace vellum::interp {
namespace {

static_assert(offsetof(VcpuState, gpr) == 0);

template <class Member>
u16 state_offset(const VcpuState& state, const Member& member) {
  return static_cast<u16>(reinterpret_cast<const u8*>(&member) - reinterpret_cast<const u8*>(&state));
}

// Offsets of fields that an address is built from, measured on a state that is never run.
struct Offsets {
  u16 zero, rip, fs_base, gs_base;
  Offsets() {
    static const VcpuState state;
    rip = state_offset(state, state.rip);
    fs_base = state_offset(state, state.segment(x86::Seg::kFs).base);
    gs_base = state_offset(state, state.segment(x86::Seg::kGs).base);
    // Vcpu is not a standard-layout type, but its first two members are the state and `zero`, in this order,
    // and `zero` needs less alignment than the state's size is a multiple of; Interpreter's constructor
    // asserts the result.
    zero = static_cast<u16>(sizeof(VcpuState));
  }
};

const Offsets& offsets() {
  static const Offsets instance;
  return instance;
}

}  // namespace

u16 zero_offset() {
  return offsets().zero;
}
u16 rip_offset() {
  return offsets().rip;
}

u16 register_offset(ZydisRegister r) {
  switch (r) {
    case ZYDIS_REGISTER_AH:
      return gpr_offset(x86::kRax, true);
    case ZYDIS_REGISTER_CH:
      return gpr_offset(x86::kRcx, true);
    case ZYDIS_REGISTER_DH:
      return gpr_offset(x86::kRdx, true);
    case ZYDIS_REGISTER_BH:
      return gpr_offset(x86::kRbx, true);
    case ZYDIS_REGISTER_NONE:
      return zero_offset();
    case ZYDIS_REGISTER_RIP:
    case ZYDIS_REGISTER_EIP:
    case ZYDIS_REGISTER_IP:
      return rip_offset();
    default:
      break;
  }
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
  const int id = ZydisRegisterGetId(whole);
  VELLUM_ASSERT(id >= 0 && id < 16, "register {}", ZydisRegisterGetString(r));
  return gpr_offset(static_cast<unsigned>(id));
}

void bind_memory(const ZydisDecodedOperand& operand, const ZydisDecodedInstruction& info, bool mode_64,
                 Insn& out) {
  const auto& memory = operand.mem;
  out.base = register_offset(memory.base);
  out.index = register_offset(memory.index);
  out.scale = memory.scale == 8 ? 3 : memory.scale == 4 ? 2 : memory.scale == 2 ? 1 : 0;
  out.disp = memory.disp.has_displacement ? static_cast<i32>(memory.disp.value) : 0;
  out.address_shift = static_cast<u8>(64 - info.address_width);
  out.legacy = !mode_64;
  out.seg_base = zero_offset();
  switch (memory.segment) {
    case ZYDIS_REGISTER_ES:
      out.seg = static_cast<u8>(x86::Seg::kEs);
      break;
    case ZYDIS_REGISTER_CS:
      out.seg = static_cast<u8>(x86::Seg::kCs);
      break;
    case ZYDIS_REGISTER_SS:
      out.seg = static_cast<u8>(x86::Seg::kSs);
      break;
    case ZYDIS_REGISTER_FS:
      out.seg = static_cast<u8>(x86::Seg::kFs);
      if (mode_64) out.seg_base = offsets().fs_base;
      break;
    case ZYDIS_REGISTER_GS:
      out.seg = static_cast<u8>(x86::Seg::kGs);
      if (mode_64) out.seg_base = offsets().gs_base;
      break;
    default:
      out.seg = static_cast<u8>(x86::Seg::kDs);
      break;
  }
}

}  // namespace vellum::interp
