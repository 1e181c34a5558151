// What the x87 files share: the pointers of the last instruction, and the images that FSTENV, FSAVE and
// FXSAVE write.
#pragma once

#include <span>

#include "cpu/interp/insn.hpp"
#include "cpu/interp/native/isa.hpp"

namespace vellum::interp::native {

/// The x87 state of FNINIT and of power-on (SDM vol. 1 §8.1, table 9-1).
void initialize_x87(XsaveArea& x);

/// Sets FSW.TOP. The registers stay where they physically are, so the state's ST order turns.
void set_top(XsaveArea& x, unsigned top);

/// Makes FSW.ES and B agree with the exception flags and masks, as the processor does when either is loaded.
void recompute_pending(XsaveArea& x);

/// After an instruction that may have ended a pending exception: FERR# goes away with it (CR0.NE clear).
inline void settle_ferr(Vcpu& v) {
  if ((v.state.cr0 & x86::cr0::kNe) == 0 && !x87_pending(v.state)) v.board.drive_ferr(false);
}

/// What FIP is set to: the address of the instruction itself. In 64-bit and protected mode its offset in the
/// code segment, in real and virtual-8086 mode its linear address, which is what the images of those modes
/// hold.
u64 instruction_pointer(const Vcpu& v, const Insn& i);
/// What FDP is set to for a memory operand at `offset`, likewise.
u64 data_pointer(const Vcpu& v, const Insn& i, u64 offset);

/// The layouts of FSTENV's image (SDM vol. 1 §8.1.10, figures 8-9 to 8-12), chosen by mode and operand size.
struct EnvironmentFormat {
  bool wide;  ///< 32-bit operand size: 28 bytes, else 14
  bool real;  ///< real-address and virtual-8086 mode
  unsigned size() const { return wide ? 28 : 14; }
};

void write_environment(const XsaveArea& x, EnvironmentFormat format, std::span<u8> image);
void read_environment(XsaveArea& x, EnvironmentFormat format, std::span<const u8> image);

/// The 16-bit tag word of a state (two bits for each physical register), which the state keeps abridged.
u16 full_tag_word(const XsaveArea& x);

}  // namespace vellum::interp::native
