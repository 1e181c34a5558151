// Local APICs that the host's kernel keeps (KVM's split irqchip): how the board's messages get there, and how
// their state comes back in LocalApic's form, so that it can go on on another engine.
#pragma once

#include <atomic>

#include "cpu/bare_board.hpp"
#include "cpu/hazard.hpp"
#include "cpu/kvm/engine.hpp"
#include "irq/apic_image.hpp"
#include "machine/kernel_routes.hpp"

namespace vellum {

/// All of one machine's.
class KernelApics final : public RemoteApics, public kvm::EoiSink, public StatSource {
 public:
  /// Attaches itself to both.
  KernelApics(kvm::Vm& vm, ApicBus& bus);

  /// A vCPU that the 8259 may interrupt. Before they run.
  void add(Hazards& hazards);

  bool post(const ApicMessage& message) override;
  void pin_programmed(unsigned pin, const ApicMessage& message) override;
  void set_lint0(bool asserted) override;
  void eoi(u8 vector) override { bus_.broadcast_eoi(vector); }
  bool lint0() const { return lint0_.load(std::memory_order_acquire); }

  /// For functions with MSI-X.
  MsiPorts& msi_ports() { return routes_; }

  void stats(std::vector<StatRow>& rows) const override;

 private:
  const kvm::Vm& vm_;
  ApicBus& bus_;
  std::vector<Hazards*> vcpus_;
  std::atomic<bool> lint0_{false};
  KernelRoutes routes_;
  SharedCounter messages_;  ///< of whoever has an interrupt to send, but for routes_
};

/// One vCPU's: what the engine still asks of the board, and the state. Otherwise as bare as a board can be:
/// what the kernel refuses is #GP.
class KernelApic final : public BareBoard, public Snapshottable {
 public:
  KernelApic(u32 id, u32 cpu_count, const Clock& clock, KernelApics& all, ExtIntSource& pic,
             const LocalApic::State& state)
      : id_(id), cpu_count_(cpu_count), clock_(clock), all_(all), pic_(pic), start_(state) {}

  /// Gives the kernel the state. Once the engine's own is there, and before it runs.
  Result<> connect(kvm::KvmEngine& engine);
  /// As LocalApic's.
  Result<> enter_virtual_wire_mode();
  /// While the vCPU does not run.
  SavedState save() const override;

  /// An ExtINT: the only interrupts that do not reach the kernel by themselves.
  int acknowledge_interrupt() override;
  u32 apic_id() const override { return id_; }
  u32 cpu_count() const override { return cpu_count_; }
  u64 apic_timer_hz() const override { return kApicTimerHz; }

 private:
  Result<LocalApic::State> state() const;
  Result<> set(const LocalApic::State& state);

  const u32 id_, cpu_count_;
  const Clock& clock_;
  KernelApics& all_;
  ExtIntSource& pic_;
  LocalApic::State start_;
  kvm::KvmEngine* engine_ = nullptr;
};

}  // namespace vellum
