// What a user asks for: plain data, checked by check_config() and turned into a board by board.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/int.hpp"
#include "base/result.hpp"
#include "base/trace.hpp"
#include "cpu/bt/options.hpp"
#include "cpu/kvm/irqchip.hpp"
#include "devices/virtio/pci_interface.hpp"
#include "io/disk/disk_config.hpp"
#include "io/net/net_config.hpp"

namespace vellum {

enum class ClockKind : u8 { kReal, kVirtual };
/// With a PCI bus, or the lean one without.
enum class BoardKind : u8 { kPc, kMicro };
/// Which of the guest's lines has the user's keys: the first serial port, or a virtio-console.
enum class ConsoleKind : u8 { kSerial, kVirtio };
enum class DisplayKind : u8 {
  kAuto,  ///< for users: kStd with firmware, else kNone; a board takes it for kNone
  kNone,
  kStd  ///< QEMU's standard VGA
};

/// What firmware looks for a system on.
enum class BootFrom : u8 { kDisks, kCdroms, kFloppies };
/// What starts a machine without a kernel.
enum class FirmwareKind : u8 { kBios, kUefi };

/// SeaBIOS, where Debian's package seabios puts it.
inline constexpr const char* kDefaultBios = "/usr/share/seabios/bios-256k.bin";
/// OVMF without Secure Boot, where package ovmf puts it.
inline constexpr const char* kDefaultUefi = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// The display adapter's BIOS, likewise.
inline constexpr const char* kVgaBios = "/usr/share/seabios/vgabios-stdvga.bin";

/// A virtio-balloon.
struct BalloonConfig {
  u64 size = 0;  ///< bytes of its memory that the guest is asked to do without
  bool deflate_on_oom = false;
  bool free_page_reporting = true;
  unsigned stats_seconds = 0;  ///< how often it is asked for statistics; 0: once
};

/// A virtio-vsock.
struct VsockConfig {
  std::string path;  ///< of the Unix socket that leads to the guest, and of those that the guest reaches
  u32 cid = 3;       ///< who the guest is
};

struct MachineConfig {
  std::string kernel;                    ///< path; empty: firmware boots a disk
  std::optional<FirmwareKind> firmware;  ///< as asked for; without a kernel nothing is kBios
  std::string bios;       ///< path of the firmware; empty: the kind's default, if there is no kernel
  std::string uefi_vars;  ///< path of the file that keeps UEFI's variables, or empty
  std::vector<BootFrom> boot_order;  ///< as asked for; empty: disks, CD-ROMs, floppy disks
  std::vector<std::string> initrds;  ///< paths: joined to one initrd, or a multiboot kernel's modules
  std::string append;                ///< the kernel's command line
  std::string protocol = "auto";
  u64 memory = u64{512} << 20;  ///< bytes
  unsigned cpus = 1;
  BoardKind board = BoardKind::kPc;
  std::string engine = "auto";
  bt::Options bt;
  unsigned kvm_patience = 1;  ///< how many times the usual limits /dev/kvm's self-test gets
  kvm::Irqchip kvm_irqchip = kvm::Irqchip::kAuto;
  bool kvm_doorbells = true;  ///< the kernel answers virtqueues' notifications
  std::string cpu_model = "auto";
  ClockKind clock = ClockKind::kReal;
  virtio::PciInterface virtio = virtio::PciInterface::kModern;  ///< of all virtio devices
  bool rng = false;                                             ///< virtio-rng
  std::optional<BalloonConfig> balloon;
  std::optional<VsockConfig> vsock;
  ConsoleKind console = ConsoleKind::kSerial;
  std::vector<DiskConfig> disks;  ///< a virtio-blk each, or on the IDE controller
  std::vector<std::string>
      cdroms;  ///< paths of images, each in a CD-ROM drive on the IDE controller; empty: none
  std::vector<DiskConfig> floppies;  ///< in a floppy disk drive each
  std::vector<net::NetConfig> nets;  ///< a network card each
  DisplayKind display = DisplayKind::kAuto;
  std::string screenshot;   ///< path that the screen goes to at the end, or empty
  bool debug_exit = false;  ///< isa-debug-exit at port 0xf4
  std::string debugcon;     ///< path that ports 0xe9 and 0x402 write to, or empty: no such ports
  bool no_reboot = false;   ///< a reset ends the run
  TraceKind trace = TraceKind::kNone;
  std::string trace_file;  ///< path that traces go to, or empty: standard error

  bool has_display() const {
    return display == DisplayKind::kStd || (display == DisplayKind::kAuto && kernel.empty());
  }
};

/// APIC ids are 8 bits and 255 is the broadcast; beyond a few dozen vCPUs nothing has been tested.
inline constexpr unsigned kMaxCpus = 32;
/// Half of the 40-bit guest-physical space that the CPU models report.
inline constexpr u64 kMaxMemory = u64{512} << 30;

/// Refuses sizes that a balloon in so much memory cannot have; as BalloonConfig::size.
Result<> check_balloon_size(u64 size, u64 memory);

/// Refuses values that no machine can have; what depends on the files is refused when they are loaded.
Result<> check_config(const MachineConfig& config);

}  // namespace vellum
