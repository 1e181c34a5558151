// A PS/2 keyboard as the controller's wire sees it: bytes in, bytes out (IBM PS/2 Hardware Interface
// Technical Reference, "Keyboards"). Pure state, guarded by the controller's lock. It sends scan code set 2.
#pragma once

#include <array>
#include <optional>

#include "base/int.hpp"

namespace vellum {

struct Ps2Keyboard {
  static constexpr std::size_t kBufferSize = 16;

  /// GUEST-CONTROLLED: a byte from the controller. The answer goes to the buffer.
  void receive(u8 byte);
  /// The next byte for the controller, if there is one.
  std::optional<u8> next();
  /// A scan code of a key stroke: false if scanning is off or the buffer is full.
  bool type(u8 scan_code);

  std::array<u8, kBufferSize> buffer{};
  u8 head = 0, count = 0;
  u8 last_sent = 0;
  u8 pending_command = 0;  ///< a command that waits for its parameter; 0: none
  bool scanning = true;
  u8 leds = 0;
  u8 typematic = 0x2b;   ///< 500 ms, 10.9 characters a second
  u8 scan_code_set = 2;  ///< as the guest believes; set 2 is what is sent

  bool operator==(const Ps2Keyboard&) const = default;
  template <class V>
  void visit(V& v) {
    v(buffer), v(head), v(count), v(last_sent), v(pending_command), v(scanning), v(leds), v(typematic),
        v(scan_code_set);
  }
  void sanitise() {
    head %= kBufferSize;
    if (count > kBufferSize) count = kBufferSize;
  }

 private:
  bool put(u8 byte);
  void set_defaults();
  bool receive_parameter(u8 byte);
};

}  // namespace vellum
