// Locks on ranges of a disk for coroutines: shared or exclusive, granted in order of asking, so that nobody
// starves. What does not overlap does not wait. A few dozen at once: they stand in one list.
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

  /// Holds the lock until it is destroyed or released.
  class Guard {
   public:
    Guard(RangeLock& lock, Place place) : lock_(&lock), place_(place) {}
    Guard(Guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)), place_(other.place_) {}
    Guard& operator=(Guard&& other) noexcept {
      if (this != &other) {
        release();
        lock_ = std::exchange(other.lock_, nullptr);
        place_ = other.place_;
      }
      return *this;
    }
    ~Guard() { release(); }
    void release() {
      if (lock_ != nullptr) std::exchange(lock_, nullptr)->remove(place_);
    }
    /// From exclusive to shared, without letting go.
    void share() {
      place_->exclusive = false;
      lock_->grant();
    }
    bool exclusive() const { return place_->exclusive; }

   private:
    RangeLock* lock_;
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
