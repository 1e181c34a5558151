#include "machine/machine.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "base/write_file.hpp"
#include "devices/virtio/balloon.hpp"
#include "devices/virtio/console.hpp"
#include "io/net/create_network.hpp"
#include "io/vsock/unix_vsock_host.hpp"
#include "machine/bios_rom.hpp"
#include "machine/engine_choice.hpp"
#include "machine/host_time.hpp"
#include "machine/load_guest.hpp"
#include "machine/screenshot.hpp"

namespace vellum {

namespace {

// A pipe that nobody reads must not make us wait for a reader.
Result<FileDescriptor> open_for_output(const std::string& path) {
  auto file = FileDescriptor::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK);
  const bool no_reader = !file && errno == ENXIO;  // or a device that is not there
  struct stat status {};
  if (no_reader && ::stat(path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode))
    return fail(ErrorCode::kHost, "--debugcon '{}' is a pipe that nobody reads; start its reader first",
                path);
  if (!file) return tl::unexpected(std::move(file).error().context("--debugcon"));
  return file;
}

}  // namespace

/// What devices ask of the machine becomes an outcome.
class Machine::Control final : public MachineControl {
 public:
  explicit Control(Machine& machine) : machine_(machine) {}
  void power_off() override { machine_.request({Outcome::Kind::kPowerOff, 0, {}}); }
  void reset() override { machine_.request({Outcome::Kind::kReset, 0, {}}); }
  void debug_exit(u32 value) override {
    machine_.request({Outcome::Kind::kDebugExit, static_cast<int>(value & 0xff), {}});
  }

 private:
  Machine& machine_;
};

/// The first serial port's output, to the console and past the watch for panics.
class Machine::SerialSink final : public ByteSink {
 public:
  explicit SerialSink(Machine& machine) : machine_(machine) {}
  void write(std::span<const u8> bytes) override {
    machine_.panic_.see(bytes);
    if (machine_.console_ != nullptr) machine_.console_->write(bytes);
  }

 private:
  Machine& machine_;
};

/// The virtio-console's, likewise.
class Machine::HvcSink final : public PacedSink {
 public:
  explicit HvcSink(Machine& machine) : machine_(machine) {}
  void write(std::span<const u8> bytes) override {
    machine_.hvc_panic_.see(bytes);
    if (machine_.console_ != nullptr) machine_.console_->write(bytes);
  }
  bool has_room() override { return machine_.console_ == nullptr || machine_.console_->has_output_room(); }

 private:
  Machine& machine_;
};

/// The debug console's output. Its file is opened once the kernel has loaded, so that a bad kernel leaves
/// none behind.
class Machine::DebugSink final : public ByteSink {
 public:
  void open(Output& output) { output_ = &output; }
  void write(std::span<const u8> bytes) override {
    if (output_ != nullptr) output_->write(bytes);
  }

 private:
  Output* output_ = nullptr;
};

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config, EventLoop& loop,
                                                 LoadProgress progress) {
  VELLUM_TRY(check_config(config));
  if (!config.screenshot.empty())
    if (auto writable = check_writable(config.screenshot); !writable)
      return tl::unexpected(std::move(writable).error().context("--screenshot"));
  VELLUM_TRY_ASSIGN(ended, EventFd::create());
  MachineConfig chosen = config;
  VELLUM_TRY_ASSIGN(choice, choose_engine(config, kvm::host_api()));
  chosen.engine = choice.engine;
  chosen.display = config.has_display() ? DisplayKind::kStd : DisplayKind::kNone;
  std::unique_ptr<Machine> machine(new Machine(chosen, loop, std::move(progress), std::move(ended)));
  if (!config.debugcon.empty()) machine->debug_sink_ = std::make_unique<DebugSink>();
  if (config.console == ConsoleKind::kVirtio) machine->hvc_sink_ = std::make_unique<HvcSink>(*machine);
  if (config.trace != TraceKind::kNone) VELLUM_TRY_ASSIGN_TO(machine->trace_, open_trace(config.trace_file));
  VELLUM_TRY(machine->open_bios());
  VELLUM_TRY(machine->open_disks());
  VELLUM_TRY(machine->open_networks());
  VELLUM_TRY(machine->open_vsock());
  VELLUM_TRY(machine->power_on());
  VELLUM_TRY(machine->open_debug_console());
  machine->engine_warnings_ = std::move(choice.warnings);
  return machine;
}

Machine::Machine(const MachineConfig& config, EventLoop& loop, LoadProgress progress, EventFd ended)
    : config_(config),
      loop_(loop),
      progress_(std::move(progress)),
      ended_(std::move(ended)),
      machine_control_(std::make_unique<Control>(*this)),
      serial_sink_(std::make_unique<SerialSink>(*this)),
      virtual_wall_start_(VirtualClock::kEpochSeconds) {}

Machine::~Machine() {
  if (runner_) {
    request({Outcome::Kind::kLeft, 0, {}});
    halt();
  }
  flush_output();
}

void Machine::flush_output() {
  if (debug_console_) debug_console_->flush();
}

void Machine::abandon_output() {
  if (debug_console_) debug_console_->abandon();
}

Result<> Machine::open_debug_console() {
  if (config_.debugcon.empty()) return {};
  VELLUM_TRY_ASSIGN(file, open_for_output(config_.debugcon));
  debug_console_file_ = std::move(file);
  // A debug console that nobody reads any more, or whose disk is full, loses its output; the machine runs on.
  VELLUM_TRY_ASSIGN(output,
                    Output::create(loop_, debug_console_file_.get(), [path = config_.debugcon](int error) {
                      spdlog::warn("--debugcon '{}': {}; what the guest writes to it from here on is lost",
                                   path, std::strerror(error));
                    }));
  debug_console_ = std::move(output);
  debug_sink_->open(*debug_console_);
  return {};
}

Result<> Machine::open_bios() {
  if (config_.kernel.empty())
    VELLUM_TRY_ASSIGN_TO(bios_, read_bios(config_.firmware.value_or(FirmwareKind::kBios), config_.bios));
  if (config_.firmware == FirmwareKind::kUefi)
    VELLUM_TRY_ASSIGN_TO(uefi_vars_, UefiVars::open(config_, bios_.size()));
  if (config_.display == DisplayKind::kStd) VELLUM_TRY_ASSIGN_TO(vga_bios_, read_vga_bios());
  return {};
}

Result<> Machine::write_screenshot() const {
  if (config_.screenshot.empty() || board_ == nullptr) return {};
  return vellum::write_screenshot(*board_->display(), config_.screenshot);
}

Result<> Machine::set_balloon(u64 size) {
  VELLUM_ASSERT(config_.balloon && board_->balloon() != nullptr, "there is no balloon");
  VELLUM_TRY(check_balloon_size(size, config_.memory));
  config_.balloon->size = size;
  board_->balloon()->set_target(static_cast<u32>(size >> kPageShift));
  return {};
}

Result<> Machine::open_networks() {
  const auto addresses = net::card_addresses(config_.nets, net_places_);
  for (std::size_t n = 0; n < config_.nets.size(); ++n) {
    VELLUM_TRY_ASSIGN(network, net::create_network(loop_, config_.nets[n]));
    nets_.push_back({std::move(network), addresses[n], config_.nets[n].queues, config_.nets[n].model});
  }
  return {};
}

Result<> Machine::open_vsock() {
  if (!config_.vsock) return {};
  auto host = UnixVsockHost::create(loop_, config_.vsock->path);
  if (!host) return tl::unexpected(std::move(host).error().context("--vsock"));
  vsock_ = std::move(*host);
  return {};
}

Result<> Machine::power_on() {
  const u64 begin = host_ns();
  const BoardResources resources{*machine_control_,
                                 *serial_sink_,
                                 debug_sink_.get(),
                                 virtual_wall_start_,
                                 trace_.get(),
                                 &loop_,
                                 disks_,
                                 nets_,
                                 bios_,
                                 hvc_sink_.get(),
                                 vsock_,
                                 vga_bios_,
                                 vga::Adapter::kDefaultMemory,
                                 uefi_vars_.get()};
  VELLUM_TRY_ASSIGN(board, Board::create(config_, resources));
  board_ = std::move(board);
  if (board_->virtual_clock() == nullptr)
    VELLUM_TRY_ASSIGN_TO(driver_, ClockDriver::create(loop_, board_->clock()));
  VELLUM_TRY(load_guest(*board_, config_, progress_));
  power_on_ns_ += host_ns() - begin;
  return {};
}

void Machine::attach_console(Console& console) {
  console_ = &console;
}

void Machine::start() {
  VELLUM_ASSERT(!runner_, "the machine was started twice");
  for (const auto& warning : engine_warnings_) spdlog::warn("{}", warning);
  started_ns_ = host_ns();
  launch();
}

void Machine::launch() {
  const auto vcpus = board_->vcpus();
  VirtualClock* const virtual_clock = board_->virtual_clock();
  const auto threads = virtual_clock != nullptr ? 1u : static_cast<unsigned>(vcpus.size());
  {
    std::scoped_lock lock(request_mutex_);
    control_ = std::make_unique<RunControl>(board_->hazards(), threads, ended_);
  }
  if (virtual_clock != nullptr) {
    runner_ = std::make_unique<LockstepRunner>(vcpus, *control_, *virtual_clock, [this] {
      return console_ != nullptr && console_->input_possible();
    });
  } else {
    driver_->start();
    runner_ = std::make_unique<ThreadedRunner>(vcpus, *control_);
  }
  if (console_ != nullptr) connect_console();
  runner_->start();
}

void Machine::connect_console() {
  Uart16550& serial = board_->serial();
  virtio::Console* const hvc = board_->console();
  const auto ready = [console = console_] { console->receiver_ready(); };
  serial.on_room(ready);
  if (hvc != nullptr) {
    hvc->on_room(ready);
    console_->on_output_room([hvc] { hvc->output_ready(); });
    console_resized();
  }
  // Until a driver has come to the virtio-console, keys are for whatever else the guest has: its firmware,
  // say.
  console_->connect([&serial, hvc](std::span<const u8> bytes) {
    return hvc != nullptr && hvc->has_driver() ? hvc->receive(bytes) : serial.receive(bytes);
  });
}

void Machine::console_resized() {
  virtio::Console* const hvc = board_ ? board_->console() : nullptr;
  if (console_ == nullptr || hvc == nullptr) return;
  const TerminalSize size = console_->size().value_or(TerminalSize());
  hvc->resize(size.columns, size.rows);
}

void Machine::halt() {
  runner_->join();
  run_ns_ += host_ns() - started_ns_;
  if (console_ != nullptr) {
    console_->connect({});
    console_->on_output_room({});
  }
  driver_.reset();
  runner_.reset();
}

void Machine::request(Outcome outcome) {
  std::scoped_lock lock(request_mutex_);
  if (control_) control_->request(std::move(outcome));
}

Result<std::optional<Outcome>> Machine::settle() {
  ended_.clear();
  auto outcome = control_->outcome();
  if (!outcome || !runner_) return outcome;
  // A vCPU may be waiting for whoever reads its output; whoever waits for us has signals to look at
  // meanwhile.
  if (!control_->all_left()) return std::optional<Outcome>();
  halt();
  if (outcome->kind != Outcome::Kind::kReset) return outcome;
  auto panic = panic_.message();
  if (!panic) panic = hvc_panic_.message();
  if (panic) return Outcome{Outcome::Kind::kPanic, 0, std::move(*panic)};
  if (config_.no_reboot) return outcome;

  board_->stats(past_stats_);
  for (const auto& slot : board_->vcpus()) {
    past_retired_ += slot->engine->retired();
    past_busy_ns_ += slot->run_ns.get();
  }
  ++resets_;
  if (const auto* virtual_clock = board_->virtual_clock())
    virtual_wall_start_ = virtual_clock->wall_time().seconds;
  {
    std::scoped_lock lock(request_mutex_);
    control_.reset();
  }
  board_.reset();  // before the new one is built: two at a time would take twice the memory
  VELLUM_TRY(power_on());
  started_ns_ = host_ns();
  launch();
  return std::optional<Outcome>();
}

void Machine::pause() {
  control_->pause();
}

void Machine::resume() {
  control_->resume();
}

std::vector<StatRow> Machine::stats() const {
  std::vector<StatRow> parts;
  u64 retired = past_retired_, busy_ns = past_busy_ns_;
  if (board_) {
    board_->stats(parts);
    for (const auto& slot : board_->vcpus()) {
      retired += slot->engine->retired();
      busy_ns += slot->run_ns.get();
    }
  }
  for (const BoardNet& net : nets_) net.network->stats(parts);  // over all resets, as they are
  parts.insert(parts.end(), past_stats_.begin(), past_stats_.end());

  std::vector<StatRow> rows;
  rows.push_back({"machine", "power-on: board built, kernel loaded", resets_ + 1, power_on_ns_});
  rows.push_back({"machine", "run, from first to last instruction", 1, run_ns_});
  if (retired != 0) {
    rows.push_back({"machine", "guest instructions, time of all vCPUs", retired, busy_ns});
    rows.push_back(
        {"machine", "million instructions a second of vCPU", busy_ns != 0 ? retired * 1000 / busy_ns : 0, 0});
  } else {
    rows.push_back({"machine", "vCPUs, time of all", config_.cpus, busy_ns});
  }
  rows.insert(rows.end(), parts.begin(), parts.end());
  return rows;
}

}  // namespace vellum
