// What each interrupt of KVM's sends to the local APICs in the kernel (KVM_SET_GSI_ROUTING): the I/O APIC's
// inputs first, of which the kernel takes only which are levels, then a number for each MSI-X vector, which
// is sent by a write to an eventfd (KVM_IRQFD).
//
// A vector's message is programmed when it is first sent, and when it has changed since: masks, the enable
// bits, reset and restore are Msix's business, and need nothing here.
#pragma once

#include <mutex>
#include <vector>

#include "base/fd.hpp"
#include "base/stats.hpp"
#include "cpu/kvm/vm.hpp"
#include "irq/msi.hpp"

namespace vellum {

/// A message to local APICs as an MSI (SDM vol. 3A §11.11). Destinations of 8 bits: the board's own are never
/// wide.
kvm::Message kernel_message_of(const ApicMessage& message);

class KernelRoutes final : public MsiPorts, public StatSource {
 public:
  /// `otherwise` gets what no eventfd can carry. Both outlive it.
  KernelRoutes(const kvm::Vm& vm, MsiSink& otherwise) : vm_(vm), otherwise_(otherwise) {}

  /// Whether the kernel took it. Any thread.
  bool set(u32 number, const kvm::Message& message);
  std::unique_ptr<MsiSink> add_port() override;

  void stats(std::vector<StatRow>& rows) const override;

 private:
  class Port;

  const kvm::Vm& vm_;
  MsiSink& otherwise_;
  std::mutex mutex_;  // a leaf
  std::vector<kvm::Message> routes_ = std::vector<kvm::Message>(kvm::kIoApicPins);
  SharedCounter changes_, sent_;
};

}  // namespace vellum
