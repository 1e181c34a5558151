// What a PC does with x87 errors while CR0.NE is clear (SDM vol. 1 appendix D; PIIX data sheet, "Coprocessor
// Error Support"): FERR# of the first processor asserts IRQ 13, which stays until software writes port 0xf0;
// that write also asserts IGNNE#, under which the processor ignores the error, until FERR# goes away.
#pragma once

#include <mutex>

#include "base/snapshot.hpp"
#include "devices/legacy/byte_device.hpp"
#include "irq/line.hpp"

namespace vellum {

class CoprocessorError final : public ByteDevice, public Snapshottable {
 public:
  static constexpr u64 kPort = 0xf0, kPortCount = 1;
  static constexpr unsigned kIrq = 13;
  struct State {
    static constexpr std::string_view kKind = "coprocessor-error";
    static constexpr u32 kVersion = 1;
    bool ferr = false;     ///< the processor's FERR#, as it was last driven
    bool ignne = false;    ///< the processor's IGNNE#
    bool request = false;  ///< IRQ 13
    State() {}
    template <class V>
    void visit(V& v) {
      v(ferr);
      v(ignne);
      v(request);
    }
  };
  explicit CoprocessorError(InterruptLine& irq, const State& state = State());

  /// The processor drives FERR#. Returns IGNNE#. Any thread.
  bool drive_ferr(bool asserted);
  SavedState save() const override;

 private:
  u8 read_byte(u64) override { return 0xff; }
  void write_byte(u64, u8 value) override;

  InterruptLine& irq_;
  mutable std::mutex mutex_;  // before the interrupt controllers'
  State state_;
};

}  // namespace vellum
