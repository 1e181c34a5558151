// A serial port: the National Semiconductor PC16550D UART as PCs wire it (data sheet, June 1995).
//
// Output goes to a ByteSink the moment it is written to THR: the transmitter is always empty. Input comes
// through receive(), which takes what fits: nothing that the host sends is lost, unless the guest itself
// resets the FIFO.
//
// Deviations: no line speed (bytes arrive when the host has them), so the character time-out of the receiver
// FIFO is immediate; no modem on the other side, CTS, DSR and DCD are always asserted.
#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/legacy/byte_sink.hpp"
#include "irq/line.hpp"

namespace vellum {

class Uart16550 final : public ByteDevice, public Snapshottable, public StatSource {
 public:
  static constexpr u64 kPortCount = 8;
  static constexpr u64 kCom1Port = 0x3f8;
  static constexpr unsigned kCom1Irq = 4;
  static constexpr std::size_t kFifoSize = 16;

  struct State {
    static constexpr std::string_view kKind = "uart16550";
    static constexpr u32 kVersion = 1;
    u8 ier = 0;
    u8 fcr = 0;  ///< FIFO enable and trigger level
    u8 lcr = 0;
    u8 mcr = 0;
    u8 lsr_errors = 0;  ///< overrun: the error that belongs to no character
    u8 msr_deltas = 0;
    u8 scratch = 0;
    u16 divisor = 12;  ///< 9600 baud
    bool thre_pending = false;
    u8 last_received = 0;   ///< what RBR reads when nothing is there
    std::vector<u16> fifo;  ///< received characters, oldest first; the high byte has their LSR error bits
    State() {}
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(ier), v(fcr), v(lcr), v(mcr), v(lsr_errors), v(msr_deltas), v(scratch), v(divisor), v(thre_pending),
          v(last_received), v(fifo);
    }
  };

  /// `name` is for the statistics: "uart0".
  Uart16550(std::string name, ByteSink& output, InterruptLine& irq, const State& state = State());

  /// How many bytes receive() would take now.
  std::size_t can_receive() const;
  /// Input from the outside: takes the first bytes that fit, returns how many. Any thread.
  std::size_t receive(std::span<const u8> bytes);
  /// The other side holds the line in the break state for a moment. False if there is no room.
  bool receive_break();
  /// Called without locks on a vCPU's thread when there is room again after receive() took less than it was
  /// given. Set once, before the vCPUs run.
  void on_room(std::function<void()> notify) { room_ = std::move(notify); }

  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  // With mutex_ held.
  u8 read_register(unsigned offset, bool& room);
  void write_register(unsigned offset, u8 value);
  void transmit(u8 value);
  bool push(u16 character);
  u8 take_received(bool& room);
  void write_fcr(u8 value);
  void write_mcr(u8 value);
  u8 lsr() const;
  u8 modem_lines() const;
  u8 interrupt_id() const;
  bool fifo_enabled() const { return (state_.fcr & 1) != 0; }
  bool loopback() const { return (state_.mcr & 0x10) != 0; }
  std::size_t capacity() const { return fifo_enabled() ? kFifoSize : 1; }
  std::size_t free_room() const;
  void update_irq();

  const std::string name_;
  ByteSink& output_;
  InterruptLine& irq_;
  std::function<void()> room_;
  mutable std::mutex mutex_;
  State state_;
  bool starved_ = false;  // receive() could not take everything
  Counter sent_, received_;
};

}  // namespace vellum
