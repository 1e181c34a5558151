// The EEPROM with the card's address and settings (SDM ch. 5): 64 words, which software reads through EERD,
// or by moving the pins of a 93C46 (microwire) through EECD, which is also how it writes.
//
// No lock: the controller's guards it.
#pragma once

#include <array>

#include "io/net/mac_address.hpp"

namespace vellum::e1000 {

class Eeprom {
 public:
  static constexpr unsigned kWords = 64;

  struct State {
    std::array<u16, kWords> words{};
    u32 pins = 0;         ///< EECD as it was written last
    u32 shift = 0;        ///< the bits of a command that have come
    u8 bits = 0;          ///< how many; counts from the start bit on
    u16 out = 0;          ///< what is shifted out
    u8 out_bits = 0;      ///< of it, what is left; 17: the 0 before a word
    u8 address = 0;       ///< where reading goes on
    bool writes = false;  ///< enabled
    bool ended = false;   ///< nothing more is taken until chip select falls
    template <class V>
    void visit(V& v) {
      v(words), v(pins), v(shift), v(bits), v(out), v(out_bits), v(address), v(writes), v(ended);
    }
  };

  explicit Eeprom(const net::MacAddress& mac);

  u16 word(unsigned n) const { return s_.words[n % kWords]; }
  net::MacAddress mac() const;

  // EECD. GUEST-CONTROLLED: `value`.
  u32 read_pins() const;
  void write_pins(u32 value);
  /// The pins are let go; the contents stay.
  void release();

  const State& state() const { return s_; }
  /// Untrusted.
  void restore(const State& state);

 private:
  void clock_in(bool bit);
  void command();

  State s_;
};

}  // namespace vellum::e1000
