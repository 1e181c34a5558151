// What event delivery shares with software interrupts.
#pragma once

#include "cpu/system/vcpu.hpp"

namespace vellum::protection {

/// The real-mode way into a handler: pushes FLAGS (the low half of `flags`), CS and IP, and loads CS:IP from
/// entry `vector` of the vector table at linear address `table`. Clears no flags.
[[nodiscard]] bool deliver_through_ivt(Vcpu& v, u8 vector, u64 table, u64 flags);

}  // namespace vellum::protection
