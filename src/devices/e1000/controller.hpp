// An Intel 82540EM, the "e1000": a gigabit Ethernet card for guests without virtio.
//
//   BAR 0   128 KiB of registers
//   BAR 1   ports: the register's offset at 0, its contents at 4
//
//   vCPU: registers ──> doorbell ──> loop: descriptors ──> Transmitter ──> network
//                                    loop: receive()  <── FrameReceiver <── network
//
// Threads: registers on any vCPU's; rings on the loop's. One lock for all of it, never held while the network
// or the doorbell is called. Lock order: the controller's, then the function's, then the clock's.
#pragma once

#include <memory>
#include <mutex>

#include "devices/e1000/eeprom.hpp"
#include "devices/e1000/interrupts.hpp"
#include "devices/e1000/phy.hpp"
#include "devices/e1000/register_file.hpp"
#include "devices/e1000/transmitter.hpp"
#include "devices/pci/bus.hpp"
#include "io/io_context.hpp"
#include "io/net/network.hpp"

namespace vellum::e1000 {

class Controller final : public pci::Function,
                         public Snapshottable,
                         public Quiescable,
                         public StatSource,
                         private net::FrameReceiver {
 public:
  struct State {
    static constexpr std::string_view kKind = "e1000";
    static constexpr u32 kVersion = 1;
    pci::FunctionState pci;
    std::vector<u32> registers;  ///< empty: power-on
    Eeprom::State eeprom;
    Phy::State phy{};
    Interrupts::State interrupts;
    Transmitter::State transmitter;
    u32 io_address = 0;
    State() {}
    template <class V>
    void visit(V& v) {
      v(pci), v(registers), v(eeprom), v(phy), v(interrupts), v(transmitter), v(io_address);
    }
  };

  /// The address is what the EEPROM holds.
  Controller(pci::Bus& bus, Clock& clock, const IoContext& context, std::shared_ptr<net::Network> network,
             const net::MacAddress& mac, const State& state = State());
  ~Controller() override;

  SavedState save() const override;
  void quiesce() override { paused_ = true; }
  void resume() override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  enum Bell : u8 { kTransmitBell, kReceiveBell };
  class Memory final : public BusDevice {
   public:
    explicit Memory(Controller& card) : card_(card) {}
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;

   private:
    Controller& card_;
  };
  class Ports final : public BusDevice {
   public:
    explicit Ports(Controller& card) : card_(card) {}
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;

   private:
    Controller& card_;
  };

  // Registers, any vCPU's thread.
  u32 read_register(u32 offset);
  void write_register(u32 offset, u32 value);
  void after_config_write(unsigned offset, unsigned size) override;
  // The same with mutex_ held. Bells to ring: a set of bits.
  u64 store(u32 offset, u32 value);
  u64 write_control(u32 value);
  u64 write_mdic(u32 value);
  void write_eerd(u32 value);
  u64 reset();
  void load_address();
  bool link() const { return registers_.has(kCtrl, kSetLinkUp) && phy_.link(); }
  u32 status() const;

  // On the loop's thread.
  void transmit();
  /// False: there is nothing more.
  bool transmit_turn();
  bool fetch(u32& causes);
  void count_sent(const Outgoing& frame);
  void listen();
  // Of FrameReceiver.
  net::Offloads understands() const override { return net::Offloads::kNone; }
  bool has_room() const override;
  void take(const net::Frame& frame) override;

  const IoContext context_;
  const std::shared_ptr<net::Network> network_;
  Memory memory_{*this};
  Ports ports_{*this};
  mutable std::mutex mutex_;
  RegisterFile registers_;
  Eeprom eeprom_;
  Phy phy_;
  Transmitter transmitter_;
  u32 io_address_ = 0;
  mutable bool awaited_ = false;  ///< has_room() has said no since the network was told of room
  // The loop's.
  FrameList outgoing_;
  std::vector<u8> incoming_;
  bool paused_ = false;     ///< between quiesce() and resume()
  bool listening_ = false;  ///< connected to the network
  Counter sent_, received_, filtered_, too_long_, no_descriptors_, malformed_, bad_fcs_;
  // Last: their callbacks use all of the above.
  Interrupts interrupts_;
  Doorbells bells_;
};

}  // namespace vellum::e1000
