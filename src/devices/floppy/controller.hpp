// A floppy disk controller, Intel's 82077AA in its PC-AT mode, with up to two drives (82077AA data sheet).
//
//   ports 0x3f2..0x3f5, 0x3f7   registers.hpp    IRQ 6    DMA channel 2
//
// A command comes byte by byte (command phase), may move data (execution phase), and tells how it went
// (result phase). What moves data is work for the event loop, in steps:
//
//   kSearch: is the sector there? ─> kRead ─> kHost: DMA, or bytes by the FIFO ──────────> kSearch … kEnd
//                                └─────────> kHost ────────────────────────────> kWrite ─> kSearch … kEnd
//
// a run of sectors of one track at a time. Seeks take no time. What the controller is told of step rates,
// head loads, gaps, write precompensation and the FIFO's threshold it tells again, and that is all.
//
// Threads: registers on any vCPU's; work on the loop's. One lock for all of it, never held while the disk or
// the doorbell is called. Lock order: the controller's, then IsaDma's or the interrupt line's.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/stats.hpp"
#include "devices/floppy/commands.hpp"
#include "devices/floppy/format.hpp"
#include "devices/legacy/isa_dma.hpp"
#include "io/disk/disk.hpp"
#include "io/io_context.hpp"
#include "irq/line.hpp"

namespace vellum::floppy {

enum class Phase : u8 { kCommand, kExecution, kResult };
enum class Step : u8 { kSearch, kRead, kHost, kWrite, kEnd };

/// How a sector is found: cylinder, head, record (from 1) and size code.
struct SectorId {
  u8 c = 0, h = 0, r = 0, n = 0;
  template <class V>
  void visit(V& v) {
    v(c), v(h), v(r), v(n);
  }
};

struct DriveState {
  u8 cylinder = 0;      ///< where its heads are
  u8 passing = 0;       ///< how many sectors READ ID saw go by
  bool changed = true;  ///< since the last step: the disk was put in
  template <class V>
  void visit(V& v) {
    v(cylinder), v(passing), v(changed);
  }
};

class Controller final : public BusDevice,
                         public DmaClient,
                         public Snapshottable,
                         public Quiescable,
                         public StatSource {
 public:
  static constexpr u64 kPort = 0x3f2, kPortCount = 4, kInputPort = 0x3f7;
  static constexpr unsigned kIrq = 6, kDmaChannel = 2, kDrives = 2;

  struct State {
    static constexpr std::string_view kKind = "floppy-82077aa";
    static constexpr u32 kVersion = 1;
    u8 output = 0, tape = 0, rate = k250;  // 0: held in reset, as power-on leaves it
    std::array<u8, 2> specified{};         ///< step rate and head unload; head load and "no DMA"
    u8 config = kNoFifo, precompensation = 0, perpendicular = 0, last_sector = 0;
    bool locked = false;
    std::array<u8, 4> present_cylinder{};  ///< as the controller believes
    std::array<DriveState, kDrives> drives;
    // What SENSE INTERRUPT STATUS is to tell: a bit for each drive, and how its seek went.
    u8 polled = 0, sought = 0;
    std::array<u8, 4> seek_status{};
    bool interrupt = false;
    // The command: its bytes, then those of its result.
    Phase phase = Phase::kCommand;
    std::array<u8, kResultBytes> fifo{};
    u8 position = 0, count = 0;
    // Its execution.
    Step step = Step::kSearch;
    SectorId id;
    std::array<u8, 3> status{};  ///< how it ends
    u8 command = 0, unit = 0;    ///< its first two bytes; the head that is used
    u8 target = 0;               ///< the drive
    u8 filler = 0;               ///< FORMAT TRACK
    u16 left = 0;                ///< VERIFY: sectors
    u8 run = 0;                  ///< sectors that are moved together
    bool last = false;           ///< the host takes, or gives, no more
    bool dirty = false;          ///< the medium was written to
    bool work = false;           ///< something waits for the loop
    u32 moved = 0;               ///< bytes of the buffer that the host had
    std::vector<u8> buffer;
    State() {}
    template <class V>
    void visit(V& v) {
      v(output), v(tape), v(rate), v(specified), v(config), v(precompensation), v(perpendicular),
          v(last_sector);
      v(locked), v(present_cylinder), v(drives), v(polled), v(sought), v(seek_status), v(interrupt);
      v(phase), v(fifo), v(position), v(count);
      v(step), v(id), v(status), v(command), v(unit), v(target), v(filler), v(left), v(run), v(last),
          v(dirty), v(work);
      v(moved), v(buffer);
    }
  };

  using Media = std::array<std::shared_ptr<Disk>, kDrives>;
  /// `media`: of sizes that format_of() knows; without one there is no drive. All outlive this but the media.
  Controller(const IoContext& context, Media media, InterruptLine& line, IsaDma& dma,
             const State& state = State());
  ~Controller() override;

  /// Offsets are Register's. GUEST-CONTROLLED: all.
  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  void dma_opened() override;
  SavedState save() const override;
  void quiesce() override;
  void resume() override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  // Registers, with mutex_ held.
  u8 read_register(u64 offset);
  void write_register(u64 offset, u8 value);
  u8 main_status() const;
  u8 digital_input() const;
  void write_output(u8 value);
  u8 read_data();
  void write_data(u8 value);
  void update_line();
  void interrupt();
  void reset();
  void leave_reset();
  void sanitise();
  bool phase_is_sane() const;
  bool execution_is_sane() const;

  // Commands, with mutex_ held.
  void execute();
  void result(std::initializer_list<u8> bytes);
  void no_result();
  void configure();
  void sense_interrupt();
  void dump_registers();
  void step_heads(int tracks);
  void seek_to(u8 cylinder);
  void seek_ended(u8 status);
  void recalibrate();
  void read_id();
  void begin_data();

  // The drive that the digital output register selects (the number in a command counts for the present
  // cylinders only), or did when the command began that is executed.
  unsigned selected() const { return s_.phase == Phase::kExecution ? s_.target : s_.output & kDriveMask; }
  const Format* format() const { return selected() < kDrives ? formats_[selected()] : nullptr; }
  // While format() is there.
  DriveState& drive() { return s_.drives[selected()]; }
  const DriveState& drive() const { return s_.drives[selected()]; }
  bool readable() const;
  u8 unit_status() const { return s_.unit & (kHead | kDriveMask); }
  u8 opcode() const { return command_of(s_.command); }
  bool head() const { return (s_.unit & kHead) != 0; }
  bool by_fifo() const { return (s_.specified[1] & 1) != 0; }
  bool writes() const {
    return opcode() == kWriteData || opcode() == kWriteDeleted || opcode() == kFormatTrack;
  }

  // Work on the loop, with mutex_ held.
  std::optional<DiskRequest> next_request();
  void search();
  void stop(u8 ending, u8 status1, u8 status2 = 0);
  void finish();
  bool exchange();
  void exchanged();
  void lay_out_track();
  void passed();
  void next_id();
  DiskRequest medium_request(DiskRequest::Kind kind);
  void requested(u64 generation, std::vector<u8>& buffer, int error);
  u64 location() const;

  bool submit();
  void run();

  const IoContext context_;
  const Media media_;
  std::array<const Format*, kDrives> formats_{};
  InterruptLine& line_;
  IsaDma& dma_;
  mutable std::mutex mutex_;
  State s_;
  u64 generation_ = 0;  ///< of the command: what a request of an earlier one brings is dropped
  bool under_way_ = false;
  Counter commands_, read_bytes_, written_bytes_, failures_;
  Doorbells doorbells_;  // last: its work uses all of the above
};

}  // namespace vellum::floppy
