#include "machine/board.hpp"

#include "base/assert.hpp"
#include "base/log.hpp"
#include "boot/entry_state.hpp"
#include "boot/memory_map.hpp"
#include "cpu/bt/translator.hpp"
#include "cpu/interp/interpreter.hpp"
#include "cpu/kvm/engine.hpp"
#include "cpu/state_check.hpp"
#include "devices/display/vga_ports.hpp"
#include "devices/display/vga_window.hpp"
#include "devices/e1000/controller.hpp"
#include "devices/floppy/controller.hpp"
#include "devices/ide/piix3_ide.hpp"
#include "devices/legacy/acpi_pm.hpp"
#include "devices/legacy/cfi_flash.hpp"
#include "devices/legacy/i8042.hpp"
#include "devices/legacy/isa_dma.hpp"
#include "devices/legacy/misc_ports.hpp"
#include "devices/legacy/pit.hpp"
#include "devices/legacy/port_view.hpp"
#include "devices/legacy/rtc.hpp"
#include "devices/virtio/balloon.hpp"
#include "devices/virtio/blk.hpp"
#include "devices/virtio/console.hpp"
#include "devices/virtio/mmio_transport.hpp"
#include "devices/virtio/net.hpp"
#include "devices/virtio/pci_transport.hpp"
#include "devices/virtio/rng.hpp"
#include "devices/virtio/vsock.hpp"
#include "irq/ioapic.hpp"
#include "irq/local_apic.hpp"
#include "irq/pic.hpp"
#include "irq/router.hpp"
#include "machine/bios_rom.hpp"
#include "machine/clock_state.hpp"
#include "machine/firmware_items.hpp"
#include "machine/kernel_apic.hpp"
#include "machine/kernel_clock.hpp"
#include "machine/kernel_doorbells.hpp"
#include "machine/kernel_msrs.hpp"
#include "machine/vcpu_port.hpp"

namespace vellum {
namespace {

/// The second serial port has nobody at its other end.
class NullSink final : public ByteSink {
 public:
  void write(std::span<const u8>) override {}
};

}  // namespace

struct Board::Wiring {
  ApicBus& bus;
  Pic& pic;
  GsiRouter& router;
  MsiPorts* msi_ports;  ///< null: there are none
  virtio::PciInterface virtio;
};

Board::~Board() {
  // Engines refer to ports and APICs, which the devices own.
  for (auto& vcpu : vcpus_) vcpu->engine.reset();
  // What devices have posted to the loop is forgotten there.
  if (loop_ != nullptr) loop_->run_on_loop([this] { devices_.clear(); });
}

Result<std::unique_ptr<Board>> Board::create(const MachineConfig& config, const BoardResources& resources,
                                             std::span<const SavedState> saved) {
  std::unique_ptr<Board> board(new Board());
  VELLUM_TRY(board->build(config, resources, saved));
  return board;
}

Result<> Board::build(const MachineConfig& config, const BoardResources& resources,
                      std::span<const SavedState> saved) {
  StateQueue states(saved);
  loop_ = resources.loop;
  // On KVM the guest's code meets the processor itself, so it is told which one that is: what it does about
  // speculation and in SYSENTER depends on it.
  const bool on_kvm = config.engine == "kvm";
  VELLUM_TRY_ASSIGN(model,
                    x86::CpuModel::create(on_kvm && config.cpu_model == "auto" ? "host" : config.cpu_model));
  model_ = std::make_unique<x86::CpuModel>(std::move(model));

  const auto time =
      states.next<ClockState>({config.clock == ClockKind::kVirtual, 0, 0, resources.virtual_wall_start});
  if (time.is_virtual != (config.clock == ClockKind::kVirtual))
    return fail(ErrorCode::kBadInput, "the saved state is of a machine with a {} clock, this one's is {}",
                time.is_virtual ? "virtual" : "real", time.is_virtual ? "real" : "virtual");
  if (time.now_ns > Clock::kEndNs)
    return fail(ErrorCode::kBadInput,
                "the saved state's time is {} ns after power-on, beyond the end of time", time.now_ns);
  if (time.is_virtual) {
    auto clock = std::make_unique<VirtualClock>(time.wall_start);
    clock->skip_to(time.now_ns);
    virtual_clock_ = clock.get();
    clock_ = std::move(clock);
  } else {
    clock_ = std::make_unique<RealClock>(time.now_ns, time.tsc);
  }

  const u64 flash_size = resources.uefi_vars != nullptr ? resources.uefi_vars->bytes().size() : 0;
  const u64 display_size = config.display == DisplayKind::kStd ? resources.vga_memory : 0;
  VELLUM_TRY_ASSIGN(ram, GuestRam::create(config.memory, resources.bios.size() + flash_size + display_size));
  ram_ = std::move(ram);
  space_ = std::make_unique<AddressSpace>(AddressSpace{*ram_, mmio_, ports_});
  if (on_kvm) VELLUM_TRY_ASSIGN_TO(kvm_, kvm::Vm::create(kvm::host_api(), *ram_, config.kvm_irqchip));

  // Before the devices: it outlives them.
  if (kvm_ && loop_ != nullptr && config.kvm_doorbells && kvm_->abilities().doorbells)
    doorbells_ = &devices_.make<KernelDoorbells>(*kvm_, *loop_);

  auto& bus = devices_.make<ApicBus>();
  KernelApics* const remote =
      kvm_ && kvm_->kernel_apics() ? &devices_.make<KernelApics>(*kvm_, bus) : nullptr;
  auto& pic = devices_.make<Pic>(states.next<Pic::State>());
  IoApic::State ioapic_state;
  ioapic_state.id = layout::io_apic_id(config.cpus);
  const bool with_pci = config.board == BoardKind::kPc;
  auto& ioapic = devices_.make<IoApic>(bus, with_pci ? layout::kActiveLowPins : 0, states.next(ioapic_state));
  bus.attach(ioapic);
  VELLUM_TRY(mmio_.add(IoApic::kDefaultAddress, IoApic::kSize, ioapic, "ioapic"));
  auto& router = devices_.make<GsiRouter>(pic, ioapic, bus);
  Wiring wiring{bus, pic, router, remote != nullptr ? &remote->msi_ports() : nullptr, config.virtio};

  for (unsigned index = 0; index < config.cpus; ++index) {
    auto& slot = *vcpus_.emplace_back(std::make_unique<VcpuSlot>(index));
    if (remote != nullptr) {
      remote->add(slot.hazards);
      kernel_apics_.push_back(&devices_.make<KernelApic>(
          index, config.cpus, *clock_, *remote, pic, states.next(LocalApic::State::power_up(index == 0))));
      continue;
    }
    auto& host = devices_.make<HazardHost>(slot.hazards);
    apics_.push_back(&devices_.make<LocalApic>(index, *clock_, bus, host, &pic, model_->physical_bits(),
                                               states.next(LocalApic::State::power_up(index == 0))));
    slot.timer = &apics_.back()->timer();
  }
  if (kvm_ && kvm_->offers_clock())
    kernel_clock_ = &devices_.make<KernelClock>(*kvm_, states.next(KernelClock::power_on(*clock_)));
  if (kvm_) kernel_msrs_ = &devices_.make<KernelMsrs>(states.next<KernelMsrs::State>());
  VELLUM_TRY(add_devices(wiring, config, resources, states));
  VELLUM_TRY(add_virtio(wiring, config, resources, states));
  if (std::ranges::any_of(resources.disks, &BoardDisk::on_ide))
    VELLUM_TRY(add_ide(wiring, resources, states));
  if (floppy_drives_[0] != 0) VELLUM_TRY(add_floppies(wiring, resources, states));
  if (!resources.bios.empty()) VELLUM_TRY(add_firmware(config, resources, states));
  if (config.display == DisplayKind::kStd) VELLUM_TRY(add_display(resources, states));
  ram_->on_remap([this] { remapped(); });
  if (kvm_ != nullptr) VELLUM_TRY(kvm_->remap());
  VELLUM_TRY(add_vcpus(config, resources, states));
  return states.finish();
}

Result<> Board::add_devices(Wiring& wiring, const MachineConfig& config, const BoardResources& resources,
                            StateQueue& states) {
  GsiRouter& router = wiring.router;
  const auto view = [this](BusDevice& device, u64 first) -> BusDevice& {
    return devices_.make<PortView>(device, first);
  };

  VELLUM_TRY(ports_.add(layout::kPic1, 2, wiring.pic, "pic"));
  VELLUM_TRY(ports_.add(layout::kPic2, 2, view(wiring.pic, 2), "pic"));
  VELLUM_TRY(ports_.add(layout::kElcr, 2, view(wiring.pic, 4), "pic"));

  auto& pit = devices_.make<Pit>(*clock_, router.isa_line(Pit::kIrq), states.next<Pit::State>());
  VELLUM_TRY(ports_.add(Pit::kPort, Pit::kPortCount, pit, "pit"));
  VELLUM_TRY(ports_.add(Pit::kControlBPort, 1, view(pit, Pit::kControlBOffset), "pit"));

  for (unsigned n = 0; const BoardDisk& disk : resources.disks)
    if (disk.kind == BoardDisk::Kind::kFloppy)
      floppy_drives_.at(n++) = floppy::format_of(disk.disk->size())->drive_type;
  auto& rtc = devices_.make<Rtc>(
      *clock_, router.isa_line(Rtc::kIrq),
      states.next(Rtc::State::power_up(ram_->low_size(), ram_->high_size(), config.cpus, floppy_drives_)));
  VELLUM_TRY(ports_.add(Rtc::kPort, Rtc::kPortCount, rtc, "rtc"));

  serial_ = &devices_.make<Uart16550>("uart0", resources.serial, router.isa_line(layout::kCom1Irq),
                                      states.next<Uart16550::State>());
  VELLUM_TRY(ports_.add(layout::kCom1, Uart16550::kPortCount, *serial_, "uart0"));
  auto& second = devices_.make<Uart16550>("uart1", devices_.make<NullSink>(),
                                          router.isa_line(layout::kCom2Irq), states.next<Uart16550::State>());
  VELLUM_TRY(ports_.add(layout::kCom2, Uart16550::kPortCount, second, "uart1"));

  auto& keyboard = devices_.make<I8042>(router.isa_line(I8042::kKeyboardIrq), resources.control,
                                        states.next<I8042::State>());
  VELLUM_TRY(ports_.add(I8042::kDataPort, 1, keyboard, "i8042"));
  VELLUM_TRY(ports_.add(I8042::kCommandPort, 1, view(keyboard, 1), "i8042"));

  auto& pm = devices_.make<AcpiPm>(*clock_, router.isa_line(GsiRouter::kSciIrq), resources.control,
                                   states.next<AcpiPm::State>());
  auto& reset = devices_.make<ResetPort>(resources.control, states.next<ResetPort::State>());
  if (config.board == BoardKind::kPc) {
    VELLUM_TRY_ASSIGN(root, make_pci_root(devices_, *space_, wiring.bus, router, pm, reset, states));
    pci_ = root;
    if (doorbells_ != nullptr) pci_->bus->memory().offer_doorbells(*doorbells_);
    if (wiring.msi_ports != nullptr) pci_->bus->set_msi_ports(*wiring.msi_ports);
    dma_ = &devices_.make<IsaDma>(DmaView(*ram_), states.next<IsaDma::State>());
    VELLUM_TRY(ports_.add(IsaDma::kFirstPort, IsaDma::kFirstCount, dma_->first_ports(), "isa-dma"));
    VELLUM_TRY(ports_.add(IsaDma::kSecondPort, IsaDma::kSecondCount, dma_->second_ports(), "isa-dma"));
    VELLUM_TRY(ports_.add(IsaDma::kPagePort, IsaDma::kPageCount, dma_->page_ports(), "isa-dma"));
  } else {
    VELLUM_TRY(ports_.add(AcpiPm::kPort, AcpiPm::kPortCount, pm, "acpi-pm"));
    VELLUM_TRY(ports_.add(ResetPort::kPort, ResetPort::kPortCount, reset, "reset-port"));
  }

  x87_error_ = &devices_.make<CoprocessorError>(router.isa_line(CoprocessorError::kIrq),
                                                states.next<CoprocessorError::State>());
  VELLUM_TRY(ports_.add(CoprocessorError::kPort, CoprocessorError::kPortCount, *x87_error_, "x87-error"));

  auto& post = devices_.make<PostCode>(states.next<PostCode::State>());
  VELLUM_TRY(ports_.add(PostCode::kPort, PostCode::kPortCount, post, "post-code"));
  auto& control_a = devices_.make<SystemControlA>(resources.control, states.next<SystemControlA::State>());
  VELLUM_TRY(ports_.add(SystemControlA::kPort, SystemControlA::kPortCount, control_a, "system-control-a"));

  if (config.debug_exit) {
    auto& debug_exit = devices_.make<DebugExit>(resources.control);
    VELLUM_TRY(ports_.add(DebugExit::kPort, DebugExit::kPortCount, debug_exit, "debug-exit"));
  }
  if (resources.debug_console != nullptr) {
    auto& console = devices_.make<DebugConsole>(*resources.debug_console);
    for (const u64 port : {DebugConsole::kPort, DebugConsole::kFirmwarePort})
      VELLUM_TRY(ports_.add(port, DebugConsole::kPortCount, console, "debug-console"));
  }
  return {};
}

Result<u8> Board::add_virtio_device(Wiring& wiring, virtio::Device& device, StateQueue& states) {
  if (pci_) {
    VELLUM_TRY_ASSIGN(slot, pci_->free_slot());
    auto& function = devices_.make<virtio::PciTransport>(
        *pci_->bus, device, states.next<virtio::PciTransport::State>(), wiring.virtio);
    pci_->bus->add(slot, function);
    return slot;
  }
  const unsigned slot = virtio_mmio_++;
  if (slot >= layout::kVirtioMmioSlots)
    return fail(ErrorCode::kInvalidArgument, "--board micro has room for {} virtio devices",
                layout::kVirtioMmioSlots);
  auto& line = wiring.router.gsi_line(layout::virtio_mmio_gsi(slot));
  auto& registers =
      devices_.make<virtio::MmioTransport>(*ram_, line, device, states.next<virtio::MmioTransport::State>());
  const u64 address = layout::virtio_mmio_address(slot).value;
  VELLUM_TRY(mmio_.add(address, layout::kVirtioMmioSize, registers, device.kind().name));
  for (u32 queue = 0; doorbells_ != nullptr && queue < device.queue_count(); ++queue) {
    const unsigned bell = doorbells_->add([&device, queue] { device.notify(queue); });
    doorbells_->move(bell, DoorbellPlace{address + virtio::MmioTransport::kQueueNotify, 4, queue});
  }
  return static_cast<u8>(slot);
}

Result<> Board::add_virtio(Wiring& wiring, const MachineConfig& config, const BoardResources& resources,
                           StateQueue& states) {
  const bool any = config.rng || config.balloon || resources.vsock || resources.console != nullptr ||
                   !resources.disks.empty() || !resources.nets.empty();
  if (!any) return {};
  VELLUM_ASSERT(loop_ != nullptr, "virtio devices need an event loop");
  const IoContext context{loop_, virtual_clock_ != nullptr};
  for (const BoardDisk& disk : resources.disks) {
    if (disk.kind != BoardDisk::Kind::kVirtio) continue;
    auto& device = devices_.make<virtio::Blk>(context, disk.disk, config.cpus, disk.serial,
                                              states.next<virtio::Blk::State>());
    VELLUM_TRY_ASSIGN(slot, add_virtio_device(wiring, device, states));
    if (pci_) boot_disks_.push_back(virtio_disk_path(slot));
  }
  for (const BoardNet& net : resources.nets) VELLUM_TRY(add_net(wiring, net, states));
  if (resources.console != nullptr) {
    console_ =
        &devices_.make<virtio::Console>(context, *resources.console, states.next<virtio::Console::State>());
    VELLUM_TRY(add_virtio_device(wiring, *console_, states));
  }
  if (config.rng)
    VELLUM_TRY(add_virtio_device(
        wiring, devices_.make<virtio::Rng>(context, states.next<virtio::Rng::State>()), states));
  if (config.balloon) {
    const BalloonConfig& balloon = *config.balloon;
    const virtio::BalloonOptions options{static_cast<u32>(balloon.size >> kPageShift), balloon.deflate_on_oom,
                                         balloon.free_page_reporting, balloon.stats_seconds};
    balloon_ = &devices_.make<virtio::Balloon>(context, options,
                                               states.next(virtio::Balloon::State::power_up(options)));
    VELLUM_TRY(add_virtio_device(wiring, *balloon_, states));
  }
  if (resources.vsock != nullptr) {
    auto& device = devices_.make<virtio::Vsock>(context, resources.vsock, u64{config.vsock->cid},
                                                states.next<virtio::Vsock::State>());
    VELLUM_TRY(add_virtio_device(wiring, device, states));
  }
  return {};
}

Result<> Board::add_net(Wiring& wiring, const BoardNet& net, StateQueue& states) {
  const IoContext context{loop_, virtual_clock_ != nullptr};
  if (net.model == net::NetConfig::Model::kVirtio) {
    auto& device = devices_.make<virtio::Net>(context, net.network, net.mac, net.pairs,
                                              states.next<virtio::Net::State>());
    VELLUM_TRY(add_virtio_device(wiring, device, states));
    return {};
  }
  VELLUM_ASSERT(pci_, "an e1000 needs PCI");
  VELLUM_TRY_ASSIGN(slot, pci_->free_slot());
  auto& card = devices_.make<e1000::Controller>(*pci_->bus, *clock_, context, net.network, net.mac,
                                                states.next<e1000::Controller::State>());
  pci_->bus->add(slot, card);
  return {};
}

void Board::remapped() {
  if (kvm_ == nullptr) {
    for (Hazards* hazards : this->hazards()) hazards->set(Hazards::kTlbFlush);
  } else if (const Result<> mapped = kvm_->remap(); !mapped) {
    VELLUM_WARN_GUEST("{}; the guest cannot run code there", mapped.error().message);
  }
}

// Its memory's block comes after the firmware's, which keeps its place where a guest puts one over the other.
Result<> Board::add_display(const BoardResources& resources, StateQueue& states) {
  VELLUM_ASSERT(pci_, "a display adapter needs PCI");
  const unsigned block = ram_->add_block(resources.vga_memory);
  display_ = &devices_.make<vga::Adapter>(*pci_->bus, *clock_, *ram_, block, resources.vga_bios,
                                          states.next<vga::Adapter::State>());
  pci_->bus->add(pci::devfn(vga::Adapter::kDevice, 0), *display_);
  ram_->map_shadow({GuestPhys(vga::kWindow), vga::kWindowSize}, {}, {});
  VELLUM_TRY(mmio_.add(vga::kWindow, vga::kWindowSize, display_->window(), "vga"));
  VELLUM_TRY(ports_.add(vga::kPort, vga::kPortCount, display_->ports(), "vga"));
  return ports_.add(vga::Dispi::kPort, vga::Dispi::kPortCount, display_->dispi_ports(), "dispi");
}

// Disks take the first places, CD-ROM drives those from the second channel's first on, as on most PCs; what
// is taken goes to the next free one.
Result<> Board::add_ide(Wiring& wiring, const BoardResources& resources, StateQueue& states) {
  ide::Piix3Ide::Drives drives;
  for (const BoardDisk& disk : resources.disks) {
    if (!disk.on_ide()) continue;
    const bool cdrom = disk.kind == BoardDisk::Kind::kCdrom;
    unsigned place = cdrom ? 2 : 0;
    for (unsigned n = 0; n < 4 && drives[place / 2][place % 2].present(); ++n) place = (place + 1) % 4;
    ide::Drive& drive = drives[place / 2][place % 2];
    VELLUM_ASSERT(!drive.present(), "more than four IDE drives");
    drive = {disk.disk, disk.serial, cdrom};
    if (cdrom) cdrom_places_.push_back(place);
    (cdrom ? boot_cdroms_ : boot_disks_).push_back(ide_drive_path(place / 2, place % 2));
  }
  const IoContext context{loop_, virtual_clock_ != nullptr};
  ide_ = &devices_.make<ide::Piix3Ide>(*pci_->bus, wiring.router, context, std::move(drives),
                                       states.next<ide::Piix3Ide::State>());
  pci_->bus->add(pci::devfn(ide::Piix3Ide::kDevice, ide::Piix3Ide::kFunction), *ide_);
  for (unsigned n = 0; n < ide::Piix3Ide::kChannels; ++n) {
    VELLUM_TRY(ports_.add(ide::Piix3Ide::kCommandPorts[n], ide::Piix3Ide::kCommandCount,
                          ide_->command_ports(n), "ide"));
    VELLUM_TRY(ports_.add(ide::Piix3Ide::kControlPorts[n], 1, ide_->control_port(n), "ide"));
  }
  return {};
}

bool Board::change_cdrom(std::size_t number, std::shared_ptr<Disk> medium, bool force) {
  const unsigned place = cdrom_places_.at(number);
  return ide_->channel(place / 2).change(place % 2, std::move(medium), force);
}

ide::Tray Board::cdrom_tray(std::size_t number) const {
  const unsigned place = cdrom_places_.at(number);
  return ide_->channel(place / 2).tray(place % 2);
}

Result<> Board::add_floppies(Wiring& wiring, const BoardResources& resources, StateQueue& states) {
  using floppy::Controller;
  VELLUM_ASSERT(dma_ != nullptr, "floppy disk drives need DMA");
  Controller::Media media;
  for (unsigned n = 0; const BoardDisk& disk : resources.disks) {
    if (disk.kind != BoardDisk::Kind::kFloppy) continue;
    boot_floppies_.push_back(floppy_drive_path(n));
    media.at(n++) = disk.disk;
  }
  const IoContext context{loop_, virtual_clock_ != nullptr};
  auto& controller =
      devices_.make<Controller>(context, std::move(media), wiring.router.isa_line(Controller::kIrq), *dma_,
                                states.next<Controller::State>());
  auto& input = devices_.make<PortView>(controller, Controller::kInputPort - Controller::kPort);
  VELLUM_TRY(ports_.add(Controller::kPort, Controller::kPortCount, controller, "floppy"));
  return ports_.add(Controller::kInputPort, 1, input, "floppy");
}

Result<> Board::add_firmware(const MachineConfig& config, const BoardResources& resources,
                             StateQueue& states) {
  VELLUM_ASSERT(pci_, "firmware in ROM needs the host bridge");
  devices_.make<BiosRom>(*ram_, *pci_->host, resources.bios);
  if (FlashContents* const vars = resources.uefi_vars) {
    const u64 size = vars->bytes().size();
    VELLUM_ASSERT(size + resources.bios.size() <= BiosRom::kMaxSize, "{} bytes of flash", size);
    const GuestPhys start(GuestRam::kHighRamStart - resources.bios.size() - size);
    auto& flash =
        devices_.make<CfiFlash>(*ram_, ram_->add_block(size), start, *vars, states.next<CfiFlash::State>());
    VELLUM_TRY(mmio_.add(start.value, size, flash, "flash"));
  }
  FirmwareRequest request{
      config.cpus, config.display == DisplayKind::kStd, floppy_drives_, {}, [pm = pci_->pm] {
        return pm->base();
      }};
  static const std::vector usual{BootFrom::kDisks, BootFrom::kCdroms, BootFrom::kFloppies};
  for (const BootFrom from : config.boot_order.empty() ? usual : config.boot_order) {
    const auto& paths = from == BootFrom::kDisks    ? boot_disks_
                        : from == BootFrom::kCdroms ? boot_cdroms_
                                                    : boot_floppies_;
    request.boot_order.insert(request.boot_order.end(), paths.begin(), paths.end());
  }
  auto& fw_cfg = devices_.make<FwCfg>(*space_, firmware_items(*ram_, request), states.next<FwCfg::State>());
  return ports_.add(FwCfg::kPort, FwCfg::kPortCount, fw_cfg, "fw-cfg");
}

Result<std::unique_ptr<Engine>> Board::make_engine(const MachineConfig& config, unsigned index,
                                                   VcpuBoard& board, Hazards& hazards, const Tracer& trace) {
  const auto traced = [&trace](auto engine) {
    engine->vcpu().set_trace(trace);
    return engine;
  };
  const std::string& name = config.engine;
  if (name == "kvm") {
    VELLUM_TRY_ASSIGN(engine,
                      kvm::KvmEngine::create(*kvm_, index, *space_, board, *clock_, *model_, hazards));
    return traced(std::move(engine));
  }
  if (name == "interp")
    return traced(std::make_unique<interp::Interpreter>(index, *space_, board, *clock_, *model_, hazards));
  VELLUM_ASSERT(name == "auto" || name == "bt", "engine '{}'", name);
  if (config.bt.share && config.cpus > 1 && translations_ == nullptr)
    translations_ = std::make_shared<bt::TranslationCache>(config.bt, true, true);
  return traced(std::make_unique<bt::Translator>(index, *space_, board, *clock_, *model_, hazards, config.bt,
                                                 translations_));
}

Result<> Board::add_vcpus(const MachineConfig& config, const BoardResources& resources, StateQueue& states) {
  for (const auto& slot : vcpus_) {
    const bool in_kernel = !kernel_apics_.empty();
    VcpuBoard* const port = in_kernel ? static_cast<VcpuBoard*>(kernel_apics_[slot->index])
                                      : &devices_.make<VcpuPort>(*apics_[slot->index], config.cpus,
                                                                 slot->index == 0 ? x87_error_ : nullptr);
    if (resources.trace != nullptr) slot->trace = Tracer(*resources.trace, config.trace, slot->index);
    VELLUM_TRY_ASSIGN_TO(slot->engine, make_engine(config, slot->index, *port, slot->hazards, slot->trace));
    if (states.restoring()) {
      const auto state = states.next<VcpuState>();
      VELLUM_TRY(check_state(state, *model_));
      slot->engine->push(StateMask::kAll, state);
    }
    // After the TSC, which its deadline counts.
    if (in_kernel)
      VELLUM_TRY(kernel_apics_[slot->index]->connect(static_cast<kvm::KvmEngine&>(*slot->engine)));
  }
  if (!kvm_) return {};
  std::vector<kvm::KvmEngine*> engines;
  for (const auto& slot : vcpus_) engines.push_back(static_cast<kvm::KvmEngine*>(slot->engine.get()));
  VELLUM_TRY(kernel_msrs_->connect(engines));
  return kernel_clock_ == nullptr ? Result<>() : kernel_clock_->connect(std::move(engines));
}

std::vector<Hazards*> Board::hazards() const {
  std::vector<Hazards*> all;
  for (const auto& slot : vcpus_) all.push_back(&slot->hazards);
  return all;
}

Result<> Board::start_like_firmware() {
  if (kernel_apics_.empty()) {
    apics_.front()->enter_virtual_wire_mode();
  } else {
    VELLUM_TRY(kernel_apics_.front()->enter_virtual_wire_mode());
  }
  for (const auto& slot : vcpus_) {
    VcpuState state;
    slot->engine->pull(StateMask::kMsrs, state);
    apply_firmware_mtrrs(state.msr, model_->physical_bits());
    slot->engine->push(StateMask::kMsrs, state);
  }
  if (pci_) VELLUM_TRY(pci_->start_like_firmware(ram_->size()));
  if (dma_ != nullptr) dma_->open_cascade();
  return {};
}

std::vector<SavedState> Board::save() const {
  std::vector<SavedState> saved;
  const auto collect = [&] {
    for (Quiescable* device : devices_.quiescable()) device->quiesce();
    saved.push_back(encode_state(ClockState::of(*clock_)));
    for (const Snapshottable* device : devices_.stateful()) saved.push_back(device->save());
  };
  // On the loop nothing else of a device's runs meanwhile.
  if (loop_ != nullptr) {
    loop_->run_on_loop(collect);
  } else {
    collect();
  }
  for (const auto& slot : vcpus_) {
    VcpuState state;
    slot->engine->pull(StateMask::kAll, state);
    saved.push_back(encode_state(state));
  }
  return saved;
}

void Board::resume_devices() {
  if (loop_ == nullptr) return;
  loop_->run_on_loop([this] {
    for (Quiescable* device : devices_.quiescable()) device->resume();
  });
}

void Board::stats(std::vector<StatRow>& rows) const {
  for (const auto& slot : vcpus_) slot->stats(rows);
  for (const StatSource* source : devices_.counting()) source->stats(rows);
  mmio_.stats(rows);
  ports_.stats(rows);
}

}  // namespace vellum
