#include "devices/virtio/rng.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>

#include "base/assert.hpp"

namespace vellum::virtio {
namespace {

constexpr u64 kPiece = 256;      ///< getrandom(2) gives so much at once without being interrupted
constexpr u64 kMost = 64 << 10;  ///< for one chain: a driver may not keep the loop for long

}  // namespace

Rng::Rng(const IoContext& context, const State& state)
    : Device(context, {4, 0x00ff00, "virtio-rng", 0, {64}}, state.virtio), counter_(state.counter) {}

void Rng::fill(std::span<u8> bytes) {
  if (!context().synchronous) {
    const auto got = ::getrandom(bytes.data(), bytes.size(), 0);
    VELLUM_ASSERT(got == static_cast<ssize_t>(bytes.size()), "getrandom() gave {} of {} bytes", got,
                  bytes.size());
    return;
  }
  for (u8& byte : bytes) {
    u64 z = ++counter_ * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    byte = static_cast<u8>(z >> 56);
  }
}

void Rng::process(unsigned index) {
  Queue* const q = queue(index);
  if (q == nullptr) return;
  q->disable_notifications();
  Chain chain;
  unsigned taken = 0;
  while (q->pop(chain)) {
    const u64 wanted = std::min(chain.writable_size(), kMost);
    std::array<u8, kPiece> bytes{};
    u64 done = 0;
    while (done < wanted) {
      const auto piece = std::span(bytes).first(std::min<u64>(kPiece, wanted - done));
      fill(piece);
      done += write_chain(dma(), chain, done, piece);
    }
    complete(index, chain, static_cast<u32>(done));
    // A driver that refills as fast as this empties must not keep the loop from others.
    if (++taken == q->state().size) break;
  }
  check(index);
  if (q->enable_notifications()) look_again(index);
}

SavedState Rng::save() const {
  State state;
  state.virtio = device_state();
  state.counter = counter_;
  return encode_state(state);
}

}  // namespace vellum::virtio
