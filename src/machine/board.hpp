// The PC board: RAM, buses, interrupt controllers, devices and vCPUs, wired together. Built once for each
// power-on (a reset builds a new one), either fresh or from saved states.
//
//   vCPU n <-> VcpuPort/HazardHost <-> local APIC n <-- ApicBus <-- I/O APIC <-- GsiRouter <-- devices
//                                           LINT0 <---------------- 8259 <-------'
//   vCPU n --> AddressSpace: RAM, mmio bus (I/O APIC), port bus (everything else); behind both, PCI
//
// The board knows which devices exist and where they answer; what they are is their own business.
#pragma once

#include <memory>
#include <vector>

#include "base/clock.hpp"
#include "devices/display/adapter.hpp"
#include "devices/legacy/byte_sink.hpp"
#include "devices/legacy/machine_control.hpp"
#include "devices/legacy/uart16550.hpp"
#include "io/disk/disk.hpp"
#include "io/event_loop.hpp"
#include "io/net/mac_address.hpp"
#include "io/net/net_config.hpp"
#include "io/net/network.hpp"
#include "io/paced_sink.hpp"
#include "io/vsock/vsock_host.hpp"
#include "machine/config.hpp"
#include "machine/device_set.hpp"
#include "machine/pci_root.hpp"
#include "machine/vcpu_slot.hpp"
#include "memory/address_space.hpp"
#include "x86/cpu_model.hpp"

namespace vellum {

class FlashContents;

struct BoardDisk {
  enum class Kind : u8 { kVirtio, kIde, kCdrom, kFloppy };
  bool on_ide() const { return kind == Kind::kIde || kind == Kind::kCdrom; }
  std::shared_ptr<Disk> disk;  ///< null: a CD-ROM drive without a medium
  std::string serial;          ///< up to 20 bytes, for GET_ID
  Kind kind = Kind::kVirtio;
};

struct BoardNet {
  std::shared_ptr<net::Network> network;
  net::MacAddress mac{};
  unsigned pairs = 1;  ///< of queues
  net::NetConfig::Model model = net::NetConfig::Model::kVirtio;
};

/// What a board needs from the machine around it. All outlive it.
struct BoardResources {
  MachineControl& control;
  ByteSink& serial;            ///< the first serial port's output
  ByteSink* debug_console;     ///< ports 0xe9 and 0x402, or null: no such ports
  u64 virtual_wall_start;      ///< the wall clock at power-on under a virtual clock, seconds since the epoch
  TraceSink* trace = nullptr;  ///< where MachineConfig::trace goes
  /// Where devices with work of their own do it; null: there may be none of those.
  EventLoop* loop = nullptr;
  std::vector<BoardDisk> disks = {};      ///< those on the IDE controller: four; floppy disks: two
  std::vector<BoardNet> nets = {};        ///< a network card each
  std::span<const u8> bios = {};          ///< firmware for the ROM, as read_bios() checks it; empty: none
  PacedSink* console = nullptr;           ///< the output of a virtio-console, or null: there is none
  std::shared_ptr<VsockHost> vsock = {};  ///< of a virtio-vsock; null: there is none
  std::span<const u8> vga_bios = {};      ///< the display adapter's; empty: it has no ROM
  u64 vga_memory = vga::Adapter::kDefaultMemory;  ///< a power of two, 256 KiB at least
  FlashContents* uefi_vars = nullptr;             ///< of a flash chip below the firmware; null: there is none
};

namespace bt {
class TranslationCache;
}
namespace kvm {
class Vm;
}
namespace ide {
class Piix3Ide;
struct Tray;
}  // namespace ide
class CoprocessorError;
class IsaDma;
class VcpuBoard;
class LocalApic;
class KernelApic;
class KernelClock;
class KernelDoorbells;
class KernelMsrs;
namespace virtio {
class Balloon;
class Console;
class Device;
}  // namespace virtio

class Board {
 public:
  /// `saved`: empty for power-on, else what save() of a board with the same configuration returned. Contents
  /// of RAM are not part of that.
  static Result<std::unique_ptr<Board>> create(const MachineConfig& config, const BoardResources& resources,
                                               std::span<const SavedState> saved = {});
  ~Board();

  Clock& clock() { return *clock_; }
  /// The clock, if it is virtual; else null.
  VirtualClock* virtual_clock() { return virtual_clock_; }
  GuestRam& ram() { return *ram_; }
  const x86::CpuModel& cpu_model() const { return *model_; }
  std::span<const std::unique_ptr<VcpuSlot>> vcpus() const { return vcpus_; }
  std::vector<Hazards*> hazards() const;
  Uart16550& serial() { return *serial_; }
  virtio::Console* console() { return console_; }  ///< null: there is none
  virtio::Balloon* balloon() { return balloon_; }  ///< likewise

  /// Puts another medium into a CD-ROM drive, counted from 0: as ide::Channel's.
  bool change_cdrom(std::size_t number, std::shared_ptr<Disk> medium, bool force);
  ide::Tray cdrom_tray(std::size_t number) const;

  /// The drives' types, as in CMOS RAM; 0: none.
  std::array<u8, 2> floppy_drives() const { return floppy_drives_; }
  /// The display adapter; null on a board without.
  const vga::Adapter* display() const { return display_; }
  /// The PCI bus and its bridges; null on a board without.
  const PciRoot* pci() const { return pci_ ? &*pci_ : nullptr; }

  /// The virtio devices of a board without PCI, for the ACPI tables.
  unsigned virtio_mmio_devices() const { return virtio_mmio_; }

  /// What firmware does before a kernel runs, for a board without: MTRRs everywhere, virtual wire mode on the
  /// first processor, PCI's addresses and interrupts. Fails when PCI devices want more than there is.
  Result<> start_like_firmware();

  /// The states of clock, devices and vCPUs. While no vCPU runs. What devices have under way is finished
  /// first.
  std::vector<SavedState> save() const;
  /// After save(), or once a restored board's RAM has its contents: devices look for work.
  void resume_devices();
  void stats(std::vector<StatRow>& rows) const;

 private:
  Board() = default;
  struct Wiring;
  Result<> build(const MachineConfig& config, const BoardResources& resources,
                 std::span<const SavedState> saved);
  Result<> add_devices(Wiring& wiring, const MachineConfig& config, const BoardResources& resources,
                       StateQueue& states);
  Result<std::unique_ptr<Engine>> make_engine(const MachineConfig& config, unsigned index, VcpuBoard& board,
                                              Hazards& hazards, const Tracer& trace);
  Result<> add_virtio(Wiring& wiring, const MachineConfig& config, const BoardResources& resources,
                      StateQueue& states);
  /// Gives it the board's transport. Its PCI slot, or its place among those over MMIO.
  Result<u8> add_virtio_device(Wiring& wiring, virtio::Device& device, StateQueue& states);
  Result<> add_net(Wiring& wiring, const BoardNet& net, StateQueue& states);
  Result<> add_ide(Wiring& wiring, const BoardResources& resources, StateQueue& states);
  /// Floppy disk drives, where there are any.
  Result<> add_floppies(Wiring& wiring, const BoardResources& resources, StateQueue& states);
  Result<> add_display(const BoardResources& resources, StateQueue& states);
  Result<> add_firmware(const MachineConfig& config, const BoardResources& resources, StateQueue& states);
  /// Memory has other places now: whoever knows the old ones has to hear of it. Any thread.
  void remapped();
  Result<> add_vcpus(const MachineConfig& config, const BoardResources& resources, StateQueue& states);

  // In the order of building; later ones refer to earlier ones.
  EventLoop* loop_ = nullptr;
  std::unique_ptr<x86::CpuModel> model_;
  std::unique_ptr<Clock> clock_;
  VirtualClock* virtual_clock_ = nullptr;
  std::unique_ptr<GuestRam> ram_;
  Bus mmio_{"mmio"};
  Bus ports_{"port"};
  std::unique_ptr<AddressSpace> space_;
  std::unique_ptr<kvm::Vm> kvm_;                        ///< with that engine only
  std::shared_ptr<bt::TranslationCache> translations_;  ///< the vCPUs', if they share them
  std::vector<std::unique_ptr<VcpuSlot>> vcpus_;
  DeviceSet devices_;
  std::vector<LocalApic*> apics_;  ///< or, in the kernel:
  std::vector<KernelApic*> kernel_apics_;
  KernelClock* kernel_clock_ = nullptr;   ///< where the engine offers it
  KernelDoorbells* doorbells_ = nullptr;  ///< likewise
  KernelMsrs* kernel_msrs_ = nullptr;     ///< with that engine
  CoprocessorError* x87_error_ = nullptr;
  Uart16550* serial_ = nullptr;
  vga::Adapter* display_ = nullptr;
  ide::Piix3Ide* ide_ = nullptr;
  std::vector<unsigned> cdrom_places_;  ///< channel × 2 + device
  std::optional<PciRoot> pci_;
  IsaDma* dma_ = nullptr;
  std::array<u8, 2> floppy_drives_{};
  std::vector<std::string> boot_disks_, boot_cdroms_, boot_floppies_;  ///< how firmware calls them
  unsigned virtio_mmio_ = 0;
  virtio::Console* console_ = nullptr;
  virtio::Balloon* balloon_ = nullptr;
};

}  // namespace vellum
