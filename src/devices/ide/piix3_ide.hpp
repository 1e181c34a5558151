// The IDE function of a PIIX3 (82371SB §2.3, §2.7): two channels at the addresses that they have on every PC,
// and a bus master.
//
//   ports 0x1f0..0x1f7, 0x3f6   the first channel, IRQ 14     0x170..0x177, 0x376   the second, IRQ 15
//   IDETIM 0x40, 0x42           bit 15: the channel's ports are decoded
//   BAR 4                       the bus master: 8 bytes for each channel
#pragma once

#include <memory>

#include "devices/ide/channel.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/pci/bus.hpp"
#include "irq/router.hpp"

namespace vellum::ide {

class Piix3Ide final : public pci::Function, public Snapshottable, public Quiescable, public StatSource {
 public:
  static constexpr unsigned kDevice = 1, kFunction = 1;  ///< its place on the bus
  static constexpr unsigned kChannels = 2;
  static constexpr u64 kCommandPorts[kChannels] = {0x1f0, 0x170}, kCommandCount = 8;
  static constexpr u64 kControlPorts[kChannels] = {0x3f6, 0x376};
  static constexpr unsigned kIrqs[kChannels] = {14, 15};

  struct State {
    static constexpr std::string_view kKind = "piix3-ide";
    static constexpr u32 kVersion = 2;
    pci::FunctionState pci;
    std::array<ChannelState, kChannels> channels;
    State() {}
    template <class V>
    void visit(V& v) {
      v(pci), v(channels);
    }
  };

  using Drives = std::array<std::array<Drive, 2>, kChannels>;
  Piix3Ide(pci::Bus& bus, GsiRouter& router, const IoContext& context, Drives drives,
           const State& state = State());

  BusDevice& command_ports(unsigned channel) { return command_[channel]; }
  BusDevice& control_port(unsigned channel) { return control_[channel]; }

  Channel& channel(unsigned n) { return *channels_.at(n); }

  SavedState save() const override;
  void quiesce() override;
  void resume() override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  class CommandBlock final : public BusDevice {
   public:
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    Piix3Ide* ide = nullptr;
    unsigned channel = 0;
  };
  class ControlBlock final : public ByteDevice {
   public:
    Piix3Ide* ide = nullptr;
    unsigned channel = 0;

   private:
    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;
  };
  class MasterBlock final : public ByteDevice {
   public:
    explicit MasterBlock(Piix3Ide& ide) : ide_(ide) {}

   private:
    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;
    Piix3Ide& ide_;
  };

  bool decodes(unsigned channel) const { return decoded_[channel].load(std::memory_order_relaxed); }
  void config_written(unsigned offset, unsigned size) override;

  std::array<std::unique_ptr<Channel>, kChannels> channels_;
  std::array<std::atomic<bool>, kChannels> decoded_{};
  CommandBlock command_[kChannels];
  ControlBlock control_[kChannels];
  MasterBlock master_{*this};
};

}  // namespace vellum::ide
