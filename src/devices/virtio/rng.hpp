// virtio-rng (virtio 1.2 §5.4): the host's randomness. Under the virtual clock, where each run is the same,
// what it gives is computed from a counter instead.
#pragma once

#include "devices/virtio/device.hpp"

namespace vellum::virtio {

class Rng final : public Device, public Snapshottable {
 public:
  struct State {
    static constexpr std::string_view kKind = "virtio-rng";
    static constexpr u32 kVersion = 1;
    DeviceState virtio;
    u64 counter = 0;
    State() {}
    template <class V>
    void visit(V& v) {
      v(virtio), v(counter);
    }
  };
  explicit Rng(const IoContext& context, const State& state = State());
  SavedState save() const override;

 private:
  std::vector<u8> config() const override { return {}; }
  void process(unsigned queue) override;
  void fill(std::span<u8> bytes);

  u64 counter_;
};

}  // namespace vellum::virtio
