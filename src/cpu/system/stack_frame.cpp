#include "cpu/system/stack_frame.hpp"

#include "base/assert.hpp"
#include "cpu/system/descriptor.hpp"
#include "cpu/system/stack.hpp"

namespace vellum::protection {

using x86::Seg;

StackFrame::StackFrame(Vcpu& v)
    : StackFrame(v, v.state.segment(Seg::kSs), v.state.gpr[x86::kRsp], stack_address_bytes(v),
                 Privilege::kCurrent, 0) {}

StackFrame::StackFrame(Vcpu& v, const x86::Segment& ss, u64 sp, unsigned bytes, Privilege privilege,
                       u32 limit_error)
    : v_(v),
      ss_(ss),
      sp_(wrap_stack(sp, bytes)),
      bytes_(bytes),
      privilege_(privilege),
      limit_error_(limit_error) {}

bool StackFrame::push(unsigned size, u64 value) {
  const u64 sp = wrap_stack(sp_ - size, bytes_);
  u64 linear = sp;
  if (bytes_ == 8) {
    if (!x86::is_canonical(sp) || !x86::is_canonical(sp + size - 1)) return v_.raise(x86::kSs, limit_error_);
  } else {
    const bool typed = v_.state.protected_mode() && !v_.state.virtual_8086();
    if ((typed && !ss_.writable()) || !within_limit(ss_, sp, size)) return v_.raise(x86::kSs, limit_error_);
    linear = static_cast<u32>(ss_.base + sp);
  }
  VELLUM_ASSERT(count_ < kCapacity, "more than {} pushes in one frame", kCapacity);
  entries_[count_++] = {linear, value & low_mask(8 * size), size};
  sp_ = sp;
  return true;
}

bool StackFrame::commit() {
  // In push order, so that a fault names the address at which the first failing push would have faulted.
  u64 probed = ~u64{0};
  for (unsigned i = 0; i < count_; ++i) {
    const Entry& e = entries_[i];
    const u64 page = e.linear >> kPageShift;
    if (page == probed && (e.linear & kPageMask) + e.size <= kPageSize) continue;
    if (!v_.mmu.probe(e.linear, e.size, Access::kWrite, Seg::kSs, privilege_)) return false;
    probed = page;
  }
  for (unsigned i = 0; i < count_; ++i) {
    const Entry& e = entries_[i];
    if (!v_.mmu.write_as(privilege_, e.linear, e.size, e.value, Seg::kSs)) return false;
  }
  return true;
}

}  // namespace vellum::protection
