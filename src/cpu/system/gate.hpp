// Call, interrupt, trap and task gates (SDM vol. 3A §5.8.3, §6.11, §6.14.1).
//
//   63            48 47 46 45 44 43  40 39   37 36 35 34  32 31            16 15             0
//   | offset 31..16 | P | DPL | 0 | type |   0   | parameters / IST  | selector       | offset 15..0  |
//   IA-32e mode adds 8 bytes whose low doubleword is offset 63..32.
#pragma once

#include "base/bits.hpp"
#include "x86/segment.hpp"

namespace vellum::protection {

struct Gate {
  unsigned type = 0;  ///< x86::SystemType, or 16 + type for what is a code or data segment
  unsigned dpl = 0;
  bool present = false;
  u16 selector = 0;
  u64 offset = 0;
  unsigned parameters = 0;  ///< call gate: how many (d)words to copy
  unsigned ist = 0;         ///< 64-bit interrupt or trap gate: interrupt stack table slot, 0: none
};

constexpr Gate parse_gate(u64 low, u64 high) {
  Gate g;
  g.type = static_cast<unsigned>(bits(low, 44, 40));
  g.dpl = static_cast<unsigned>(bits(low, 46, 45));
  g.present = (low & bit(47)) != 0;
  g.selector = static_cast<u16>(bits(low, 31, 16));
  g.offset = bits(low, 15, 0) | (bits(low, 63, 48) << 16) | (high << 32);
  g.parameters = static_cast<unsigned>(bits(low, 36, 32));
  g.ist = static_cast<unsigned>(bits(low, 34, 32));
  // The upper half of the offset field of a 16-bit gate is reserved.
  if (g.type == x86::kCallGate16 || g.type == x86::kInterruptGate16 || g.type == x86::kTrapGate16)
    g.offset &= 0xffff;
  return g;
}

}  // namespace vellum::protection
