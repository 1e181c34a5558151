// A vCPU's local APIC in xAPIC and x2APIC mode (SDM vol. 3A ch. 11).
//
// Threads: the vCPU's own accesses come from its thread, messages and LINT levels from any. One lock guards
// the state; it is never held while another APIC, the I/O APIC or the 8259 is called: what an access sends
// out is collected under the lock and sent after it. ApicHost is called under the lock and must only set
// flags. Lock order: device, router, 8259, I/O APIC, local APIC, clock.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <optional>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "irq/apic_bus.hpp"
#include "irq/apic_registers.hpp"
#include "irq/apic_timer.hpp"

namespace vellum {

/// The processor core behind a local APIC: bits to set in its word of pending events. Any thread, under the
/// APIC's lock; must not call back.
class ApicHost {
 public:
  virtual ~ApicHost() = default;
  /// An interrupt is deliverable at the current priority (whether RFLAGS.IF allows it is the core's
  /// business), or no longer is.
  virtual void interrupt_pending(bool pending) = 0;
  virtual void nmi() = 0;
  virtual void init() = 0;
  virtual void sipi(u8 vector) = 0;
};

/// What answers an INTA cycle for an ExtINT: the 8259.
class ExtIntSource {
 public:
  virtual ~ExtIntSource() = default;
  virtual u8 acknowledge() = 0;
};

class LocalApic final : public Snapshottable, public StatSource {
 public:
  using Words = std::array<u32, 8>;  ///< 256 bits, one for each vector

  struct State {
    static constexpr std::string_view kKind = "local-apic";
    static constexpr u32 kVersion = 1;

    u64 base = apic::base_msr::kDefaultAddress | apic::base_msr::kEnable;  ///< IA32_APIC_BASE
    u8 tpr = 0;
    u32 ldr = 0;
    u32 dfr = ~0u;
    u32 svr = 0xff;
    Words isr{}, tmr{}, irr{};
    u32 esr = 0;          ///< as software reads it
    u32 esr_pending = 0;  ///< gathered since the last write to ESR
    u64 icr = 0;
    std::array<u32, apic::kLvtCount> lvt{};
    std::array<bool, 2> lint{};  ///< levels of LINT0 and LINT1
    bool ext_int = false;        ///< an ExtINT message waits for its INTA
    ApicTimer::State timer;

    State() { lvt.fill(apic::lvt::kMasked); }
    static State power_up(bool bootstrap) {
      State s;
      if (bootstrap) s.base |= apic::base_msr::kBsp;
      return s;
    }
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(base), v(tpr), v(ldr), v(dfr), v(svr), v(isr), v(tmr), v(irr), v(esr), v(esr_pending), v(icr), v(lvt),
          v(lint), v(ext_int), v(timer);
    }
  };

  /// Attaches itself to `bus`. `ext_int` may be null on a machine without an 8259. `physical_bits` is
  /// MAXPHYADDR, which bounds IA32_APIC_BASE.
  LocalApic(u32 id, Clock& clock, ApicBus& bus, ApicHost& host, ExtIntSource* ext_int, unsigned physical_bits,
            const State& state);
  LocalApic(const LocalApic&) = delete;
  LocalApic& operator=(const LocalApic&) = delete;

  u32 id() const { return id_; }
  /// For the vCPU's thread to hold in its sleep.
  Timer& timer() { return timer_.timer(); }

  // ---- The vCPU's side; on its thread ----

  /// INTA: the vector to deliver now, or -1. An ExtINT comes first and asks the 8259.
  int acknowledge();

  /// IA32_APIC_BASE, IA32_TSC_DEADLINE, 0x800 to 0x8ff. False: #GP(0). The deadline counts the machine's TSC:
  /// the core takes its own TSC_ADJUST into account.
  bool read_msr(u32 msr, u64& value);
  bool write_msr(u32 msr, u64 value);

  /// Guest-physical address of the xAPIC page, ~0 when there is none. Lock-free.
  u64 page() const { return page_.load(std::memory_order_relaxed); }
  /// Registers are 32 bits wide at multiples of 16; other accesses are undefined (§11.4.1): reads give the
  /// bytes that fall into a register and 0 elsewhere, writes that are not of a whole register do nothing.
  u64 read_page(u32 offset, unsigned size);
  void write_page(u32 offset, unsigned size, u64 value);

  u8 cr8() const;
  void set_cr8(u8 value);

  /// RESET: as after power-up; the id, the BSP flag and the pins' levels stay. INIT comes in by message.
  void reset();
  /// What firmware leaves behind on the bootstrap processor for a kernel that is started without firmware:
  /// virtual wire mode (Multiprocessor Specification §3.6.2.2): enabled, LINT0 ExtINT, LINT1 NMI.
  void enter_virtual_wire_mode();
  static void set_virtual_wire_mode(State& state);

  // ---- The bus's side; any thread ----

  /// Takes the message if it is addressed to this APIC. Returns whether it was accepted.
  bool receive(const ApicMessage& message);
  /// Takes a message sent by shorthand.
  bool receive_unaddressed(const ApicMessage& message);
  /// This APIC's priority in a lowest-priority arbitration; nothing if it can't accept the message.
  std::optional<u8> arbitration_priority(const ApicMessage& message) const;
  void set_lint(unsigned pin, bool level);

  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  enum class Mode : u8 { kDisabled, kXapic, kX2apic };
  /// What an access sends once the lock is released.
  struct Outgoing {
    std::optional<u8> eoi;
    std::optional<ApicMessage> ipi;
    apic::icr::Shorthand shorthand = apic::icr::kNoShorthand;
  };

  // All below: with mutex_ held.
  Mode mode() const;
  bool software_enabled() const { return (state_.svr & apic::svr::kEnable) != 0; }
  u32& lvt(apic::Register r) { return state_.lvt[r - apic::kLvtTimer]; }
  u32 lvt(apic::Register r) const { return state_.lvt[r - apic::kLvtTimer]; }
  u32 logical_id() const;
  bool matches(const ApicMessage& message) const;
  bool accept(const ApicMessage& message);
  bool accept_vector(u8 vector, bool level_triggered);
  void deliver_lvt(apic::Register entry);
  void raise_error(u32 esr_bit);
  u8 ppr() const;
  bool ext_int_deliverable() const;
  void update_pending();
  void reset_registers();
  void update_page();
  void end_of_interrupt(Outgoing& out);
  void lint_changed(unsigned pin, bool rising);

  // local_apic_registers.cpp
  u32 read_register(unsigned index) const;
  void write_register(unsigned index, u32 value, Outgoing& out);
  void write_lvt(apic::Register entry, u32 value);
  void write_svr(u32 value);
  void write_icr(u32 low, Outgoing& out);
  bool write_base(u64 value);
  bool write_x2apic_msr(unsigned index, u64 value, Outgoing& out);
  ApicTimer::Mode timer_mode() const;
  void sync_timer();
  void rearm_timer();

  void on_timer();
  void send(const Outgoing& out);  // without the lock

  const u32 id_;
  ApicBus& bus_;
  ApicHost& host_;
  ExtIntSource* const ext_int_;
  const u64 base_address_mask_;

  mutable std::mutex mutex_;
  State state_;  // state_.timer is filled in by save() only
  bool pending_ = false;
  std::atomic<u64> page_{~u64{0}};
  ApicTimer timer_;

  // Written under mutex_, or (IPIs) by the vCPU's thread only.
  Counter delivered_, ipis_sent_, ext_ints_, timer_expiries_, nmis_;
};

}  // namespace vellum
