// GuestRam's dirty log.
//
// A page that counts as clean is watched as a page with code is: all its chunks are set, and it is read-only
// in the views. So the first store to it, of whatever engine or device, takes the way that a store to code
// takes, note_store(), is noted, and ends the watch. What that costs: code in a page that is stored to, too,
// is decoded again after each look at the log.
#include <algorithm>
#include <bit>

#include "base/thread_barrier.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

void GuestRam::add_dirty_source(DirtySource& source) {
  dirty_sources_.push_back(&source);
}

void GuestRam::remove_dirty_source(DirtySource& source) {
  std::erase(dirty_sources_, &source);
}

// Under code_mutex_. A barrier on all threads has to follow.
void GuestRam::watch_stores_to(u64 page) {
  const u64 before = code_pages_[page].chunks.exchange(~u64{0}, std::memory_order_seq_cst);
  if (before == 0 && views_ != nullptr) views_->protect(page << kPageShift);
}

void GuestRam::start_dirty_log() {
  const u64 pages = (size_ + block_room_) >> kPageShift;
  {
    const std::lock_guard lock(code_mutex_);
    dirty_.assign((pages + 63) / 64, 0);
    for (u64 page = 0; page < pages; ++page) watch_stores_to(page);
    barrier_on_all_threads();
  }
  for (DirtySource* source : dirty_sources_) source->watch_stores(true);
}

// Pages that are still watched stay so until their next store.
void GuestRam::stop_dirty_log() {
  for (DirtySource* source : dirty_sources_) source->watch_stores(false);
  const std::lock_guard lock(code_mutex_);
  dirty_.clear();
}

std::vector<u64> GuestRam::take_dirty_pages() {
  std::vector<u64> taken;
  {
    const std::lock_guard lock(code_mutex_);
    taken.assign(dirty_.size(), 0);
    taken.swap(dirty_);
    for (u64 word = 0; word < taken.size(); ++word)
      for (u64 bits = taken[word]; bits != 0; bits &= bits - 1)
        watch_stores_to(word * 64 + static_cast<u64>(std::countr_zero(bits)));
    // A store whose thread saw the page unwatched was made before that look; it is visible after this.
    barrier_on_all_threads();
  }
  if (!taken.empty())
    for (DirtySource* source : dirty_sources_) source->add_dirty_pages(taken);
  return taken;
}

}  // namespace vellum
