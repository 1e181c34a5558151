#include "cli/options.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/key_values.hpp"
#include "boot/loader.hpp"
#include "cli/balloon_option.hpp"
#include "cli/disk_option.hpp"
#include "cli/size.hpp"
#include "cli/suggest.hpp"
#include "cli/vsock_option.hpp"
#include "io/unix_listener.hpp"
#include "x86/cpu_model.hpp"

namespace vellum::cli {
namespace {

constexpr const char* kGuest = "What to boot";
constexpr const char* kMachine = "The machine";
constexpr const char* kRunning = "Running it";
constexpr const char* kDebugging = "Looking inside";
constexpr const char* kComparing = "Comparing";

std::vector<std::string> cpu_model_names() {
  const auto names = x86::CpuModel::names();
  return {names.begin(), names.end()};
}

std::vector<std::string> protocol_names() {
  std::vector<std::string> names;
  for (const auto protocol :
       {Protocol::kAuto, Protocol::kPvh, Protocol::kLinux64, Protocol::kLinux32, Protocol::kMultiboot})
    names.emplace_back(protocol_name(protocol));
  return names;
}

Result<> parse_kvm_key(std::string_view key, std::string_view value, MachineConfig& to) {
  if (key == "patience") {
    VELLUM_TRY_ASSIGN(factor, parse_count(value, 1, 1000));
    to.kvm_patience = static_cast<unsigned>(factor);
  } else if (key == "irqchip") {
    if (value == "auto")
      to.kvm_irqchip = kvm::Irqchip::kAuto;
    else if (value == "kernel")
      to.kvm_irqchip = kvm::Irqchip::kKernel;
    else if (value == "user")
      to.kvm_irqchip = kvm::Irqchip::kUser;
    else
      return fail(ErrorCode::kInvalidArgument, "irqchip={}: expected auto, kernel or user", value);
  } else if (key == "doorbells") {
    if (value != "kernel" && value != "user")
      return fail(ErrorCode::kInvalidArgument, "doorbells={}: expected kernel or user", value);
    to.kvm_doorbells = value == "kernel";
  } else {
    return fail(ErrorCode::kInvalidArgument, "'{}': unknown; there are: irqchip, doorbells, patience", key);
  }
  return {};
}

Result<> parse_kvm(std::string_view text, MachineConfig& to) {
  return for_each_pair(text, "irqchip=user", [&](std::string_view key, std::string_view value) {
    return parse_kvm_key(key, value, to);
  });
}

// The kinds in the order given, then the others.
Result<> parse_boot(std::string_view text, std::vector<BootFrom>& to) {
  constexpr std::pair<std::string_view, BootFrom> kKinds[] = {
      {"disk", BootFrom::kDisks}, {"cdrom", BootFrom::kCdroms}, {"floppy", BootFrom::kFloppies}};
  std::vector<BootFrom> order;
  for (std::size_t at = 0; at <= text.size();) {
    const std::string_view name = text.substr(at, text.find(',', at) - at);
    at += name.size() + 1;
    const auto* const kind = std::ranges::find(kKinds, name, [](const auto& k) { return k.first; });
    if (kind == std::end(kKinds))
      return fail(ErrorCode::kInvalidArgument,
                  "'{}': unknown; there are disk, cdrom and floppy, as in cdrom,disk", name);
    if (std::ranges::find(order, kind->second) != order.end())
      return fail(ErrorCode::kInvalidArgument, "'{}': named twice", name);
    order.push_back(kind->second);
  }
  for (const auto& [name, kind] : kKinds)
    if (std::ranges::find(order, kind) == order.end()) order.push_back(kind);
  to = std::move(order);
  return {};
}

std::vector<OptionRow> make_table() {
  using Options = RunOptions&;
  using Text = const std::string&;
  return {
      {"--kernel",
       "FILE",
       kGuest,
       "the kernel: a bzImage, an ELF kernel with a PVH entry, or a multiboot kernel",
       {},
       [](Options o, Text v) -> Result<> {
         if (!o.machine.kernel.empty())
           return fail(ErrorCode::kInvalidArgument,
                       "'{}': a machine boots one kernel, and '{}' was given, too", v, o.machine.kernel);
         return o.machine.kernel = v, Result<>();
       }},
      {"--initrd",
       "FILE",
       kGuest,
       "its initial RAM disk; again for more (a multiboot kernel's modules)",
       {},
       [](Options o, Text v) -> Result<> { return o.machine.initrds.push_back(v), Result<>(); }},
      {"--append",
       "TEXT",
       kGuest,
       "its command line, as in --append 'console=ttyS0 quiet'",
       {},
       [](Options o, Text v) -> Result<> { return o.machine.append = v, Result<>(); }},
      {"--firmware",
       "KIND",
       kGuest,
       "what boots the disks where there is no kernel: bios (SeaBIOS) or uefi (OVMF) (bios)",
       {"bios", "uefi"},
       [](Options o, Text v) -> Result<> {
         o.machine.firmware = v == "uefi" ? FirmwareKind::kUefi : FirmwareKind::kBios;
         return {};
       }},
      {"--uefi-vars",
       "FILE",
       kGuest,
       "where UEFI keeps its variables, made if it is not there (forgotten at the end)",
       {},
       [](Options o, Text v) -> Result<> { return o.machine.uefi_vars = v, Result<>(); }},
      {"--boot",
       "KIND,...",
       kGuest,
       "what firmware tries first, as in cdrom,disk (disk,cdrom,floppy)",
       {},
       [](Options o, Text v) { return parse_boot(v, o.machine.boot_order); }},
      {"--bios",
       "FILE",
       kGuest,
       "another image of that firmware (Debian's packages seabios, ovmf)",
       {},
       [](Options o, Text v) -> Result<> { return o.machine.bios = v, Result<>(); }},
      {"--protocol", "NAME", kGuest, "how to enter it: auto looks at the file (auto)", protocol_names(),
       [](Options o, Text v) -> Result<> { return o.machine.protocol = v, Result<>(); }},

      {"--memory",
       "SIZE",
       kMachine,
       "RAM, as in 512M or 2G; a bare number is MiB (512M)",
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN(size, parse_size(v));
         o.machine.memory = size;
         return {};
       }},
      {"--cpus",
       "N",
       kMachine,
       fmt::format("virtual processors, up to {} (1)", kMaxCpus),
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN(count, parse_count(v, 1, kMaxCpus));
         o.machine.cpus = static_cast<unsigned>(count);
         return {};
       }},
      {"--board",
       "KIND",
       kMachine,
       "pc has a PCI bus, micro is a lean board with virtio devices over MMIO (pc)",
       {"pc", "micro"},
       [](Options o, Text v) -> Result<> {
         o.machine.board = v == "micro" ? BoardKind::kMicro : BoardKind::kPc;
         return {};
       }},
      {"--cpu", "MODEL", kMachine, "which processor the guest sees; auto: x86-64-v3 if this host can (auto)",
       cpu_model_names(), [](Options o, Text v) -> Result<> { return o.machine.cpu_model = v, Result<>(); }},
      {"--engine",
       "NAME",
       kMachine,
       "what executes guest instructions; auto: kvm where it works, else bt (auto)",
       {"auto", "interp", "bt", "kvm"},
       [](Options o, Text v) -> Result<> { return o.machine.engine = v, Result<>(); }},
      {"--bt",
       "KEY=VALUE,...",
       kMachine,
       "as chain=off: unit, chain, returns, share, threshold, hot, cache, memory, count, perfmap",
       {},
       [](Options o, Text v) {
         o.bt_options = v;
         return bt::parse_options(v, o.machine.bt);
       }},
      {"--kvm",
       "KEY=VALUE,...",
       kMachine,
       "irqchip=auto|kernel|user, doorbells=kernel|user, patience=N times the self-test's limits",
       {},
       [](Options o, Text v) { return parse_kvm(v, o.machine); }},
      {"--clock",
       "KIND",
       kMachine,
       "real, or virtual: time counts instructions, each run is the same (real)",
       {"real", "virtual"},
       [](Options o, Text v) -> Result<> {
         o.machine.clock = v == "virtual" ? ClockKind::kVirtual : ClockKind::kReal;
         return {};
       }},

      {"--disk",
       "FILE[,KEY=VALUE...]",
       kMachine,
       "a disk, again for more; format, bus, readonly, overlay, cache, aio, serial: docs/disks.md",
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN(disk, parse_disk(v));
         o.machine.disks.push_back(std::move(disk));
         return {};
       }},
      {"--cdrom",
       "FILE",
       kMachine,
       "a CD-ROM drive with this image, or none; again for more",
       {},
       [](Options o, Text v) -> Result<> {
         if (v.empty())
           return fail(ErrorCode::kInvalidArgument, "'': give a file, or none for an empty drive");
         return o.machine.cdroms.push_back(v == "none" ? "" : v), Result<>();
       }},
      {"--floppy",
       "FILE[,KEY=VALUE...]",
       kMachine,
       "a floppy disk in a drive, again for a second: readonly, overlay, format, cache, aio",
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN(disk, parse_floppy(v));
         o.machine.floppies.push_back(std::move(disk));
         return {};
       }},
      {"--virtio",
       "KIND",
       kMachine,
       "what drivers virtio devices show themselves to: of today, of old too, or only of old (modern)",
       {"modern", "transitional", "legacy"},
       [](Options o, Text v) -> Result<> {
         using enum virtio::PciInterface;
         o.machine.virtio = v == "transitional" ? kTransitional : v == "legacy" ? kLegacy : kModern;
         return {};
       }},
      {"--net",
       "KIND[,KEY=VALUE...]",
       kMachine,
       "a network card, again for more: user, tap, switch or none; model=e1000 (docs/networks.md)",
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN(net, net::parse_net(v));
         o.machine.nets.push_back(std::move(net));
         return {};
       }},
      {"--console",
       "KIND",
       kMachine,
       "who gets the keys: serial (ttyS0), or a virtio-console (hvc0); both are shown (serial)",
       {"serial", "virtio"},
       [](Options o, Text v) -> Result<> {
         o.machine.console = v == "virtio" ? ConsoleKind::kVirtio : ConsoleKind::kSerial;
         return {};
       }},
      {"--vga",
       "KIND",
       kMachine,
       "a display adapter: std, or none (std where there is firmware)",
       {"none", "std"},
       [](Options o, Text v) -> Result<> {
         o.machine.display = v == "std" ? DisplayKind::kStd : DisplayKind::kNone;
         return {};
       }},
      {"--balloon",
       "SIZE[,KEY=VALUE...]",
       kMachine,
       "a virtio-balloon: memory goes back to the host, SIZE from the start (docs/memory.md)",
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN_TO(o.machine.balloon, parse_balloon(v));
         return {};
       }},
      {"--vsock",
       "PATH[,cid=N]",
       kMachine,
       "a virtio-vsock: streams between the guest, number N (3), and Unix sockets (docs/vsock.md)",
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN_TO(o.machine.vsock, parse_vsock(v));
         return {};
       }},
      {"--rng",
       "",
       kMachine,
       "a virtio-rng: the host's randomness (under --clock virtual the same numbers each run)",
       {},
       [](Options o, Text) -> Result<> { return o.machine.rng = true, Result<>(); }},

      {"--no-reboot",
       "",
       kRunning,
       "a guest that reboots ends the run, with exit status 0",
       {},
       [](Options o, Text) -> Result<> { return o.machine.no_reboot = true, Result<>(); }},
      {"--debug-exit",
       "",
       kRunning,
       "port 0xf4 ends the run with the guest's own status, (value << 1) | 1",
       {},
       [](Options o, Text) -> Result<> { return o.machine.debug_exit = true, Result<>(); }},
      {"--control",
       "PATH",
       kRunning,
       "a Unix socket for 'vellum screenshot' and its like (docs/control.md)",
       {},
       [](Options o, Text v) -> Result<> {
         if (v.empty() || v.size() > UnixListener::kMaxPath)
           return fail(ErrorCode::kInvalidArgument, "'{}': a socket's path has 1 to {} bytes", v,
                       UnixListener::kMaxPath);
         return o.control = v, Result<>();
       }},

      {"--stats",
       "",
       kDebugging,
       "print what was counted on standard error at the end",
       {},
       [](Options o, Text) -> Result<> { return o.stats = true, Result<>(); }},
      {"--trace",
       "KIND,...",
       kDebugging,
       "print what happens: bt (each unit translated, with both codes), exits, mmu, irq",
       {},
       [](Options o, Text v) -> Result<> {
         VELLUM_TRY_ASSIGN_TO(o.machine.trace, parse_trace_kinds(v));
         return {};
       }},
      {"--trace-file",
       "FILE",
       kDebugging,
       "where to (standard error)",
       {},
       [](Options o, Text v) -> Result<> { return o.machine.trace_file = v, Result<>(); }},
      {"--debugcon",
       "FILE",
       kDebugging,
       "what the guest writes to port 0xe9, and firmware to 0x402, goes to this file",
       {},
       [](Options o, Text v) -> Result<> { return o.machine.debugcon = v, Result<>(); }},
      {"--screenshot",
       "FILE",
       kDebugging,
       "at the end the screen as a PNG, or its text if the name ends in .txt",
       {},
       [](Options o, Text v) -> Result<> { return o.machine.screenshot = v, Result<>(); }},
      {"--log-level",
       "LEVEL",
       kDebugging,
       "how much to log on standard error (warn)",
       {"trace", "debug", "info", "warn", "error", "off"},
       [](Options o, Text v) -> Result<> { return o.log_level = spdlog::level::from_str(v), Result<>(); }},
  };
}

std::vector<OptionRow> make_doctor_table() {
  std::vector<OptionRow> table;
  for (const OptionRow& row : run_option_table())
    if (row.name == "--kvm") table.push_back(row);
  table.push_back({"--json", "", kRunning, "print JSON", {}, nullptr});
  return table;
}

std::vector<OptionRow> make_diff_table() {
  constexpr std::string_view kShared[] = {"--kernel", "--initrd",   "--append",   "--firmware",
                                          "--bios",   "--protocol", "--memory",   "--cpus",
                                          "--board",  "--cpu",      "--log-level"};
  std::vector<OptionRow> table;
  for (const OptionRow& row : run_option_table())
    if (std::ranges::find(kShared, row.name) != std::end(kShared)) table.push_back(row);
  const std::vector<OptionRow> own = {
      {"--engine", "NAME", kComparing, "an engine; give it twice", {"interp", "bt"}, nullptr},
      {"--interval", "N", kComparing, "instructions between comparisons (100000)", {}, nullptr},
      {"--limit", "N", kComparing, "stop after so many instructions", {}, nullptr},
      {"--inject",
       "N",
       kComparing,
       "flip a bit of the second engine's RBX after so many instructions, to see it found",
       {},
       nullptr},
  };
  table.insert(table.end(), own.begin(), own.end());
  return table;
}

}  // namespace

std::span<const OptionRow> run_option_table() {
  static const std::vector<OptionRow> table = make_table();
  return table;
}

std::span<const OptionRow> diff_option_table() {
  static const std::vector<OptionRow> table = make_diff_table();
  return table;
}

std::span<const OptionRow> doctor_option_table() {
  static const std::vector<OptionRow> table = make_doctor_table();
  return table;
}

Result<> apply_option(const OptionRow& row, const std::string& value, RunOptions& options) {
  if (!row.choices.empty() && std::ranges::find(row.choices, value) == row.choices.end()) {
    const auto meant = suggest(value, row.choices);
    return fail(ErrorCode::kInvalidArgument, "{} '{}': unknown{}; it is one of {}", row.name, value,
                meant ? fmt::format("; did you mean '{}'?", *meant) : "", fmt::join(row.choices, ", "));
  }
  if (row.apply == nullptr) return {};
  if (auto applied = row.apply(options, value); !applied) {
    Error error = std::move(applied).error();
    error.message = fmt::format("{} {}", row.name, error.message);
    return tl::unexpected(std::move(error));
  }
  return {};
}

}  // namespace vellum::cli
