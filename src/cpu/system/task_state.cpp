#include "cpu/system/task_state.hpp"

#include "cpu/system/descriptor.hpp"

namespace vellum::protection {

using x86::Seg;
using x86::Segment;

namespace {

/// Offsets of the fields and their width; registers and selectors stand in encoding order from `gpr` and
/// `selectors` on, one every `width` bytes.
struct Layout {
  u32 eip, eflags, gpr, selectors, ldt;
  unsigned width;     ///< 4 or 2
  unsigned segments;  ///< how many selectors: ES CS SS DS (FS GS)
};
constexpr Layout kLayout32{
    .eip = 32, .eflags = 36, .gpr = 40, .selectors = 72, .ldt = 96, .width = 4, .segments = 6};
constexpr Layout kLayout16{
    .eip = 14, .eflags = 16, .gpr = 18, .selectors = 34, .ldt = 42, .width = 2, .segments = 4};
constexpr u32 kCr3Offset = 28;
constexpr u32 kTrapOffset = 100;

const Layout& layout_of(const Segment& tss) {
  return is_32_bit_tss(tss) ? kLayout32 : kLayout16;
}

bool read_field(Vcpu& v, const Segment& tss, u32 offset, unsigned size, u64& value) {
  return v.mmu.read_as(Privilege::kImplicit, wrap_linear(v, tss.base + offset), size, value);
}
bool write_field(Vcpu& v, const Segment& tss, u32 offset, unsigned size, u64 value) {
  return v.mmu.write_as(Privilege::kImplicit, wrap_linear(v, tss.base + offset), size,
                        value & low_mask(8 * size));
}

}  // namespace

bool probe_task_save(Vcpu& v, const Segment& tss) {
  const Layout& l = layout_of(tss);
  const u32 end = l.selectors + l.segments * l.width;
  return v.mmu.probe(wrap_linear(v, tss.base + l.eip), end - l.eip, Access::kWrite, Seg::kDs,
                     Privilege::kImplicit);
}

bool save_task(Vcpu& v, const Segment& tss, u64 eflags) {
  const Layout& l = layout_of(tss);
  if (!write_field(v, tss, l.eip, l.width, v.state.rip)) return false;
  if (!write_field(v, tss, l.eflags, l.width, eflags)) return false;
  for (unsigned i = 0; i < 8; ++i)
    if (!write_field(v, tss, l.gpr + i * l.width, l.width, v.state.gpr[i])) return false;
  for (unsigned i = 0; i < l.segments; ++i)
    if (!write_field(v, tss, l.selectors + i * l.width, 2, v.state.seg[i].selector)) return false;
  return true;
}

bool read_task(Vcpu& v, const Segment& tss, TaskState& task) {
  const Layout& l = layout_of(tss);
  task.is_32_bit = is_32_bit_tss(tss);
  if (!read_field(v, tss, l.eip, l.width, task.eip)) return false;
  if (!read_field(v, tss, l.eflags, l.width, task.eflags)) return false;
  for (unsigned i = 0; i < 8; ++i)
    if (!read_field(v, tss, l.gpr + i * l.width, l.width, task.gpr[i])) return false;
  u64 word = 0;
  for (unsigned i = 0; i < l.segments; ++i) {
    if (!read_field(v, tss, l.selectors + i * l.width, 2, word)) return false;
    task.selector[i] = static_cast<u16>(word);
  }
  if (!read_field(v, tss, l.ldt, 2, word)) return false;
  task.ldt = static_cast<u16>(word);
  if (!task.is_32_bit) return true;
  if (!read_field(v, tss, kCr3Offset, 4, task.cr3) || !read_field(v, tss, kTrapOffset, 2, word)) return false;
  task.trap = (word & 1) != 0;
  return true;
}

}  // namespace vellum::protection
