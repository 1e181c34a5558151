// From files to a machine that is ready to run its first instruction: recognises the kernel, chooses the boot
// protocol, places kernel, initrd, command line and tables in guest RAM, and says what the registers hold.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "boot/entry_state.hpp"
#include "boot/firmware_tables.hpp"

namespace vellum {

enum class Protocol : u8 {
  kAuto,       ///< the first of those below that the kernel has: multiboot, pvh, linux64, linux32
  kPvh,        ///< an ELF kernel, or a bzImage's payload unpacked on the host, at its PVH entry
  kLinux64,    ///< Linux's 64-bit boot protocol: a bzImage that unpacks itself, or a vmlinux
  kLinux32,    ///< Linux's 32-bit boot protocol, likewise
  kMultiboot,  ///< Multiboot 1
};
std::string_view protocol_name(Protocol protocol);
/// Fails with kInvalidArgument; the message lists the names.
Result<Protocol> parse_protocol(std::string_view name);

/// Called while something large is loaded: what, how much of it is done, how much it is in all (bytes).
using LoadProgress = std::function<void(std::string_view what, u64 done, u64 total)>;

struct BootRequest {
  std::string kernel{};  ///< path
  std::vector<std::string>
      initrds{};  ///< paths. Linux, PVH: joined to one initrd; multiboot: one module each
  std::string command_line{};
  Protocol protocol = Protocol::kAuto;
  FirmwareConfig firmware{};
};

struct BootPlan {
  EntryState entry;                     ///< for the bootstrap processor; the others wait for a SIPI
  Protocol protocol = Protocol::kAuto;  ///< the one chosen
  std::string description;              ///< for a log line: "bzImage (zstd) through pvh"
  GuestPhysRange kernel;
  std::vector<GuestPhysRange> initrds;
  GuestPhys command_line;
  GuestPhys rsdp;
};

/// Loads. All of guest memory that the plan refers to is written; the rest is left as it is. May be called
/// again for a reboot. Every error is one line that names the file. No vCPU may run meanwhile.
Result<BootPlan> load(const BootRequest& request, GuestRam& ram, const LoadProgress& progress = {});

}  // namespace vellum
