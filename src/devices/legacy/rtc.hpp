// The MC146818 real-time clock and its battery-backed RAM (Motorola MC146818A data sheet; ports and RAM
// layout of the PC/AT). IRQ 8.
//
// Offsets on the bus:   0   index; bit 7 masks NMI (port 0x70; reads 0xff)
//                       1   data                   (port 0x71)
//
// The time is not counted but computed: it is the machine's wall clock plus an offset, to the nanosecond, and
// the offset is what is saved. So a restored RTC shows the time and ticks at the moments that it would have
// if the machine had not been away. A host timer runs only while an enabled interrupt is not yet requested: a
// guest that does not read register C costs nothing, and missed periodic ticks are one flag, as on the chip.
//
//   second n-1 |  ...........................  UIP=1 for 2228 us | second n: registers change, UF and AF rise
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <optional>

#include "base/clock.hpp"
#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/legacy/rtc_time.hpp"
#include "irq/line.hpp"

namespace vellum {

class Rtc final : public ByteDevice, public Snapshottable, public StatSource {
 public:
  static constexpr u64 kPort = 0x70, kPortCount = 2;
  static constexpr unsigned kIrq = 8;
  static constexpr u8 kCenturyRegister = 0x32;  ///< the FADT's CENTURY field

  struct State {
    static constexpr std::string_view kKind = "rtc-mc146818";
    static constexpr u32 kVersion = 2;
    std::array<u8, 128>
        ram{};  ///< all registers; the time's are current when the clock stands, stale when it runs
    u8 index = 0;
    bool nmi_masked = false;
    RtcSpan
        wall_offset;  ///< the RTC's time minus the machine's wall clock; its `ns` is the phase of the seconds
    u8 weekday_bias = 0;  ///< what the guest added to the calendar's day of the week, modulo 7
    u64 seen_ns = 0;      ///< flags in register C are computed up to here
    State() {}
    /// Power-on with a good battery: 24 h, BCD, and the RAM as firmware leaves it for a machine with this
    /// much memory below and above 4 GiB, in bytes, and these floppy disk drives (0: none; 1 to 5 by size).
    static State power_up(u64 low_memory, u64 high_memory, unsigned cpus = 1,
                          std::array<u8, 2> floppy_drives = {});
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(ram), v(index), v(nmi_masked), v(wall_offset.seconds), v(wall_offset.ns), v(weekday_bias), v(seen_ns);
    }
  };

  Rtc(Clock& clock, InterruptLine& irq8, const State& state);

  /// Port 0x70's bit 7: the board holds NMIs back from LINT1. Lock-free.
  bool nmi_masked() const { return nmi_masked_.load(std::memory_order_relaxed); }

  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  // With mutex_ held.
  u8 read_register(u8 index);
  void write_register(u8 index, u8 value);
  bool running() const;
  RtcSpan time_at(u64 ns) const { return base_ + span_of_ns(ns); }
  RtcSpan wall_time() const;
  void set_time(u64 now, RtcSpan time);
  i64 seconds_at(u64 ns) const { return time_at(ns).seconds; }
  u64 start_of(i64 rtc_second) const;
  u8 encode(unsigned value) const;
  unsigned decode(u8 value) const;
  u8 encode_hour(unsigned hour) const;
  unsigned decode_hour(u8 value) const;
  void load_time_registers(u64 now);   ///< clock -> RAM
  void store_time_registers(u64 now);  ///< RAM -> clock
  bool updating(u64 now) const;
  u64 periodic_ticks(u64 ns) const;
  u64 periodic_ns() const;
  std::optional<i64> next_alarm_after(i64 second) const;
  u8 risen_flags(u64 now) const;
  void sync(u64 now);
  void update_irq();
  void rearm(u64 now);
  void on_timer();

  Clock& clock_;
  InterruptLine& irq8_;
  mutable std::mutex mutex_;
  State state_;
  RtcSpan base_;  // the RTC's time at guest time 0
  std::atomic<bool> nmi_masked_;
  Counter interrupts_;
  Timer timer_;
};

}  // namespace vellum
