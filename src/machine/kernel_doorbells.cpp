#include "machine/kernel_doorbells.hpp"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "boot/memory_map.hpp"

namespace vellum {
namespace {

bool may_be_taken(const DoorbellPlace& place) {
  const bool beside_io_apic =
      place.address >= layout::kIoApic.value && place.address < GuestRam::kHighRamStart;
  return place.address >= layout::kHighMemory.value && !beside_io_apic;
}

}  // namespace

KernelDoorbells::KernelDoorbells(const kvm::Vm& vm, EventLoop& loop)
    : vm_(vm), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) {
    spdlog::warn("cannot create an epoll descriptor: {}; virtqueues' notifications are exits",
                 std::strerror(errno));
    return;
  }
  loop.run_on_loop([&] {
    auto watch = loop.watch(epoll_.get(), EventLoop::Direction::kRead, [this] { answer(); });
    if (!watch) {
      spdlog::warn("{}; virtqueues' notifications are exits", watch.error().message);
      return;
    }
    watch_ = std::move(*watch);
    watch_->arm();
  });
}

unsigned KernelDoorbells::add(std::function<void()> ring) {
  auto bell = std::make_unique<Bell>();
  bell->ring = std::move(ring);
  if (watch_) {
    FileDescriptor event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.ptr = bell.get();
    if (event && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event.get(), &wanted) == 0)
      bell->event = std::move(event);
    else
      refused_.add();
  }
  const std::scoped_lock lock(mutex_);
  bells_.push_back(std::move(bell));
  return static_cast<unsigned>(bells_.size() - 1);
}

void KernelDoorbells::move(unsigned number, const std::optional<DoorbellPlace>& place) {
  const std::scoped_lock lock(mutex_);
  Bell& bell = *bells_[number];
  if (!bell.event) return;
  if (bell.place) {
    // It cannot fail for one that is there; a failure would leave rings that no device owes anything to.
    if (const int result = vm_.set_doorbell(*bell.place, bell.event.get(), false); result < 0)
      spdlog::error("/dev/kvm: a doorbell at {:#x} stays: error {}", bell.place->address, -result);
    bell.place.reset();
  }
  if (!place || !may_be_taken(*place)) return;
  moves_.add();
  // The kernel has room for some hundreds. Beyond, each write is an exit.
  if (vm_.set_doorbell(*place, bell.event.get(), true) < 0) {
    refused_.add();
    return;
  }
  bell.place = place;
}

// On the loop's thread. What rings while this runs makes the epoll descriptor ready again.
void KernelDoorbells::answer() {
  std::array<epoll_event, 32> ready;
  const int count = ::epoll_wait(epoll_.get(), ready.data(), ready.size(), 0);
  for (int i = 0; i < count; ++i) {
    // SAFETY: add() put it there; bells live as long as the watch.
    const Bell& bell = *static_cast<const Bell*>(ready[static_cast<std::size_t>(i)].data.ptr);
    u64 times = 0;
    if (::read(bell.event.get(), &times, sizeof times) != sizeof times) continue;
    rings_.add(times);
    bell.ring();
  }
  watch_->arm();
}

void KernelDoorbells::stats(std::vector<StatRow>& rows) const {
  const auto row = [&](const char* name, u64 count) {
    if (count != 0) rows.push_back({"doorbells (kernel)", name, count, 0});
  };
  row("rung", rings_.get());
  row("placed", moves_.get());
  row("refused", refused_.get());
}

}  // namespace vellum
