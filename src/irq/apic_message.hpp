// What travels between APICs: interprocessor interrupts, I/O APIC interrupts and MSIs in one form (SDM vol.
// 3A §11.6 and §11.11).
#pragma once

#include "base/int.hpp"

namespace vellum {

enum class DeliveryMode : u8 {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kReserved = 3,  // "remote read" of the 82489DX
  kNmi = 4,
  kInit = 5,
  kStartup = 6,
  kExtInt = 7,
};

struct ApicMessage {
  u32 destination = 0;
  /// The destination has 32 bits (sent in x2APIC mode: broadcast is 0xffffffff) and not 8 (broadcast is
  /// 0xff).
  bool wide = false;
  bool logical = false;  ///< destination names a set by LDR, not one APIC id
  DeliveryMode mode = DeliveryMode::kFixed;
  u8 vector = 0;
  bool level_triggered = false;

  bool broadcast() const { return destination == (wide ? 0xffff'ffffu : 0xffu); }
};

}  // namespace vellum
