#include "machine/twin.hpp"

#include "machine/bios_rom.hpp"
#include "machine/load_guest.hpp"

namespace vellum {

class Twin::Control final : public MachineControl {
 public:
  explicit Control(Twin& twin) : twin_(twin) {}
  void power_off() override { end({Outcome::Kind::kPowerOff, 0, {}}); }
  void reset() override { end({Outcome::Kind::kReset, 0, {}}); }
  void debug_exit(u32 value) override {
    end({Outcome::Kind::kDebugExit, static_cast<int>(value & 0xff), {}});
  }

 private:
  void end(Outcome outcome) {
    if (!twin_.outcome_) twin_.outcome_ = std::move(outcome);
    for (Hazards* hazards : twin_.board_->hazards()) hazards->set(Hazards::kStop);
  }
  Twin& twin_;
};

class Twin::Sink final : public ByteSink {
 public:
  explicit Sink(std::string& text) : text_(text) {}
  void write(std::span<const u8> bytes) override { text_.append(bytes.begin(), bytes.end()); }

 private:
  std::string& text_;
};

Twin::Twin() : control_(std::make_unique<Control>(*this)), sink_(std::make_unique<Sink>(output_)) {}
Twin::~Twin() = default;

Result<std::unique_ptr<Twin>> Twin::create(const MachineConfig& config) {
  MachineConfig own = config;
  own.clock = ClockKind::kVirtual;
  own.debugcon.clear();
  own.display = config.has_display() ? DisplayKind::kStd : DisplayKind::kNone;
  std::unique_ptr<Twin> twin(new Twin);
  VELLUM_TRY_ASSIGN_TO(twin->loop_, EventLoop::create());
  std::vector<u8> bios;  // the board's ROM is a copy
  std::vector<u8> vga_bios;
  if (own.kernel.empty())
    VELLUM_TRY_ASSIGN_TO(bios, read_bios(own.firmware.value_or(FirmwareKind::kBios), own.bios));
  if (own.firmware == FirmwareKind::kUefi)
    VELLUM_TRY_ASSIGN_TO(twin->uefi_vars_, UefiVars::open(own, bios.size()));
  if (own.has_display()) VELLUM_TRY_ASSIGN_TO(vga_bios, read_vga_bios());
  BoardResources resources{*twin->control_, *twin->sink_, nullptr, VirtualClock::kEpochSeconds};
  resources.loop = twin->loop_.get();
  resources.bios = bios;
  resources.vga_bios = vga_bios;
  resources.uefi_vars = twin->uefi_vars_.get();
  VELLUM_TRY_ASSIGN(board, Board::create(own, resources));
  twin->board_ = std::move(board);
  twin->rounds_.emplace(twin->board_->vcpus(), *twin->board_->virtual_clock());
  VELLUM_TRY(load_guest(*twin->board_, own, {}));
  return twin;
}

void Twin::run_to(u64 target) {
  while (!outcome_ && position() < target) {
    const VcpuSlot& slot = *board_->vcpus()[turn()];
    const Exit exit = rounds_->run(target - position());
    if (auto outcome = outcome_of(slot, exit); outcome && !outcome_) outcome_ = std::move(*outcome);
    if (!outcome_ && rounds_->idle() && rounds_->wake() != VirtualRounds::Wake::kTimer)
      outcome_ = {Outcome::Kind::kStuck, 0, "every vCPU halted and nothing can wake one"};
  }
}

}  // namespace vellum
