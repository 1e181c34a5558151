// The PC's two cascaded 8259A interrupt controllers (Intel 8259A data sheet, 231468-003) with the ELCR
// registers of the PIIX (edge or level for each input).
//
// Offsets on the bus:   0, 1   master (ports 0x20, 0x21)
//                       2, 3   slave  (ports 0xa0, 0xa1)
//                       4, 5   ELCR   (ports 0x4d0, 0x4d1)
#pragma once

#include <array>
#include <mutex>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "irq/line.hpp"
#include "irq/local_apic.hpp"
#include "memory/bus.hpp"

namespace vellum {

/// One chip. Not locked; its Pic's lock guards it.
struct Pic8259 {
  u8 irr = 0;     ///< requests: latched edges, and levels while they last
  u8 isr = 0;     ///< in service
  u8 imr = 0xff;  ///< masked
  u8 lines = 0;   ///< input levels
  u8 elcr = 0;    ///< inputs that are level-triggered
  u8 vector_base = 0;
  u8 cascade = 0;    ///< ICW3
  u8 lowest = 7;     ///< the input of lowest priority; the next one has the highest
  u8 init_step = 0;  ///< the ICW expected next at offset 1; 0: initialised
  bool needs_icw4 = false;
  bool single = false;
  bool level_mode = false;  ///< ICW1.LTIM: all inputs
  bool auto_eoi = false;
  bool rotate_on_auto_eoi = false;
  bool special_mask = false;
  bool special_fully_nested = false;
  bool read_isr = false;
  bool poll = false;

  bool operator==(const Pic8259&) const = default;
  template <class V>
  void visit(V& v) {
    v(irr), v(isr), v(imr), v(lines), v(elcr), v(vector_base), v(cascade), v(lowest), v(init_step),
        v(needs_icw4), v(single), v(level_mode), v(auto_eoi), v(rotate_on_auto_eoi), v(special_mask),
        v(special_fully_nested), v(read_isr), v(poll);
  }

  void set_line(unsigned input, bool level);
  /// The input whose request would interrupt now, or -1.
  int pending() const;
  /// The INTA sequence's effect on this chip.
  void accept(unsigned input);
  void write_command(u8 value);
  void write_data(u8 value);
  u8 read_command() const { return read_isr ? isr : irr; }

 private:
  bool level_triggered(unsigned input) const { return level_mode || (elcr >> input & 1) != 0; }
  unsigned priority(unsigned input) const { return (input - lowest - 1) & 7; }
  int highest_in_service() const;
  void start_initialisation(u8 icw1);
};

class Pic final : public BusDevice, public ExtIntSource, public Snapshottable, public StatSource {
 public:
  static constexpr u64 kPortCount = 6;
  static constexpr unsigned kMaster = 0, kSlave = 1;
  static constexpr unsigned kCascadeInput = 2;

  struct State {
    static constexpr std::string_view kKind = "pic8259";
    static constexpr u32 kVersion = 1;
    std::array<Pic8259, 2> chips{};
    State() {}
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(chips);
    }
  };

  explicit Pic(const State& state = State());

  /// Wires INTR (to the local APICs' LINT0, and to the I/O APIC's input 0). Before the vCPUs run; tells the
  /// line the current level.
  void connect(InterruptLine& intr);

  /// The level of IRQ `irq`, 0 to 15 (2 is the cascade and can't be driven). Any thread.
  void set_irq(unsigned irq, bool level);
  /// INTA: the vector, the spurious one (IR7's) if no request is left.
  u8 acknowledge() override;

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;
  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  u8 read_byte(unsigned port);
  void write_byte(unsigned port, u8 value);
  u8 poll(unsigned chip);
  void update();  // with mutex_ held

  mutable std::mutex mutex_;
  State state_;
  InterruptLine* intr_ = nullptr;
  bool intr_level_ = false;
  Counter acknowledged_, spurious_;
};

}  // namespace vellum
