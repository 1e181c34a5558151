// What executes a vCPU. One Engine object per vCPU; what engines of one VM share lives beside them
// (translation caches, the pmap's code tracking).
#pragma once

#include "base/address.hpp"
#include "base/stats.hpp"
#include "cpu/exit.hpp"
#include "cpu/state.hpp"

namespace vellum {

/// The most steps that run() may take. A step is an instruction retired (a REP string instruction counts as
/// one) or an event delivered in place of one: a fault, an interrupt, NMI, INIT or SIPI. So a guest whose
/// handlers fault at their first instruction, which retires nothing for ever, spends its budget too. A debug
/// trap belongs to the instruction before it.
struct Budget {
  u64 steps = ~u64{0};
};

/// Register groups for pull() and push(): an engine moves only what is asked for.
enum class StateMask : u32 {
  kNone = 0,
  kGeneral = 1 << 0,   ///< gpr, rip, rflags
  kSegments = 1 << 1,  ///< segment registers, LDTR, TR, GDTR, IDTR, CPL
  kControl = 1 << 2,   ///< CR0-4, XCR0, EFER, PDPTEs
  kDebug = 1 << 3,
  kVector = 1 << 4,  ///< the XSAVE area
  kMsrs = 1 << 5,
  kActivity = 1 << 6,  ///< activity, shadows, NMI state
  kAll = 0x7f,
};
template <>
inline constexpr bool kIsFlagSet<StateMask> = true;

class Engine : public StatSource {
 public:
  /// Runs guest code until an exit. Called on the vCPU's own thread (any one thread at a time). Pending
  /// hazards are honoured between instructions; Hazards::kStop ends it within one unit.
  virtual Exit run(Budget budget) = 0;

  /// Copies the named groups of the architectural state out of or into the engine. Only while run() is not
  /// running.
  virtual void pull(StateMask groups, VcpuState& to) = 0;
  virtual void push(StateMask groups, const VcpuState& from) = 0;

  /// Drops everything derived from the contents of these guest-physical pages. Only while run() is not
  /// running.
  virtual void invalidate(GuestPhysRange range) = 0;

  /// Guest instructions retired since creation. Exact between run() calls; 0 from an engine that cannot count
  /// them.
  virtual u64 retired() const = 0;
  /// Steps taken since creation, as Budget counts them: what the virtual clock goes by. Exact between run()
  /// calls, and the same on every software engine. Hardware, which cannot count them and is never given a
  /// budget, says how often it entered the guest.
  virtual u64 steps() const = 0;
};

}  // namespace vellum
