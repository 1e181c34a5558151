// Carries interrupt messages to the local APICs that they name (SDM vol. 3A §11.6.2), and EOIs back to the
// I/O APICs.
//
// Threads: attach() before the vCPUs run; everything else from any thread. The bus has no lock: it asks one
// local APIC after the other, each under its own, so two vCPUs may send to each other at the same time. A
// sender must hold no local APIC's lock.
#pragma once

#include <vector>

#include "irq/apic_message.hpp"
#include "irq/line.hpp"

namespace vellum {

class LocalApic;

/// Hears of the end of every level-triggered interrupt.
class EoiListener {
 public:
  virtual ~EoiListener() = default;
  virtual void end_of_interrupt(u8 vector) = 0;
};

/// Local APICs that are no objects here: the host's kernel keeps them, and sends IPIs between them by itself.
/// Any thread; must not call back.
class RemoteApics {
 public:
  virtual ~RemoteApics() = default;
  /// Returns whether some local APIC accepted it. From several threads at a time: under the I/O APIC's lock,
  /// or, for an MSI, a lock of its sender's or none.
  virtual bool post(const ApicMessage& message) = 0;
  /// What input `pin` of the I/O APIC sends from now on: the EOIs of levels have to come back. Under the I/O
  /// APIC's lock.
  virtual void pin_programmed(unsigned pin, const ApicMessage& message) = 0;
  /// The level at every processor's LINT0. Under the 8259's lock.
  virtual void set_lint0(bool asserted) = 0;
};

class ApicBus final : public MsiSink {
 public:
  ApicBus() = default;
  ApicBus(const ApicBus&) = delete;
  ApicBus& operator=(const ApicBus&) = delete;

  void attach(LocalApic& apic);
  /// All messages go there, and no LocalApic is attached. Before everything else.
  void attach(RemoteApics& remote) { remote_ = &remote; }
  /// An I/O APIC attaches itself; once more does nothing.
  void attach(EoiListener& listener);

  /// Delivers to the destination. Returns whether some local APIC accepted it.
  bool post(const ApicMessage& message);
  /// Delivers to all local APICs, or all but `except`, whatever `message.destination` says.
  void post_to_all(const ApicMessage& message, const LocalApic* except);
  /// An MSI. GUEST-CONTROLLED: address and data come from the guest through a device.
  void deliver(const MsiMessage& message) override;

  void pin_programmed(unsigned pin, const ApicMessage& message) {
    if (remote_ != nullptr) remote_->pin_programmed(pin, message);
  }

  void broadcast_eoi(u8 vector);

  /// The processors' LINT0 pins (wired to the 8259's INTR) and LINT1 pins (wired to NMI), all in parallel, as
  /// the Multiprocessor Specification has it (§3.6.2.2).
  InterruptLine& lint0() { return lint0_; }
  InterruptLine& lint1() { return lint1_; }

 private:
  class Lint final : public InterruptLine {
   public:
    Lint(ApicBus& bus, unsigned pin) : bus_(bus), pin_(pin) {}
    void set(bool asserted) override;

   private:
    ApicBus& bus_;
    unsigned pin_;
  };

  bool post_lowest_priority(const ApicMessage& message);

  RemoteApics* remote_ = nullptr;
  std::vector<LocalApic*> apics_;  // ascending by id
  std::vector<EoiListener*> listeners_;
  Lint lint0_{*this, 0};
  Lint lint1_{*this, 1};
};

}  // namespace vellum
