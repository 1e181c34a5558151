// A virtual machine's life: power on, run, pause, reset, power off.
//
// A reset throws the board away and builds a new one, with zeroed RAM and the kernel loaded again: the state
// after a reset is the state after power-on because the same code makes it. What outlives a reset is the
// configuration, the console, the disks, the networks and the sum of the counters.
//
// Threads: one thread (the main thread) owns a Machine and calls everything but request().
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "boot/loader.hpp"
#include "devices/legacy/byte_sink.hpp"
#include "devices/legacy/machine_control.hpp"
#include "io/clock_driver.hpp"
#include "io/console.hpp"
#include "machine/board.hpp"
#include "machine/config.hpp"
#include "machine/panic_watch.hpp"
#include "machine/uefi_vars.hpp"
#include "machine/vcpu_runner.hpp"

namespace vellum {

class Machine {
 public:
  /// Builds the board and loads the kernel; nothing runs yet. `loop` outlives the machine; its thread need
  /// not run. `progress` hears how loading goes, now and at each reset.
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config, EventLoop& loop,
                                                 LoadProgress progress);
  /// Stops everything. After the loop has stopped, when there is a debug console.
  ~Machine();

  /// Connects the first serial port, and the virtio-console if there is one. Before start(); `console`
  /// outlives the machine's running.
  void attach_console(Console& console);
  /// Its terminal may have another size.
  void console_resized();
  /// Runs the vCPUs. `loop` must be running. Call once.
  void start();

  /// Asks for the end of the run. Any thread, between start() and the end of the last settle(); the first one
  /// counts.
  void request(Outcome outcome);
  /// Readable when settle() has something to do.
  int ended_fd() const { return ended_.fd(); }
  /// After ended_fd() became readable: how the run ended. Nothing as long as a vCPU has still to stop, and
  /// when a guest that reset itself runs on from power-on. An error: the board could not be built anew.
  Result<std::optional<Outcome>> settle();

  /// Writes out the debug console, waiting for its reader. Any thread.
  void flush_output();
  /// Ends waiting for that reader, now and later. Any thread.
  void abandon_output();

  /// Writes the screen to where the configuration says, if it does. After the run.
  Result<> write_screenshot() const;

  /// As it was given, with what was left to us chosen.
  const MachineConfig& config() const { return config_; }
  /// The display adapter, another one after each reset; null: there is none.
  const vga::Adapter* display() const { return board_->display(); }
  /// The balloon, likewise.
  const virtio::Balloon* balloon() const { return board_->balloon(); }
  /// Puts another medium into a CD-ROM drive, for now and after the guest's resets; an empty path: takes it
  /// out. There is such a drive. False: the guest has locked it, and is asked to let go; `force` takes it out
  /// even so.
  Result<bool> change_cdrom(std::size_t number, const std::string& path, bool force);
  ide::Tray cdrom_tray(std::size_t number) const;
  /// Asks the guest to do without so many bytes, now and after its resets. There is a balloon.
  Result<> set_balloon(u64 size);

  /// Stops all vCPUs at an instruction boundary; host time, and with it a real clock, goes on.
  void pause();
  void resume();

  /// The state of every stateful part but RAM. Only while paused or not started.
  std::vector<SavedState> save() const { return board_->save(); }

  /// All counters, over all resets. While vCPUs run they may be a moment old.
  std::vector<StatRow> stats() const;

 private:
  class Control;
  class SerialSink;
  class HvcSink;
  class DebugSink;

  Machine(const MachineConfig& config, EventLoop& loop, LoadProgress progress, EventFd ended);
  Result<> open_debug_console();
  Result<> open_disks();
  Result<std::shared_ptr<Disk>> open_cdrom(const std::string& path);
  BoardDisk& drive(BoardDisk::Kind kind, std::size_t number);
  Result<> open_networks();
  Result<> open_vsock();
  Result<> open_bios();
  Result<> power_on();
  void launch();
  void connect_console();
  /// Joins the vCPUs (an outcome was requested) and takes away what feeds them.
  void halt();

  MachineConfig config_;
  std::vector<std::string>
      engine_warnings_;  ///< for start(): a machine that cannot be made has one line to say
  EventLoop& loop_;
  LoadProgress progress_;
  EventFd ended_;
  Console* console_ = nullptr;
  PanicWatch panic_, hvc_panic_;
  FileDescriptor debug_console_file_;
  std::unique_ptr<Output> debug_console_;
  std::unique_ptr<TraceSink> trace_;
  std::vector<u8> bios_, vga_bios_;      ///< empty: none
  std::unique_ptr<UefiVars> uefi_vars_;  ///< likewise null
  std::vector<BoardDisk> disks_;
  std::vector<BoardNet> nets_;
  std::vector<FileDescriptor> net_places_;  ///< what reserves the cards' addresses
  std::shared_ptr<VsockHost> vsock_;
  std::unique_ptr<Control> machine_control_;
  std::unique_ptr<SerialSink> serial_sink_;
  std::unique_ptr<HvcSink> hvc_sink_;  ///< with a virtio-console only
  std::unique_ptr<DebugSink> debug_sink_;

  std::vector<StatRow> past_stats_;  ///< of the boards before the last reset
  u64 past_retired_ = 0, past_busy_ns_ = 0;
  u64 resets_ = 0;
  u64 started_ns_ = 0, run_ns_ = 0, power_on_ns_ = 0;  ///< host time
  u64 virtual_wall_start_;

  std::unique_ptr<Board> board_;
  std::mutex request_mutex_;             // guards the exchange of control_; before RunControl's
  std::unique_ptr<RunControl> control_;  // names board_'s hazards
  std::unique_ptr<VcpuRunner> runner_;
  std::unique_ptr<ClockDriver> driver_;
};

}  // namespace vellum
