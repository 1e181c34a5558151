#include "machine/config.hpp"

#include <algorithm>

#include "base/address.hpp"
#include "machine/screenshot.hpp"

namespace vellum {
namespace {

// Refuses what only firmware uses.
Result<> check_kernel(const MachineConfig& config) {
  const char* const option = !config.bios.empty()                     ? "--bios"
                             : config.firmware == FirmwareKind::kUefi ? "--firmware uefi"
                             : config.firmware                        ? "--firmware bios"
                             : !config.boot_order.empty()             ? "--boot"
                             : !config.uefi_vars.empty()              ? "--uefi-vars"
                                                                      : nullptr;
  if (option == nullptr) return {};
  return fail(ErrorCode::kInvalidArgument,
              "--kernel and {}: a kernel is started without firmware; give one of them", option);
}

// Refuses what only a kernel uses, and what firmware cannot do.
Result<> check_firmware(const MachineConfig& config) {
  const bool bootable = !config.disks.empty() || !config.cdroms.empty() || !config.floppies.empty();
  if (config.board == BoardKind::kMicro && (bootable || config.firmware || !config.bios.empty()))
    return fail(ErrorCode::kInvalidArgument,
                "firmware needs a PCI bus, which --board micro lacks; use --board pc, or --kernel FILE");
  if (config.bios.empty() && !bootable)
    return fail(ErrorCode::kInvalidArgument, "nothing to boot; give {}a kernel with --kernel FILE",
                config.board == BoardKind::kMicro ? "" : "a disk image, or ");
  const auto without_kernel = [](const char* option, const std::string& value) {
    return fail(ErrorCode::kInvalidArgument, "{} '{}': there is no kernel; give one with --kernel FILE",
                option, value);
  };
  if (!config.initrds.empty()) return without_kernel("--initrd", config.initrds.front());
  if (!config.append.empty()) return without_kernel("--append", config.append);
  if (config.protocol != "auto") return without_kernel("--protocol", config.protocol);
  if (!config.uefi_vars.empty() && config.firmware != FirmwareKind::kUefi)
    return fail(ErrorCode::kInvalidArgument, "--uefi-vars '{}': add --firmware uefi, which uses them",
                config.uefi_vars);
  return {};
}

// What is to run first: a kernel, or firmware.
Result<> check_boot(const MachineConfig& config) {
  return config.kernel.empty() ? check_firmware(config) : check_kernel(config);
}

Result<> check_display(const MachineConfig& config) {
  if (!config.screenshot.empty() && !config.has_display())
    return fail(ErrorCode::kInvalidArgument, "--screenshot '{}': there is no display; add --vga std",
                config.screenshot);
  if (const auto format = screen_format(config.screenshot); !format)
    return fail(format.error().code, "--screenshot {}", format.error().message);
  if (config.display != DisplayKind::kStd) return {};
  if (config.board == BoardKind::kMicro)
    return fail(ErrorCode::kInvalidArgument,
                "--vga std needs a PCI bus, which --board micro lacks; use --board pc");
  return {};
}

Result<> check_ide(const MachineConfig& config) {
  const auto disks = std::ranges::count_if(config.disks, &DiskConfig::ide);
  const auto drives = static_cast<std::size_t>(disks) + config.cdroms.size();
  const char* const option = config.cdroms.empty() ? "--disk bus=ide" : "--cdrom";
  if (drives > 4)
    return fail(ErrorCode::kInvalidArgument,
                "{}: the IDE controller has 4 drives, and {} were given; disks can be "
                "virtio's",
                option, drives);
  if (drives != 0 && config.board == BoardKind::kMicro)
    return fail(ErrorCode::kInvalidArgument, "{} needs a PCI bus, which --board micro lacks; use --board pc",
                option);
  return {};
}

Result<> check_floppies(const MachineConfig& config) {
  if (config.floppies.size() > 2)
    return fail(ErrorCode::kInvalidArgument, "--floppy: a PC has 2 floppy disk drives, and {} were given",
                config.floppies.size());
  if (!config.floppies.empty() && config.board == BoardKind::kMicro)
    return fail(ErrorCode::kInvalidArgument, "--floppy needs DMA, which --board micro lacks; use --board pc");
  return {};
}

Result<> check_virtio(const MachineConfig& config) {
  if (config.virtio == virtio::PciInterface::kModern || config.board != BoardKind::kMicro) return {};
  return fail(ErrorCode::kInvalidArgument,
              "--virtio: the legacy interface is over PCI, which --board micro lacks; use --board pc");
}

Result<> check_nets(const MachineConfig& config) {
  const auto needs_pci = [](const net::NetConfig& net) { return net.model == net::NetConfig::Model::kE1000; };
  if (config.board == BoardKind::kMicro && std::ranges::any_of(config.nets, needs_pci))
    return fail(ErrorCode::kInvalidArgument,
                "--net model=e1000 needs a PCI bus, which --board micro lacks; use --board pc, or "
                "model=virtio");
  return net::check_nets(config.nets);
}

Result<> check_balloon(const MachineConfig& config) {
  if (!config.balloon) return {};
  if (auto size = check_balloon_size(config.balloon->size, config.memory); !size)
    return tl::unexpected(std::move(size).error().context("--balloon"));
  if (config.balloon->stats_seconds != 0 && config.clock == ClockKind::kVirtual)
    return fail(ErrorCode::kInvalidArgument,
                "--balloon stats={} with --clock virtual: seconds of the host's would make runs differ; use "
                "--clock real",
                config.balloon->stats_seconds);
  return {};
}

}  // namespace

Result<> check_balloon_size(u64 size, u64 memory) {
  if (size >= memory)
    return fail(ErrorCode::kInvalidArgument,
                "{} MiB leaves nothing of the guest's {} MiB; ask for less, or give it more with --memory",
                size >> 20, memory >> 20);
  if (size % kPageSize != 0)
    return fail(ErrorCode::kInvalidArgument, "{} bytes is not a multiple of 4 KiB", size);
  return {};
}

Result<> check_config(const MachineConfig& config) {
  VELLUM_TRY(check_boot(config));
  VELLUM_TRY(check_display(config));
  VELLUM_TRY(check_ide(config));
  VELLUM_TRY(check_floppies(config));
  if (config.cpus == 0) return fail(ErrorCode::kInvalidArgument, "--cpus 0: a machine needs at least 1 vCPU");
  if (config.cpus > kMaxCpus)
    return fail(ErrorCode::kInvalidArgument,
                "--cpus {}: at most {} vCPUs are supported (one 8-bit APIC id each, tested up to there)",
                config.cpus, kMaxCpus);
  if (config.memory > kMaxMemory)
    return fail(ErrorCode::kInvalidArgument,
                "--memory: {} GiB is more than the {} GiB that a guest's physical addresses have room for",
                config.memory >> 30, kMaxMemory >> 30);
  if (config.memory < (u64{1} << 20))
    return fail(ErrorCode::kInvalidArgument,
                "--memory: {} bytes is too little; give at least 1M, for Linux 64M or more", config.memory);
  if (config.memory % kPageSize != 0)
    return fail(ErrorCode::kInvalidArgument, "--memory: {} bytes is not a multiple of 4 KiB", config.memory);
  if (config.engine == "kvm" && config.clock == ClockKind::kVirtual)
    return fail(ErrorCode::kInvalidArgument,
                "--engine kvm --clock virtual: the processor does not count the guest's instructions; choose "
                "--engine bt, or --clock real");
  if (config.clock == ClockKind::kVirtual && !config.nets.empty())
    return fail(ErrorCode::kInvalidArgument,
                "--net with --clock virtual: time would fly past a guest that waits for an answer; use "
                "--clock real");
  if (config.clock == ClockKind::kVirtual && config.vsock)
    return fail(ErrorCode::kInvalidArgument,
                "--vsock with --clock virtual: time would fly past a guest that waits for an answer; use "
                "--clock real");
  VELLUM_TRY(check_virtio(config));
  VELLUM_TRY(check_balloon(config));
  VELLUM_TRY(check_nets(config));
  if (!config.trace_file.empty() && config.trace == TraceKind::kNone)
    return fail(ErrorCode::kInvalidArgument, "--trace-file '{}': nothing is traced; say what with --trace",
                config.trace_file);
  return {};
}

}  // namespace vellum
