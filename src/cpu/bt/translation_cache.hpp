// The translations of a VM, which its vCPUs share (docs/design/binary-translation.md, "One cache for all
// vCPUs").
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "cpu/bt/code_cache.hpp"
#include "cpu/bt/fault_table.hpp"
#include "cpu/bt/options.hpp"
#include "cpu/bt/perf_map.hpp"
#include "cpu/bt/translation.hpp"
#include "cpu/interp/native.hpp"

namespace vellum::bt {

/// Everything translated since the cache was last emptied, and what that refers to. A vCPU keeps the one that
/// it runs in: an old one goes with the last vCPU that leaves it.
///
/// Code is run, and Sites are read, without the lock; all else is under it. Nothing moves or goes away.
struct Era {
  Era(u32 serial, std::size_t code_bytes) : number(serial), code(code_bytes), faults(code_bytes) {}

  const u32 number;  ///< not 0; no other of this VM has it
  CodeCache code;
  FaultTable faults;
  std::deque<Translation> translations;
  std::deque<Site> sites;
  std::deque<interp::Insn> insns;  ///< what Sites refer to
  interp::NativeCode thunks;       ///< what those refer to
  std::vector<Link> links;
  u32 far_links = 0;  ///< how many of Context::far_serials they use
  /// Those made from a page, by where on a page they begin: there may be one for each of its bytes.
  std::unordered_map<const CodePage*, std::vector<Translation*>> by_page;

  /// Whether one more unit, of any kind, finds room.
  bool has_room() const;
  /// The translations that begin where one at `linear` does, in pages of `page`'s.
  std::span<Translation* const> starting_at(const CodePage* page, u64 linear) const;
};

class TranslationCache {
 public:
  /// `shared`: several vCPUs use it, so code that is patched is laid out in a way that others may run it
  /// meanwhile. `first`: of the process, for PerfMap.
  TranslationCache(const Options& options, bool shared, bool first);

  std::mutex& mutex() { return mutex_; }
  bool shared() const { return shared_; }

  /// No vCPU has flat tables, by choice or as the host has not even room for the first one's. Said before
  /// another is made.
  void look_all_up() { all_looked_up_ = true; }
  bool all_looked_up() const { return all_looked_up_; }

  /// What is translated now goes here. The lock is held.
  std::shared_ptr<Era> era() const { return era_; }
  /// Whether `era` is still that. Any thread, without the lock.
  bool is_current(const Era& era) const { return number_.load(std::memory_order_acquire) == era.number; }
  /// Begins another era; nobody waits. The lock is held.
  void flush();

  // For statistics; any thread.
  u64 flushes() const { return number_.load(std::memory_order_relaxed) - 1u; }
  u64 bytes_used() const;

  /// The lock is held.
  PerfMap& perf_map() { return perf_map_; }

 private:
  const std::size_t bytes_;
  const bool shared_;
  bool all_looked_up_ = false;
  mutable std::mutex mutex_;  ///< before the trace's
  std::shared_ptr<Era> era_;
  std::atomic<u32> number_{1};
  PerfMap perf_map_;
};

}  // namespace vellum::bt
