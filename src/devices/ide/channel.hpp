// An IDE channel: two drives (disks or CD-ROM drives), their registers, the channel's half of the bus master
// (ATA/ATAPI-6; SFF-8038i).
//
// A command that needs the medium leaves work for the event loop, the device being busy until that is done:
//
//   vCPU: command register, or the bus master's start ──> work ──> loop: Disk, at most kBufferSize at a time
//     ^                                                                │
//     └── data request, interrupt <── buffer <─────────────────────────┘
//
// Threads: registers on any vCPU's; work on the loop's. One lock for all of it, never held while the disk or
// the doorbell is called. Lock order: the channel's, then the interrupt line's.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/stats.hpp"
#include "devices/ide/bus_master.hpp"
#include "devices/ide/packet.hpp"
#include "io/disk/disk.hpp"
#include "io/io_context.hpp"
#include "irq/line.hpp"

namespace vellum::ide {

struct Drive {
  std::shared_ptr<Disk> medium;  ///< a CD-ROM drive may have none
  std::string serial;
  bool cdrom = false;
  bool present() const { return cdrom || medium != nullptr; }
};

/// A device's registers; those of two bytes have what was written last in the lower one.
struct TaskFile {
  u8 error = 1, features = 0, status = 0;
  u16 count = 1, lba_low = 1, lba_mid = 0, lba_high = 0;
  u8 multiple = 0;
  Sense sense;
  Tray tray;
  template <class V>
  void visit(V& v) {
    v(error), v(features), v(status), v(count), v(lba_low), v(lba_mid), v(lba_high), v(multiple), v(sense);
    v(tray);
  }
};

enum class Phase : u8 {
  kIdle,
  kPacket,  ///< takes a packet
  kPioIn,   ///< the buffer is read through the data register
  kPioOut,  ///< and filled
  kDmaIn,   ///< the bus master moves it
  kDmaOut,
  kFlush
};

struct ChannelState {
  bool powered = false;  ///< the drives have done what they do at power-on
  std::array<TaskFile, 2> devices;
  u8 device = 0, control = 0;
  bool interrupt = false;
  BusMaster master;
  // The command that runs, always the selected drive's.
  Phase phase = Phase::kIdle;
  bool packet = false;              ///< it came in a packet
  bool work = false;                ///< something waits for the loop
  u64 sector = 0, left = 0;         ///< of 512 bytes: what is still to come of the medium
  u32 block = 0;                    ///< bytes for each data request
  u32 position = 0, block_end = 0;  ///< in the buffer
  std::vector<u8> buffer;
  template <class V>
  void visit(V& v) {
    v(powered), v(devices), v(device), v(control), v(interrupt), v(master), v(phase), v(packet), v(work);
    v(sector), v(left), v(block), v(position), v(block_end), v(buffer);
  }
};

class Channel final : public StatSource {
 public:
  /// `drives`: those that are present() are there. `dma`: guest memory. All outlive this but what Drive
  /// holds.
  Channel(const IoContext& context, std::array<Drive, 2> drives, InterruptLine& line, DmaView dma,
          std::string name, const ChannelState& state);
  ~Channel();

  // Command block and control block; `size` bytes of the data register, else 1. GUEST-CONTROLLED: all.
  u32 read_data(unsigned size);
  void write_data(unsigned size, u32 value);
  u8 read(Register reg);
  void write(u8 reg, u8 value);
  u8 alternate_status();
  void write_control(u8 value);
  u8 read_master(u64 offset);
  void write_master(u64 offset, u8 value);

  // On the loop's thread, or while no thread runs.
  /// Puts another medium into a CD-ROM drive; null: takes it out. Software hears of it, and what it was
  /// reading fails. False: software has locked the drive, and is asked to let go; `force`: as by the hole for
  /// a paper clip.
  bool change(unsigned device, std::shared_ptr<Disk> medium, bool force = false);
  Tray tray(unsigned device) const;
  void quiesce();
  void resume();
  ChannelState state() const;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  // With mutex_ held.
  unsigned selected() const { return (s_.device & kSecondDevice) != 0 ? 1 : 0; }
  bool present(unsigned n) const { return drives_[n].present(); }
  Drive& drive() { return drives_[selected()]; }
  TaskFile& file() { return s_.devices[selected()]; }
  /// 0: there is no medium.
  u64 sectors() const {
    const Disk* const medium = drives_[selected()].medium.get();
    return medium != nullptr ? medium->size() / kSector : 0;
  }
  void sanitise();
  void update_line();
  void interrupt();
  void set_signature(unsigned n);
  void reset();
  void begin(u8 command);
  bool begin_transfer(u8 command);
  void begin_packet(const Packet& packet);
  void finish_packet(const PacketAction& action);
  void finish();
  void fail(u8 error);
  void fail_packet(const Sense& sense);
  void offer(std::vector<u8> bytes, u32 block);
  void next_block();
  void block_done();
  bool ends_in_registers(u64& sector, u64& count, bool wide);
  std::optional<DiskRequest> next_request();
  void requested(u64 generation, const std::shared_ptr<std::vector<u8>>& buffer, int error);
  bool take_work() { return std::exchange(s_.work, false); }

  /// Submits what the command needs next; whether there was something.
  bool submit();
  void run();
  void ring(bool needed);

  const IoContext context_;
  std::array<Drive, 2> drives_;
  InterruptLine& line_;
  const DmaView dma_;
  const std::string name_;
  mutable std::mutex mutex_;
  ChannelState s_;
  u64 generation_ = 0;  ///< of the command: what a request of an earlier one brings is dropped
  bool under_way_ = false;
  Counter commands_, read_bytes_, written_bytes_, failures_;
  Doorbells doorbells_;  // last: its work uses all of the above
};

}  // namespace vellum::ide
