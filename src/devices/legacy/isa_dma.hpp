// The PC's DMA: two 8237A controllers, the first behind channel 0 of the second, and the page registers
// (82371SB §2.5.1; 8237A data sheet).
//
//   ports 0x00..0x0f  the first: channels 0 to 3, of bytes
//         0xc0..0xdf  the second: channels 4 (the cascade) to 7, of 16-bit words; a register on each even
//         port 0x81..0x8f  the upper bits of the channels' addresses. Some are storage only; 0x80 is
//         PostCode's.
//
//   address = page, 8 bits | the channel's, 16 bits     within a page of 64 KiB: it wraps around
//
// A transfer happens when the device has something to move and its channel is open; devices are on channels 0
// to 3. Threads: any; one lock, which a device may take with its own held.
#pragma once

#include <mutex>
#include <span>

#include "base/snapshot.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/legacy/dma_8237.hpp"
#include "memory/dma_view.hpp"

namespace vellum {

/// A device on a channel.
class DmaClient {
 public:
  virtual ~DmaClient() = default;
  /// The channel may be open now that its device asks for. Any thread, without IsaDma's lock.
  virtual void dma_opened() = 0;
};

class IsaDma final : public Snapshottable {
 public:
  static constexpr u64 kFirstPort = 0x00, kFirstCount = 16, kSecondPort = 0xc0, kSecondCount = 32,
                       kPagePort = 0x81, kPageCount = 15;

  struct State {
    static constexpr std::string_view kKind = "isa-dma";
    static constexpr u32 kVersion = 1;
    std::array<Dma8237, 2> chips;
    std::array<u8, 16> pages{};  ///< by the port's lower bits
    State() {}
    template <class V>
    void visit(V& v) {
      v(chips), v(pages);
    }
  };

  struct Moved {
    u64 bytes = 0;
    bool last = false;  ///< terminal count
  };

  explicit IsaDma(DmaView memory, const State& state = State());

  BusDevice& first_ports() { return first_; }
  BusDevice& second_ports() { return second_; }
  BusDevice& page_ports() { return pages_; }

  /// As a BIOS leaves it: the first controller's channels pass through the second.
  void open_cascade();

  /// `client` outlives this, or connects nullptr.
  void connect(unsigned channel, DmaClient* client);
  /// The device's wire: it wants to move something.
  void request(unsigned channel, bool wanted);
  /// Whether the channel is open: else the device waits.
  bool open(unsigned channel) const;
  /// Moves as many bytes as there are, or to the terminal count. On an open channel. What is no RAM takes
  /// nothing and reads all ones, as does memory when the channel was told to move the other way.
  Moved to_memory(unsigned channel, std::span<const u8> bytes);
  Moved from_memory(unsigned channel, std::span<u8> bytes);

  SavedState save() const override;

 private:
  class Ports final : public ByteDevice {
   public:
    Ports(IsaDma& dma, unsigned chip) : dma_(dma), chip_(chip) {}

   private:
    u8 read_byte(u64 offset) override { return dma_.read(chip_, offset >> chip_); }
    void write_byte(u64 offset, u8 value) override { dma_.write(chip_, offset >> chip_, value); }
    IsaDma& dma_;
    const unsigned chip_;
  };
  class Pages final : public ByteDevice {
   public:
    explicit Pages(IsaDma& dma) : dma_(dma) {}

   private:
    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;
    IsaDma& dma_;
  };

  u8 read(unsigned chip, u64 reg);
  void write(unsigned chip, u64 reg, u8 value);
  // With mutex_ held.
  bool is_open(unsigned channel) const;
  /// Calls piece(address, position, size) for bytes that lie together in a page of 4 KiB.
  template <class Piece>
  Moved move(unsigned channel, u64 bytes, Piece&& piece);

  const DmaView memory_;
  mutable std::mutex mutex_;
  State s_;
  u8 requests_ = 0;  ///< of devices, a bit for each channel
  std::array<DmaClient*, Dma8237::kChannels> clients_{};
  Ports first_{*this, 0}, second_{*this, 1};
  Pages pages_{*this};
};

}  // namespace vellum
