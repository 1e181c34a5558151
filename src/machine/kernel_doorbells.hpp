// Doorbells that the host's kernel answers for KVM's guests (KVM_IOEVENTFD): an eventfd each, all of which
// the event loop waits for.
//
// Below 1 MiB and from the I/O APIC's page to 4 GiB no doorbell is taken: devices of the board's own, and RAM
// under ROM, may come before a window that the guest puts there, of which the kernel knows nothing.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "base/fd.hpp"
#include "base/stats.hpp"
#include "cpu/kvm/vm.hpp"
#include "io/event_loop.hpp"
#include "memory/doorbell.hpp"

namespace vellum {

class KernelDoorbells final : public DoorbellTaker, public StatSource {
 public:
  /// Both outlive it. Where this host has no descriptors left, every write stays an exit.
  KernelDoorbells(const kvm::Vm& vm, EventLoop& loop);
  /// On the loop's thread, or while none runs. What the kernel has of it goes with the VM, which runs no
  /// more.
  ~KernelDoorbells() override = default;
  KernelDoorbells(const KernelDoorbells&) = delete;
  KernelDoorbells& operator=(const KernelDoorbells&) = delete;

  unsigned add(std::function<void()> ring) override;
  void move(unsigned bell, const std::optional<DoorbellPlace>& place) override;

  void stats(std::vector<StatRow>& rows) const override;

 private:
  struct Bell {
    FileDescriptor event;
    std::function<void()> ring;
    std::optional<DoorbellPlace> place;  ///< as the kernel has it; under mutex_
  };
  void answer();

  const kvm::Vm& vm_;
  FileDescriptor epoll_;  ///< of all bells' events
  std::unique_ptr<EventLoop::Watch> watch_;
  std::mutex mutex_;                          // a leaf
  std::vector<std::unique_ptr<Bell>> bells_;  // grows while the board is built
  Counter rings_;                             ///< the loop's
  SharedCounter moves_, refused_;
};

}  // namespace vellum
