// Another medium in a drive of a channel.
#include <utility>

#include "base/assert.hpp"
#include "devices/ide/channel.hpp"

namespace vellum::ide {

bool Channel::change(unsigned n, std::shared_ptr<Disk> medium, bool force) {
  {
    const std::scoped_lock lock(mutex_);
    Drive& changed = drives_.at(n);
    VELLUM_ASSERT(changed.cdrom, "{}: drive {} keeps its medium", name_, n);
    if (changed.medium == nullptr && medium == nullptr) return true;
    Tray& tray = s_.devices[n].tray;
    if (tray.locked && changed.medium != nullptr && !force) {
      tray.event = MediaEvent::kEjectRequest;
      return false;
    }
    std::swap(changed.medium, medium);
    const bool has_medium = changed.medium != nullptr;
    tray.open = false;
    tray.attention = has_medium;
    tray.event = has_medium ? MediaEvent::kNewMedium : MediaEvent::kRemoval;
    const bool reads = s_.phase == Phase::kPioIn || s_.phase == Phase::kDmaIn;
    if (selected() == n && s_.packet && reads && s_.left != 0) {
      ++generation_;  // what is under way goes nowhere
      under_way_ = s_.work = false;
      s_.buffer.clear();
      s_.position = s_.block_end = 0;
      s_.left = 0;
      fail_packet(has_medium ? kMediumChanged : kNoMedium);
      tray.attention = false;  // it has heard
    }
  }
  if (medium != nullptr) medium->finish_all();
  return true;
}

Tray Channel::tray(unsigned n) const {
  const std::scoped_lock lock(mutex_);
  return s_.devices.at(n).tray;
}

}  // namespace vellum::ide
