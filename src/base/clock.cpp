#include "base/clock.hpp"

#include <time.h>
#include <x86intrin.h>

#include <algorithm>

namespace vellum {
namespace {

u64 host_monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

// The host's TSC rate, measured against CLOCK_MONOTONIC over 10 ms: each end reads both clocks several times
// and keeps the closest pair, which is good to some parts per million.
u64 measure_tsc_hz() {
  struct Sample {
    u64 ns, tsc;
  };
  const auto sample = [] {
    Sample best{};
    u64 best_gap = ~u64{0};
    for (int i = 0; i < 16; ++i) {
      const u64 before = __rdtsc();
      const u64 ns = host_monotonic_ns();
      const u64 gap = __rdtsc() - before;
      if (gap < best_gap) {
        best_gap = gap;
        best = {ns, before + gap / 2};
      }
    }
    return best;
  };
  const Sample first = sample();
  const timespec pause{0, 10'000'000};
  ::nanosleep(&pause, nullptr);
  const Sample last = sample();
  return static_cast<u64>(static_cast<u128>(last.tsc - first.tsc) * 1'000'000'000 / (last.ns - first.ns));
}

}  // namespace

Timer::Timer(Clock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {}

Timer::~Timer() {
  disarm();
}

void Timer::arm(u64 deadline_ns) {
  if (deadline_ns > Clock::kEndNs) return disarm();
  bool earlier = false;
  {
    std::scoped_lock lock(clock_.mutex_);
    take_out();
    deadline_ns_ = deadline_ns;
    earlier = put_in();
  }
  if (earlier && clock_.notify_) clock_.notify_();
}

void Timer::disarm() {
  std::scoped_lock lock(clock_.mutex_);
  take_out();
}

std::optional<u64> Timer::hold() {
  u64 deadline = 0;
  {
    std::scoped_lock lock(clock_.mutex_);
    if (armed_ == Armed::kNo) return std::nullopt;
    take_out();
    armed_ = Armed::kHeld;
    deadline = deadline_ns_;
  }
  if (clock_.notify_) clock_.notify_();
  return clock_.host_monotonic(deadline);
}

void Timer::release() {
  bool due = false;
  bool earlier = false;
  {
    std::scoped_lock lock(clock_.mutex_);
    if (armed_ != Armed::kHeld) return;
    due = deadline_ns_ <= clock_.now_ns();
    if (due) {
      armed_ = Armed::kNo;
    } else {
      earlier = put_in();
    }
  }
  if (due) callback_();
  if (earlier && clock_.notify_) clock_.notify_();
}

void Timer::take_out() {
  if (armed_ == Armed::kQueued) clock_.armed_.erase({deadline_ns_, this});
  armed_ = Armed::kNo;
}

bool Timer::put_in() {
  const bool earlier = clock_.armed_.empty() || deadline_ns_ < clock_.armed_.begin()->first;
  clock_.armed_.insert({deadline_ns_, this});
  armed_ = Armed::kQueued;
  return earlier;
}

u64 Clock::ns_of_tsc(u64 tsc_value) const {
  const u64 hz = tsc_hz();
  const u128 ns = (static_cast<u128>(tsc_value) * 1'000'000'000 + hz - 1) / hz;
  return static_cast<u64>(std::min(ns, static_cast<u128>(~u64{0})));
}

std::optional<u64> Clock::next_deadline() const {
  std::scoped_lock lock(mutex_);
  if (armed_.empty()) return std::nullopt;
  return armed_.begin()->first;
}

unsigned Clock::run_expired() {
  unsigned count = 0;
  for (;;) {
    Timer* due = nullptr;
    {
      std::scoped_lock lock(mutex_);
      if (armed_.empty() || armed_.begin()->first > now_ns()) return count;
      due = armed_.begin()->second;
      due->armed_ = Timer::Armed::kNo;
      armed_.erase(armed_.begin());
    }
    due->callback_();
    ++count;
  }
}

RealClock::RealClock(u64 now_ns, u64 tsc) : tsc_hz_(measure_tsc_hz()) {
  start_ns_ = host_monotonic_ns() - now_ns;  // modulo 2^64, as the differences taken later
  start_tsc_ = __rdtsc() - tsc;
}

u64 RealClock::now_ns() const {
  return host_monotonic_ns() - start_ns_;
}

u64 RealClock::tsc() const {
  return __rdtsc() - start_tsc_;
}

WallTime RealClock::wall_time() const {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<u64>(now.tv_sec), static_cast<u32>(now.tv_nsec)};
}

VirtualClock::VirtualClock(u64 wall_start_seconds) : wall_start_seconds_(wall_start_seconds) {}

}  // namespace vellum
