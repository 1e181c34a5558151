// A PCI function: its configuration space, base address registers, interrupt pin and MSI-X. A device derives
// from it, defines its registers in its constructor, calls restore() last, and is then put on a PciBus.
//
//   class Thing final : public pci::Function {
//    public:
//     Thing(pci::Bus& bus, const State& state) : Function(bus, "thing", kIdentity) {
//       add_bar(0, {pci::BarKind::kMemory32, 0x1000}, registers_);   // a BusDevice: sees offsets
//       add_msix(1, 3, state.pci.msix);
//       restore(state.pci);
//     }
//   };
//
// Threads: configuration accesses come from any vCPU's thread, interrupts from any thread. Lock order: the
// device's own lock, the function's, then the bus's, then interrupt controllers'.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/snapshot.hpp"
#include "devices/pci/config_space.hpp"
#include "devices/pci/msix.hpp"
#include "memory/dma_view.hpp"

namespace vellum::pci {

class Bus;

/// What every function owes to save and restore; part of its device's State.
struct FunctionState {
  std::vector<u8> config;  ///< empty: power-on
  bool interrupt = false;  ///< INTx is wanted, whatever the command register says
  MsixState msix;
  template <class V>
  void visit(V& v) {
    v(config), v(interrupt), v(msix);
  }
};

enum class BarKind : u8 { kIo, kMemory32, kMemory32Prefetchable, kMemory64, kMemory64Prefetchable };

struct Bar {
  BarKind kind = BarKind::kMemory32;
  u64 size = 0;  ///< a power of two; 16 at least for memory, 4 for ports
};

class Function {
 public:
  Function(Bus& bus, std::string name, const Identity& identity);
  virtual ~Function() = default;
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  const std::string& name() const { return name_; }
  u8 devfn() const { return devfn_; }
  bool multifunction() const;

  /// `offset` + `size` <= 256, naturally aligned: as the configuration mechanism splits them.
  u32 read_config(unsigned offset, unsigned size);
  /// GUEST-CONTROLLED: `value`.
  void write_config(unsigned offset, unsigned size, u32 value);

  struct BarInfo {
    Bar bar;
    unsigned index = 0;
  };
  /// The base address registers that there are, for whoever plays firmware.
  std::vector<BarInfo> bars() const;

 protected:
  friend class Bus;

  // For constructors.
  ConfigSpace& config() { return config_; }
  const ConfigSpace& config() const { return config_; }
  /// A 64-bit BAR takes the next index, too. `device` lives as long as the bus.
  void add_bar(unsigned index, const Bar& bar, BusDevice& device);
  /// Writes of `size` bytes at `offset` in a memory BAR mean no more than `ring` (Decoder::add_doorbell()).
  /// `ring` runs on the event loop's thread.
  void add_doorbell(unsigned bar, u64 offset, unsigned size, std::function<void()> ring);
  /// The expansion ROM's address register (§6.2.5.2). `size`: a power of two, 2 KiB at least.
  void add_rom(u64 size, BusDevice& device);
  /// Appends a capability of `body.size()` bytes behind id and next pointer. Returns the offset of its id.
  unsigned add_capability(u8 id, std::span<const u8> body);
  /// `bar`: a BAR of its own, 32-bit memory.
  void add_msix(unsigned bar, unsigned vectors, const MsixState& state);
  /// The last thing that a constructor does.
  void restore(const FunctionState& state);

  FunctionState function_state() const;

  /// Drives the interrupt pin. Any thread.
  void set_interrupt(bool asserted);
  /// Where a memory BAR is decoded, or nothing while it is not.
  std::optional<u64> bar_address(unsigned index) const;
  /// nullptr: the function has no MSI-X.
  Msix* msix() { return msix_.get(); }
  /// Guest memory as this function may access it.
  DmaView dma() const;

  /// A configuration register was written; the function's lock is held. Reads it with config().get().
  virtual void config_written(unsigned offset, unsigned size);
  /// The same, after the lock was released.
  virtual void after_config_write(unsigned, unsigned) {}
  /// Before a configuration register is read; the function's lock is held.
  virtual void config_read(unsigned, unsigned) {}
  mutable std::mutex config_mutex_;

 private:
  struct MappedBar {
    Bar bar;
    unsigned window = 0;
  };
  // With config_mutex_ held.
  void update_bars();
  std::optional<u64> decoded(unsigned index) const;
  void update_interrupt();
  void update_msix();

  Bus& bus_;
  const std::string name_;
  ConfigSpace config_;
  std::array<std::optional<MappedBar>, kBars> bars_;
  std::optional<unsigned> rom_window_;
  std::unique_ptr<Msix> msix_;
  unsigned msix_capability_ = 0;
  unsigned last_capability_ = 0, next_free_ = 0x40;
  bool interrupt_wanted_ = false;
  bool interrupt_asserted_ = false;
  std::atomic<bool> bus_master_{false};
  bool attached_ = false;
  u8 devfn_ = 0;
};

}  // namespace vellum::pci
