// The PC's 8254 interval timer: counter 0 drives IRQ 0, counter 1 was the memory refresh, counter 2 the
// speaker, with its gate and output in system control port B.
//
// Offsets on the bus:   0 to 3   counters and control word (ports 0x40 to 0x43)
//                       4        system control port B (port 0x61)
//
// A periodic counter whose ticks come faster than they can be taken delivers one interrupt for all that were
// missed (and never more than one in kMinPeriodNs); the counter itself stays exact.
#pragma once

#include <array>
#include <mutex>

#include "base/clock.hpp"
#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/legacy/pit_channel.hpp"
#include "irq/line.hpp"

namespace vellum {

class Pit final : public ByteDevice, public Snapshottable, public StatSource {
 public:
  static constexpr u64 kHz = 1'193'182;
  static constexpr u64 kPort = 0x40, kPortCount = 4;
  static constexpr u64 kControlBPort = 0x61, kControlBOffset = 4;
  static constexpr unsigned kIrq = 0;
  static constexpr u64 kMinPeriodNs = 20'000;

  struct State {
    static constexpr std::string_view kKind = "pit8254";
    static constexpr u32 kVersion = 1;
    std::array<PitChannel, 3> channels{};
    u8 control_b = 0;  ///< the writable bits of port 0x61
    State() { channels[2].gate = false; }
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(channels), v(control_b);
    }
  };

  Pit(Clock& clock, InterruptLine& irq0, const State& state = State());

  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  // With mutex_ held.
  u64 now_pulse() const;
  void sync();  ///< brings all counters to now, and IRQ 0 with them
  void rearm();
  void write_control(u8 value);
  u8 read_control_b() const;
  void on_timer();

  Clock& clock_;
  InterruptLine& irq0_;
  mutable std::mutex mutex_;
  State state_;
  u64 last_tick_ns_ = 0;
  Counter ticks_, missed_;
  Timer timer_;
};

}  // namespace vellum
