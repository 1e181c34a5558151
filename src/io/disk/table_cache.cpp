#include "io/disk/table_cache.hpp"

#include <algorithm>

namespace vellum {

Task<Io<TableSliceRef>> TableCache::get(u64 offset) {
  for (;;) {
    if (const auto found = slices_.find(offset); found != slices_.end()) {
      by_age_.splice(by_age_.begin(), by_age_, found->second.age);
      co_return found->second.slice;
    }
    if (const auto busy = loading_.find(offset); busy != loading_.end()) {
      struct Wait {
        std::vector<std::coroutine_handle<>>& waiters;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> waiter) { waiters.push_back(waiter); }
        void await_resume() const noexcept {}
      };
      Wait wait{busy->second};
      co_await wait;
      continue;
    }
    loading_.try_emplace(offset);
    const u64 forgets = forgets_;
    auto slice = std::make_shared<TableSlice>();
    slice->offset = offset;
    slice->bytes.resize(slice_size_);
    const iovec buffer = buffer_of(std::span<u8>(slice->bytes));
    Task<int> reading = file_.read(offset, std::span<const iovec>(&buffer, 1));
    const int error = co_await reading;
    const auto node = loading_.extract(offset);
    for (const auto waiter : node.mapped()) file_.queue().resume_later(waiter);
    if (error != 0) co_return tl::unexpected(error);
    // What was read may have become something else meanwhile; then it is read again.
    if (forgets != forgets_) continue;
    make_room();
    by_age_.push_front(offset);
    slices_.insert_or_assign(offset, Entry{slice, by_age_.begin()});
    co_return slice;
  }
}

void TableCache::set_dirty(const TableSliceRef& slice) {
  if (slice->dirty || slice->forgotten) return;
  slice->dirty = true;
  dirty_.push_back(slice);
}

void TableCache::forget(u64 offset, u64 length) {
  ++forgets_;
  for (u64 at = offset; at < offset + length; at += slice_size_)
    if (const auto found = slices_.find(at); found != slices_.end()) {
      found->second.slice->forgotten = true;
      std::erase(dirty_, found->second.slice);
      by_age_.erase(found->second.age);
      slices_.erase(found);
    }
}

std::vector<TableCache::Copy> TableCache::take_dirty() {
  std::vector<Copy> copies;
  copies.reserve(dirty_.size());
  for (const TableSliceRef& slice : dirty_) {
    slice->dirty = false;
    copies.push_back({slice, slice->bytes});
  }
  dirty_.clear();
  std::ranges::sort(copies, {}, [](const Copy& copy) { return copy.slice->offset; });
  return copies;
}

Task<int> TableCache::write(const std::vector<Copy>& copies) {
  TaskGroup group;
  // What is side by side goes in one piece.
  std::list<Buffers> pieces;
  for (std::size_t first = 0; first < copies.size();) {
    Buffers& piece = pieces.emplace_back();
    std::size_t next = first;
    do piece.push_back(buffer_of(std::span<const u8>(copies[next++].bytes)));
    while (next < copies.size() &&
           copies[next].slice->offset == copies[next - 1].slice->offset + slice_size_);
    group.add(file_.write(copies[first].slice->offset, piece));
    first = next;
  }
  auto all = group.wait();
  const int error = co_await all;
  co_return error;
}

void TableCache::restore_dirty(const std::vector<Copy>& copies) {
  for (const Copy& copy : copies) set_dirty(copy.slice);
}

void TableCache::make_room() {
  // A few steps at most: what is dirty or held is passed over.
  auto oldest = by_age_.end();
  for (int steps = 0; slices_.size() >= max_slices_ && steps < 8 && oldest != by_age_.begin(); ++steps) {
    --oldest;
    const auto found = slices_.find(*oldest);
    if (found->second.slice->dirty || found->second.slice.use_count() > 1) continue;
    slices_.erase(found);
    oldest = by_age_.erase(oldest);
  }
}

}  // namespace vellum
