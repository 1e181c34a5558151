// Locks on ranges of a disk for coroutines: shared or exclusive. Those that overlap are granted in order of
// asking, so that nobody starves; those that do not are granted at once. All that are held or wait stand in
// one list, which each grant walks: good for as many as a guest has requests under way at one disk, dozens;
// hundreds cost time that grows with their square.
#pragma once

#include <coroutine>
#include <list>

#include "io/disk/io_queue.hpp"

namespace vellum {

class RangeLock {
  struct Entry {
    u64 first, last;
    bool exclusive;
    bool granted = false;
    std::coroutine_handle<> waiter;
  };
  using Place = std::list<Entry>::iterator;

 public:
  explicit RangeLock(IoQueue& queue) : queue_(queue) {}

  /// Holds the lock until it is destroyed.
  class Guard {
   public:
    Guard(RangeLock& lock, Place place) : lock_(lock), place_(place) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() { lock_.remove(place_); }

   private:
    RangeLock& lock_;
    Place place_;
  };

  /// `co_await lock(first, last, exclusive)` is a Guard; both ends are inclusive.
  auto lock(u64 first, u64 last, bool exclusive) {
    struct Wait {
      RangeLock& lock;
      Place place;
      bool await_ready() const noexcept { return place->granted; }
      void await_suspend(std::coroutine_handle<> waiter) { place->waiter = waiter; }
      Guard await_resume() { return Guard(lock, place); }
    };
    const Place place = entries_.insert(entries_.end(), Entry{first, last, exclusive, false, {}});
    place->granted = !blocked(place);
    return Wait{*this, place};
  }

 private:
  // Whether one before it, granted or waiting, overlaps and either is exclusive.
  bool blocked(Place place) {
    for (auto other = entries_.begin(); other != place; ++other)
      if ((other->exclusive || place->exclusive) && other->first <= place->last &&
          place->first <= other->last)
        return true;
    return false;
  }
  void remove(Place place) {
    entries_.erase(place);
    grant();
  }
  void grant() {
    for (auto place = entries_.begin(); place != entries_.end(); ++place)
      if (!place->granted && !blocked(place)) {
        place->granted = true;
        if (place->waiter) queue_.resume_later(place->waiter);
      }
  }

  IoQueue& queue_;
  std::list<Entry> entries_;
};

}  // namespace vellum
