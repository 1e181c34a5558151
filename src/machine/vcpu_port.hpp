// Where a vCPU's core meets its local APIC: what the engine asks of the board, and what the APIC tells the
// core, as bits of the hazard word.
#pragma once

#include "cpu/hazard.hpp"
#include "cpu/vcpu_board.hpp"
#include "devices/legacy/coprocessor_error.hpp"
#include "irq/local_apic.hpp"

namespace vellum {

/// The APIC's way to the core. Any thread, under the APIC's lock; only sets and clears bits.
class HazardHost final : public ApicHost {
 public:
  explicit HazardHost(Hazards& hazards) : hazards_(hazards) {}
  void interrupt_pending(bool pending) override {
    if (pending) {
      hazards_.set(Hazards::kInterrupt);
    } else {
      hazards_.clear(Hazards::kInterrupt);
    }
  }
  void nmi() override { hazards_.set(Hazards::kNmi); }
  void init() override { hazards_.set(Hazards::kInit); }
  void sipi(u8 vector) override {
    hazards_.sipi_vector.store(vector, std::memory_order_release);
    hazards_.set(Hazards::kSipi);
  }

 private:
  Hazards& hazards_;
};

/// The core's way to the APIC; on the vCPU's thread.
class VcpuPort final : public VcpuBoard {
 public:
  /// `x87_error`: where FERR# goes, or nullptr.
  VcpuPort(LocalApic& apic, unsigned cpu_count, CoprocessorError* x87_error)
      : apic_(apic), cpu_count_(cpu_count), x87_error_(x87_error) {}
  int acknowledge_interrupt() override { return apic_.acknowledge(); }
  bool read_apic_msr(u32 msr, u64& value) override { return apic_.read_msr(msr, value); }
  bool write_apic_msr(u32 msr, u64 value) override { return apic_.write_msr(msr, value); }
  u64 apic_page() const override { return apic_.page(); }
  u64 read_apic_page(u32 offset, unsigned size) override { return apic_.read_page(offset, size); }
  void write_apic_page(u32 offset, unsigned size, u64 value) override {
    apic_.write_page(offset, size, value);
  }
  u8 read_cr8() override { return apic_.cr8(); }
  void write_cr8(u8 value) override { apic_.set_cr8(value); }
  bool drive_ferr(bool asserted) override {
    return x87_error_ != nullptr && x87_error_->drive_ferr(asserted);
  }
  u32 apic_id() const override { return apic_.id(); }
  u32 cpu_count() const override { return cpu_count_; }
  u64 apic_timer_hz() const override { return kApicTimerHz; }

 private:
  LocalApic& apic_;
  const u32 cpu_count_;
  CoprocessorError* const x87_error_;
};

}  // namespace vellum
