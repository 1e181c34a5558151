// Segmentation (SDM vol. 3A ch. 3 and 5): loading segment registers, and the checks of a memory reference.
#pragma once

#include "cpu/system/vcpu.hpp"

namespace vellum {

/// MOV/POP/LxS to ES, SS, DS, FS, GS with all checks of the current mode (not CS: that is a transfer). In
/// real and virtual-8086 mode the base becomes selector << 4. The caller sets the interrupt shadow of a load
/// of SS.
[[nodiscard]] bool load_segment(Vcpu& v, x86::Seg seg, u16 selector);
[[nodiscard]] bool load_ldtr(Vcpu& v, u16 selector);  ///< LLDT
[[nodiscard]] bool load_tr(Vcpu& v, u16 selector);    ///< LTR: marks the descriptor busy

/// Reads the descriptor that `selector` names (GDT or LDT), as an implicit supervisor access. Beyond the
/// table's limit or null: raises `vector` with the selector's index as error code (null: #GP(0)).
[[nodiscard]] bool read_descriptor(Vcpu& v, u16 selector, u8 vector, u64& low);

/// Legacy and compatibility mode: the checks of a reference of `size` bytes at `offset` in `seg` (type,
/// limit, null), then the linear address (32 bits). #GP(0), or #SS(0) for SS.
[[nodiscard]] bool legacy_address(Vcpu& v, x86::Seg seg, u64 offset, unsigned size, Access access,
                                  u64& linear);

/// The linear address of offset in seg in the current mode: legacy_address(), or in 64-bit mode base (FS, GS
/// only) + offset with the canonical check.
[[nodiscard]] bool linear_address(Vcpu& v, x86::Seg seg, u64 offset, unsigned size, Access access,
                                  u64& linear);

/// Whether a reference through this data segment (FS, GS) is never refused for its type or limit, but for one
/// that runs over 4 GiB.
bool is_unlimited(const x86::Segment& data);
/// 32-bit protected or compatibility mode, with CS, SS, DS and ES unlimited and from 0, as nearly every
/// 32-bit system has them: an offset is the linear address then.
bool is_flat_32(const VcpuState& s);

/// VERR/VERW/LAR/LSL: whether the selector may be inspected so; no fault but #PF and the like. `result` for
/// LAR, LSL.
enum class SelectorQuery : u8 { kVerr, kVerw, kLar, kLsl };
[[nodiscard]] bool query_selector(Vcpu& v, SelectorQuery query, u16 selector, bool& accessible, u32& result);

}  // namespace vellum
