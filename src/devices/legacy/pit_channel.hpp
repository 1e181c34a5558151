// One counter of the 8254 programmable interval timer (Intel 82C54 data sheet, 231244): all six modes, BCD,
// counter and status latches. Time is counted in CLK pulses; advance() moves the counter to a pulse in closed
// form, in O(1) whatever the distance. No lock, no clock: Pit has them.
#pragma once

#include <optional>

#include "base/int.hpp"

namespace vellum {

struct PitChannel {
  // ---- Operations; call advance() to the present first ----

  /// Moves to CLK pulse `to` (not before the last). Returns how often OUT rose on the way.
  u64 advance(u64 to);
  /// CLK pulses from here to the next rise of OUT, if there will be one without anyone's doing.
  std::optional<u64> pulses_to_rise() const;

  void write_control(u8 access, u8 mode, bool bcd);
  void write_count(u8 byte);
  u8 read_count();
  void latch_count();
  void latch_status();
  void set_gate(bool level);

  /// Modes 2 and 3 repeat for ever.
  bool periodic() const { return mode() == 2 || mode() == 3; }

  // ---- State ----

  u64 pulse = 0;     ///< the state is that of this CLK pulse
  u8 mode_bits = 0;  ///< as programmed: 6 and 7 mean 2 and 3
  u8 access = 3;     ///< 1: low byte, 2: high byte, 3: low, then high
  bool bcd = false;
  bool gate = true;
  bool out = false;
  u16 count_register = 0;  ///< CR
  u8 low_byte = 0;         ///< of a count half written
  bool write_high_next = false;
  bool read_high_next = false;
  bool programmed = false;  ///< a count was written since the control word
  bool load_next = false;   ///< the next CLK pulse moves CR into the counting element
  bool counting = false;    ///< the counting element has been loaded since the control word
  bool armed = false;       ///< modes 1, 4, 5: the shot or strobe of this load is still to come
  bool null_count = true;   ///< CR has not reached the counting element yet
  bool odd = false;         ///< mode 3: the loaded count was odd
  u32 value = 0;            ///< the counting element as a number: 0 to 65536, or to 10000 in BCD
  bool count_latched = false, status_latched = false;
  u16 latched_count = 0;
  u8 latched_status = 0;

  bool operator==(const PitChannel&) const = default;
  template <class V>
  void visit(V& v) {
    v(pulse), v(mode_bits), v(access), v(bcd), v(gate), v(out), v(count_register), v(low_byte),
        v(write_high_next), v(read_high_next), v(programmed), v(load_next), v(counting), v(armed),
        v(null_count), v(odd), v(value), v(count_latched), v(status_latched), v(latched_count),
        v(latched_status);
  }
  /// Makes decoded state safe to compute with.
  void sanitise();

 private:
  unsigned mode() const { return mode_bits > 5 ? mode_bits - 4u : mode_bits; }
  u32 modulus() const { return bcd ? 10'000 : 65'536; }
  u32 count() const;  ///< CR as a number, 1 to modulus
  u32 to_zero() const { return value != 0 ? value : modulus(); }
  u16 read_out() const;
  u8 status() const;
  bool enabled() const;   ///< CLK pulses decrement the counter
  u64 half_left() const;  ///< mode 3: pulses to the next change of OUT
  void load();
  void decrement(u64 pulses);
  u64 step(u64 pulses);
  u64 step_square(u64 pulses);
};

}  // namespace vellum
