// A unit's guest code beside its translation, for people: `vellum run --trace bt`, and the golden
// translations.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cpu/bt/layout.hpp"
#include "x86/decode.hpp"

namespace vellum::bt {

struct UnitDump {
  u64 linear = 0;
  GuestPhys physical;
  std::span<const x86::Decoded> guest;
  std::span<const u8> host;
  /// Where in `host` the code of each guest instruction begins, then that of the unit's end, then what is out
  /// of line; in front of the first is the prologue.
  std::span<const u32> starts;
  i64 state_distance = 0;  ///< Distances::state
  /// What an absolute address in the code stands for, if it is known: "hazards".
  std::function<std::string(u64 address)> name_of;
};

/// Lines, the first one about the unit:
///
///   unit ffffffff81000010 at 1000010: 2 instructions, 9 bytes; 152 bytes at 7f2a00001230
///     prologue
///       +000  mov rax, &hazards
///     ffffffff81000010  48 8b 47 08           mov rax, [rdi+0x08]
///       +02a  lea r14, [rdi+0x08]
///     out of line
///       +071  ...
///
/// Fields of the Context and the vCPU's state are named; a jump within the unit is written "+071", like its
/// target.
std::string dump_unit(const UnitDump& unit);

/// The same for one piece of host code, only the lines with offsets. `first`: of the piece, in unit.host.
std::string disassemble(const UnitDump& unit, u32 first, u32 end);

}  // namespace vellum::bt
