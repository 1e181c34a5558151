// The task-state segment in memory, 32-bit and 16-bit (SDM vol. 3A §7.2.1, §7.6): what a task switch saves
// and loads.
#pragma once

#include <array>

#include "cpu/system/vcpu.hpp"

namespace vellum::protection {

/// What a task switch loads from the new TSS.
struct TaskState {
  bool is_32_bit = true;
  u64 cr3 = 0;  ///< 32-bit TSS only
  u64 eip = 0;
  u64 eflags = 0;
  std::array<u64, 8> gpr{};                    ///< in the order of x86::Gpr
  std::array<u16, x86::kSegCount> selector{};  ///< in the order of x86::Seg; FS and GS null in a 16-bit TSS
  u16 ldt = 0;
  bool trap = false;  ///< the T flag: #DB after the switch; 32-bit TSS only
};

constexpr bool is_tss_type(unsigned type, bool busy) {
  return type == (busy ? x86::kTss32Busy : x86::kTss32Available) ||
         type == (busy ? x86::kTss16Busy : x86::kTss16Available);
}
inline bool is_32_bit_tss(const x86::Segment& tss) {
  return (tss.type() & 8) != 0;
}
/// The smallest limit that a TSS of this size may have.
inline u32 tss_minimum_limit(const x86::Segment& tss) {
  return is_32_bit_tss(tss) ? 103 : 43;
}

/// Whether the dynamic fields of `tss` can be written; raises the fault if not.
[[nodiscard]] bool probe_task_save(Vcpu& v, const x86::Segment& tss);
/// Stores the dynamic fields (EIP, EFLAGS, general registers, selectors).
[[nodiscard]] bool save_task(Vcpu& v, const x86::Segment& tss, u64 eflags);
/// Reads what a task switch loads.
[[nodiscard]] bool read_task(Vcpu& v, const x86::Segment& tss, TaskState& task);

}  // namespace vellum::protection
