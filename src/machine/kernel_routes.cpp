#include "machine/kernel_routes.hpp"

#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.hpp"

namespace vellum {

kvm::Message kernel_message_of(const ApicMessage& m) {
  kvm::Message msi;
  msi.address = 0xfee0'0000 | u64{m.destination & 0xff} << 12 | (m.logical ? 4 : 0);
  msi.data = u32{m.vector} | static_cast<u32>(m.mode) << 8 | (m.level_triggered ? 0xc000u : 0);
  return msi;
}

/// One vector's.
class KernelRoutes::Port final : public MsiSink {
 public:
  Port(KernelRoutes& routes, u32 number) : routes_(routes), number_(number) {}

  // GUEST-CONTROLLED: the message, which the guest may change before each.
  void deliver(const MsiMessage& message) override {
    if (!known_ || message.address != last_.address || message.data != last_.data) {
      routed_ = route(message);
      last_ = message;
      known_ = true;
    }
    const u64 once = 1;
    if (routed_ && ::write(event_.get(), &once, sizeof once) == sizeof once)
      routes_.sent_.add();
    else
      routes_.otherwise_.deliver(message);
  }

 private:
  // Edges to be delivered as they are: what else a message can say, the board has to look at.
  bool route(const MsiMessage& message) {
    const auto meaning = apic_message_of(message);
    if (!meaning || meaning->level_triggered) return false;
    if (meaning->mode != DeliveryMode::kFixed && meaning->mode != DeliveryMode::kLowestPriority) return false;
    return routes_.set(number_, kernel_message_of(*meaning)) && listen();
  }
  bool listen() {
    if (refused_ || event_) return !refused_;
    event_ = FileDescriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    refused_ = !event_ || routes_.vm_.add_interrupt_event(number_, event_.get()) < 0;
    if (refused_) event_ = FileDescriptor();
    return !refused_;
  }

  KernelRoutes& routes_;
  const u32 number_;
  FileDescriptor event_;
  MsiMessage last_;
  bool known_ = false, routed_ = false, refused_ = false;
};

bool KernelRoutes::set(u32 number, const kvm::Message& message) {
  const std::scoped_lock lock(mutex_);
  VELLUM_ASSERT(number < routes_.size(), "interrupt {}", number);
  if (routes_[number] == message) return true;
  const kvm::Message before = std::exchange(routes_[number], message);
  changes_.add();
  const int result = vm_.set_routes(routes_);
  if (result >= 0) return true;
  spdlog::error("/dev/kvm: KVM_SET_GSI_ROUTING: error {}", -result);
  routes_[number] = before;
  return false;
}

std::unique_ptr<MsiSink> KernelRoutes::add_port() {
  const std::scoped_lock lock(mutex_);
  routes_.emplace_back();
  return std::make_unique<Port>(*this, static_cast<u32>(routes_.size() - 1));
}

void KernelRoutes::stats(std::vector<StatRow>& rows) const {
  if (changes_.get() != 0) rows.push_back({"local apics (kernel)", "routes changed", changes_.get(), 0});
  if (sent_.get() != 0) rows.push_back({"local apics (kernel)", "messages through eventfds", sent_.get(), 0});
}

}  // namespace vellum
