// The PS/2 keyboard controller (Intel 8042 as programmed in the PC/AT; IBM PS/2 Hardware Interface Technical
// Reference, "Keyboard and Auxiliary Device Controller") with a keyboard behind it. No auxiliary port
// (mouse).
//
// Offsets on the bus:   0   data (port 0x60)        1   status and commands (port 0x64)
//
// The controller works at once: the input buffer is always empty. Bytes from the keyboard wait in the
// keyboard's own buffer until the output buffer is free. IRQ 1 is the output-buffer-full signal.
#pragma once

#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/legacy/machine_control.hpp"
#include "devices/legacy/ps2_keyboard.hpp"
#include "irq/line.hpp"

namespace vellum {

class I8042 final : public ByteDevice, public Snapshottable {
 public:
  static constexpr u64 kDataPort = 0x60, kCommandPort = 0x64;
  static constexpr unsigned kKeyboardIrq = 1;

  struct State {
    static constexpr std::string_view kKind = "i8042";
    static constexpr u32 kVersion = 1;
    u8 command_byte = 0x61;  ///< RAM byte 0: translate, auxiliary off, interrupt on, as firmware leaves it
    u8 status = 0x14;        ///< without OBF: system flag, not inhibited
    u8 output_port = 0xdf;   ///< A20 on, not in reset
    u8 pending_command = 0;  ///< a command whose parameter comes next through the data port; 0: none
    bool output_full = false;
    u8 output = 0;
    std::vector<u8> responses;       ///< of the controller, oldest first
    std::array<u8, 32> ram{};        ///< byte 0 is command_byte
    bool translating_break = false;  ///< the keyboard's 0xf0 prefix was swallowed
    Ps2Keyboard keyboard;
    State() {}
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(command_byte), v(status), v(output_port), v(pending_command), v(output_full), v(output), v(responses),
          v(ram), v(translating_break), v(keyboard);
    }
  };

  I8042(InterruptLine& irq1, MachineControl& control, const State& state = State());

  /// Key strokes from outside in scan code set 2. Codes that don't fit the keyboard's buffer are lost, as on
  /// a real keyboard. Any thread.
  void type(std::span<const u8> scan_codes);

  SavedState save() const override;

 private:
  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  // With mutex_ held. A result of true asks for a reset of the machine.
  bool write_command(u8 value);
  bool write_data(u8 value);
  void respond(u8 value);
  void fill_output();
  u8 translate(u8 code, bool& swallow);

  InterruptLine& irq1_;
  MachineControl& control_;
  mutable std::mutex mutex_;
  State state_;
};

}  // namespace vellum
