#include "devices/e1000/interrupts.hpp"

#include <algorithm>
#include <utility>

namespace vellum::e1000 {
namespace {

constexpr u64 kLongestInterval = u64{0xffff} * 256;

}  // namespace

void Interrupts::set(bool asserted) {
  if (asserted_ == asserted) return;
  asserted_ = asserted;
  drive_(asserted);
}

void Interrupts::update() {
  if ((s_.causes & s_.mask) == 0) {
    timer_.disarm();
    return set(false);
  }
  if (asserted_) return;
  const u64 now = clock_.now_ns();
  if (now < s_.not_before_ns) return timer_.arm(s_.not_before_ns);
  s_.not_before_ns = now + interval_ns_;
  set(true);
}

void Interrupts::raise(u32 causes) {
  s_.causes |= causes & kAllCauses;
  update();
}

u32 Interrupts::take() {
  const u32 causes = std::exchange(s_.causes, 0);
  update();
  return causes;
}

void Interrupts::clear(u32 causes) {
  s_.causes &= ~causes;
  update();
}

void Interrupts::enable(u32 causes) {
  s_.mask |= causes & kAllCauses;
  update();
}

void Interrupts::disable(u32 causes) {
  s_.mask &= ~causes;
  update();
}

void Interrupts::reset() {
  s_ = {};
  interval_ns_ = 0;
  update();
}

void Interrupts::restore(const State& state, u32 interval, bool asserted) {
  s_.causes = state.causes & kAllCauses;
  s_.mask = state.mask & kAllCauses;
  s_.not_before_ns = std::min(state.not_before_ns, clock_.now_ns() + kLongestInterval);
  set_interval(interval);
  asserted_ = asserted && (s_.causes & s_.mask) != 0;
  drive_(asserted_);
  update();
}

}  // namespace vellum::e1000
