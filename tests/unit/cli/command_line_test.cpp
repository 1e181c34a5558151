#include "cli/command_line.hpp"

#include <gtest/gtest.h>

#include "cli/completion.hpp"
#include "cli/stats_table.hpp"

namespace vellum::cli {
namespace {

RunOptions run_options(std::vector<std::string> arguments) {
  const auto command = parse_command_line(arguments);
  EXPECT_TRUE(command) << command.error().message;
  return std::get<RunOptions>(*command);
}

std::string printed(std::vector<std::string> arguments) {
  const auto command = parse_command_line(arguments);
  EXPECT_TRUE(command) << command.error().message;
  return std::get<PrintText>(*command).text;
}

std::string error_of(std::vector<std::string> arguments) {
  const auto command = parse_command_line(arguments);
  EXPECT_FALSE(command);
  return command ? "" : command.error().message;
}

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    longest = std::max(longest, end - begin);
  }
  return longest;
}

TEST(CommandLine, AnErrorIsOneLineWhateverWasGiven) {
  EXPECT_EQ(error_of({"run", "--memory", "5\n\x1b[31m\t"}).find_first_of("\n\t\x1b"), std::string::npos);
  EXPECT_NE(error_of({"run", "--memory", "5\n\x1b[31m"}).find("5\\n\\x1b[31m"), std::string::npos);
  EXPECT_EQ(error_of({"ru\nn"}).find('\n'), std::string::npos);
}

TEST(CommandLine, DefaultsAreWhatTheHelpSays) {
  const RunOptions options = run_options({"run", "--kernel", "vmlinuz"});
  EXPECT_EQ(options.machine.kernel, "vmlinuz");
  EXPECT_EQ(options.machine.memory, u64{512} << 20);
  EXPECT_EQ(options.machine.cpus, 1u);
  EXPECT_EQ(options.machine.cpu_model, "auto");
  EXPECT_EQ(options.machine.engine, "auto");
  EXPECT_EQ(options.machine.clock, ClockKind::kReal);
  EXPECT_FALSE(options.stats);
}

TEST(CommandLine, DoctorTakesItsOwnOptions) {
  const auto command =
      parse_command_line(std::vector<std::string>{"doctor", "--json", "--kvm", "patience=7"});

  ASSERT_TRUE(command) << command.error().message;
  const auto& options = std::get<DoctorOptions>(*command);
  EXPECT_TRUE(options.json);
  EXPECT_EQ(options.kvm_patience, 7u);
}

TEST(CommandLine, KvmsOptionsAreChecked) {
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--kvm", "speed=9"}),
            "--kvm 'speed': unknown; there are: irqchip, doorbells, patience");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--kvm", "irqchip=split"}),
            "--kvm irqchip=split: expected auto, kernel or user");
  EXPECT_NE(error_of({"run", "--kernel", "k", "--kvm", "patience=0"}), "");
  EXPECT_NE(error_of({"doctor", "--engine", "kvm"}).find("unknown option '--engine'"), std::string::npos);
}

TEST(CommandLine, EveryOptionReachesItsField) {
  const RunOptions options = run_options({"run",
                                          "--kernel",
                                          "k",
                                          "--initrd",
                                          "i",
                                          "--append",
                                          "console=ttyS0 quiet",
                                          "--protocol",
                                          "auto",
                                          "--memory=2G",
                                          "--cpus",
                                          "4",
                                          "--cpu",
                                          "x86-64-v2",
                                          "--engine",
                                          "interp",
                                          "--clock",
                                          "virtual",
                                          "--no-reboot",
                                          "--debug-exit",
                                          "--stats",
                                          "--trace",
                                          "bt,irq",
                                          "--trace-file",
                                          "trace",
                                          "--debugcon",
                                          "log",
                                          "--log-level",
                                          "debug"});
  EXPECT_EQ(options.machine.initrds, std::vector<std::string>{"i"});
  EXPECT_EQ(options.machine.append, "console=ttyS0 quiet");
  EXPECT_EQ(options.machine.memory, u64{2} << 30);
  EXPECT_EQ(options.machine.cpus, 4u);
  EXPECT_EQ(options.machine.cpu_model, "x86-64-v2");
  EXPECT_EQ(options.machine.engine, "interp");
  EXPECT_EQ(options.machine.clock, ClockKind::kVirtual);
  EXPECT_TRUE(options.machine.no_reboot);
  EXPECT_TRUE(options.machine.debug_exit);
  EXPECT_TRUE(options.stats);
  EXPECT_EQ(options.machine.debugcon, "log");
  EXPECT_EQ(options.machine.trace, TraceKind::kUnits | TraceKind::kIrq);
  EXPECT_EQ(options.machine.trace_file, "trace");
  EXPECT_EQ(options.log_level, spdlog::level::debug);
}

TEST(CommandLine, TheLastOfARepeatedOptionCounts) {
  EXPECT_EQ(run_options({"run", "--kernel", "k", "--append", "a", "--append", "b"}).machine.append, "b");
}

TEST(CommandLine, NetsAddUp) {
  const auto options =
      run_options({"run", "--kernel", "k", "--net", "user,forward=tcp:2222:22", "--net", "none"});
  ASSERT_EQ(options.machine.nets.size(), 2u);
  EXPECT_EQ(options.machine.nets[0].forwards.at(0).guest_port, 22);
  EXPECT_EQ(options.machine.nets[1].kind, net::NetConfig::Kind::kNone);
  EXPECT_TRUE(error_of({"run", "--kernel", "k", "--net", "nat"}).starts_with("--net 'nat': expected a kind"));
}

TEST(CommandLine, InitrdsAddUp) {
  const auto options = run_options({"run", "--kernel", "k", "--initrd", "a", "--initrd", "b"});
  EXPECT_EQ(options.machine.initrds, (std::vector<std::string>{"a", "b"}));
}

TEST(CommandLine, WhatIsNoOptionIsADisk) {
  const auto options = run_options({"run", "--disk", "b", "a,readonly", "--memory", "64M"});
  ASSERT_EQ(options.machine.disks.size(), 2u);
  EXPECT_EQ(options.machine.disks[0].file, "a");
  EXPECT_TRUE(options.machine.disks[0].read_only);
  EXPECT_EQ(options.machine.disks[1].file, "b");
  EXPECT_TRUE(options.machine.kernel.empty());
}

TEST(CommandLine, AFlagTakesNoValue) {
  EXPECT_EQ(error_of({"run", "disk", "--rng=1"}), "--rng takes no value");
  EXPECT_EQ(error_of({"run", "disk", "--stats=off"}), "--stats takes no value");
  EXPECT_EQ(error_of({"doctor", "--json=no"}), "--json takes no value");
  EXPECT_EQ(error_of({"eject", "s", "cdrom", "--force=0"}), "--force takes no value");
}

TEST(CommandLine, AScreenIsAPngOrText) {
  EXPECT_EQ(run_options({"run", "disk", "--screenshot", "a.b/s.TXT"}).machine.screenshot, "a.b/s.TXT");
  EXPECT_EQ(run_options({"run", "disk", "--screenshot", "screen"}).machine.screenshot, "screen");
  EXPECT_EQ(error_of({"run", "disk", "--screenshot", "s.jpg"}),
            "--screenshot 's.jpg': a screen is written as a PNG or as text: name it .png or .txt");
}

TEST(CommandLine, FirmwareAndAKernelExcludeEachOther) {
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--bios", "b"}),
            "--kernel and --bios: a kernel is started without firmware; give one of them");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--firmware", "bios"}),
            "--kernel and --firmware bios: a kernel is started without firmware; give one of them");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--boot", "disk"}),
            "--kernel and --boot: a kernel is started without firmware; give one of them");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--uefi-vars", "v"}),
            "--kernel and --uefi-vars: a kernel is started without firmware; give one of them");
  EXPECT_EQ(error_of({"run", "disk", "--protocol", "pvh"}),
            "--protocol 'pvh': there is no kernel; give one with --kernel FILE");
  EXPECT_EQ(error_of({"run", "disk", "--append", "quiet"}),
            "--append 'quiet': there is no kernel; give one with --kernel FILE");
  EXPECT_EQ(error_of({"run", "disk", "--initrd", "i"}),
            "--initrd 'i': there is no kernel; give one with --kernel FILE");
  EXPECT_NE(error_of({"run", "--bios", "b", "--board", "micro"}).find("--board pc"), std::string::npos);
  EXPECT_NE(error_of({"run", "--firmware", "uefi", "--board", "micro"}).find("--board pc"),
            std::string::npos);
}

TEST(CommandLine, UefiIsChosenByKind) {
  const auto options = run_options({"run", "disk", "--firmware", "uefi", "--uefi-vars", "v"});
  EXPECT_EQ(options.machine.firmware, FirmwareKind::kUefi);
  EXPECT_EQ(options.machine.uefi_vars, "v");
  EXPECT_EQ(run_options({"run", "disk"}).machine.firmware, std::nullopt);
  EXPECT_EQ(error_of({"run", "disk", "--uefi-vars", "v"}),
            "--uefi-vars 'v': add --firmware uefi, which uses them");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--firmware", "uefi"}),
            "--kernel and --firmware uefi: a kernel is started without firmware; give one of them");
}

TEST(CommandLine, TheBootOrderNamesKindsAndEndsWithTheOthers) {
  using enum BootFrom;
  EXPECT_TRUE(run_options({"run", "disk"}).machine.boot_order.empty());
  EXPECT_EQ(run_options({"run", "disk", "--boot", "cdrom"}).machine.boot_order,
            (std::vector{kCdroms, kDisks, kFloppies}));
  EXPECT_EQ(run_options({"run", "disk", "--boot", "floppy,disk"}).machine.boot_order,
            (std::vector{kFloppies, kDisks, kCdroms}));
  EXPECT_EQ(error_of({"run", "disk", "--boot", "cdrom,net"}),
            "--boot 'net': unknown; there are disk, cdrom and floppy, as in cdrom,disk");
  EXPECT_EQ(error_of({"run", "disk", "--boot", "disk,disk"}), "--boot 'disk': named twice");
  EXPECT_EQ(error_of({"run", "disk", "--boot", ""}),
            "--boot '': unknown; there are disk, cdrom and floppy, as in cdrom,disk");
}

TEST(CommandLine, FloppyDisks) {
  const auto machine = run_options({"run", "--floppy", "a", "--floppy", "b,readonly"}).machine;
  EXPECT_EQ(machine.floppies.at(0).file, "a");
  EXPECT_TRUE(machine.floppies.at(1).read_only);
  EXPECT_EQ(error_of({"run", "--floppy", "a", "--floppy", "b", "--floppy", "c"}),
            "--floppy: a PC has 2 floppy disk drives, and 3 were given");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--board", "micro", "--floppy", "a"}),
            "--floppy needs DMA, which --board micro lacks; use --board pc");
}

TEST(CommandLine, NetworkCardsWithoutVirtio) {
  EXPECT_EQ(run_options({"run", "disk", "--net", "user,model=e1000"}).machine.nets.at(0).model,
            net::NetConfig::Model::kE1000);
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--board", "micro", "--net", "user,model=e1000"}),
            "--net model=e1000 needs a PCI bus, which --board micro lacks; use --board pc, or model=virtio");
}

TEST(CommandLine, VirtioForOldDrivers) {
  using enum virtio::PciInterface;
  EXPECT_EQ(run_options({"run", "disk"}).machine.virtio, kModern);
  EXPECT_EQ(run_options({"run", "disk", "--virtio", "transitional"}).machine.virtio, kTransitional);
  EXPECT_EQ(run_options({"run", "disk", "--virtio", "legacy"}).machine.virtio, kLegacy);
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--board", "micro", "--virtio", "legacy"}),
            "--virtio: the legacy interface is over PCI, which --board micro lacks; use --board pc");
}

TEST(CommandLine, ADisplayIsThereWithFirmwareUnlessToldOtherwise) {
  EXPECT_TRUE(run_options({"run", "disk"}).machine.has_display());
  EXPECT_FALSE(run_options({"run", "disk", "--vga", "none"}).machine.has_display());
  EXPECT_FALSE(run_options({"run", "--kernel", "k"}).machine.has_display());
  EXPECT_TRUE(run_options({"run", "--kernel", "k", "--vga", "std"}).machine.has_display());
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--screenshot", "s.png"}),
            "--screenshot 's.png': there is no display; add --vga std");
  EXPECT_NE(error_of({"run", "--kernel", "k", "--vga", "std", "--board", "micro"}).find("--board pc"),
            std::string::npos);
}

TEST(CommandLine, ErrorsAreOneLineThatSaysWhatToDo) {
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--memory", "512Q"}),
            "--memory '512Q': unknown unit 'Q'; use K, M, G or T, as in 512M");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--memroy", "512M"}),
            "unknown option '--memroy'; did you mean '--memory'?");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--memroy=512M"}),
            "unknown option '--memroy'; did you mean '--memory'?");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--frobnicate"}),
            "unknown option '--frobnicate'; 'vellum run --help' lists what there is");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--cpus", "64"}), "--cpus '64': must be from 1 to 32");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--cpus", "0"}), "--cpus '0': must be from 1 to 32");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--cpus", "many"}), "--cpus 'many': not a whole number");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--engine", "intrp"}),
            "--engine 'intrp': unknown; did you mean 'interp'?; it is one of auto, interp, bt, kvm");
  EXPECT_EQ(error_of({"run", "--kernel", "a", "--kernel", "b"}),
            "--kernel 'b': a machine boots one kernel, and 'a' was given, too");
  for (const std::string engine : {"interp", "auto", "kvm"})
    EXPECT_EQ(error_of({"run", "--kernel", "k", "--bt", "unit=1", "--engine", engine}),
              "--bt 'unit=1': the translator is not chosen; add --engine bt");
  EXPECT_EQ(error_of({"run"}), "nothing to boot; give a disk image, or a kernel with --kernel FILE");
  EXPECT_EQ(error_of({"run", "--kernel"}), "--kernel needs a value: --kernel FILE");
  EXPECT_EQ(error_of({"rnu"}), "unknown argument 'rnu'; did you mean 'run'?");
  EXPECT_EQ(error_of({"completion", "tcsh"}),
            "completion 'tcsh': unknown shell; there are bash, zsh and fish");
  EXPECT_EQ(error_of({}),
            "what to do? 'vellum run FILE' boots a disk image, 'vellum run --kernel FILE' a kernel; see "
            "'vellum --help'");
}

TEST(CommandLine, CommandsToARunningMachineTakeASocketAndTheirWords) {
  const auto command = parse_command_line(std::vector<std::string>{"screenshot", "s.sock", "-"});
  ASSERT_TRUE(command);
  const auto& options = std::get<ControlOptions>(*command);
  EXPECT_EQ(options.command, "screenshot");
  EXPECT_EQ(options.socket, "s.sock");
  EXPECT_EQ(options.arguments, std::vector<std::string>{"-"});
  EXPECT_EQ(
      error_of({"screenshot", "s.sock"}),
      "too few words: it is 'vellum screenshot SOCKET FILE', with the socket of the machine's --control");
  EXPECT_EQ(
      error_of({"screenshot", "s.sock", "a", "b"}),
      "too many words: it is 'vellum screenshot SOCKET FILE', with the socket of the machine's --control");
  EXPECT_EQ(error_of({"screenshot", "s.sock", "a", "--quick"}),
            "unknown option '--quick'; 'vellum screenshot --help' lists what there is");
  EXPECT_EQ(error_of({"run", "disk", "--control", std::string(108, 'a')}),
            "--control '" + std::string(108, 'a') + "': a socket's path has 1 to 107 bytes");
}

TEST(CommandLine, AWordThatACommandToARunningMachineCanDoWithout) {
  const auto asks = parse_command_line(std::vector<std::string>{"balloon", "s.sock"});
  ASSERT_TRUE(asks);
  EXPECT_TRUE(std::get<ControlOptions>(*asks).arguments.empty());
  const auto sets = parse_command_line(std::vector<std::string>{"balloon", "s.sock", "1.5G"});
  ASSERT_TRUE(sets);
  EXPECT_EQ(std::get<ControlOptions>(*sets).arguments, std::vector<std::string>{"1.5G"});
  EXPECT_EQ(
      error_of({"balloon"}),
      "too few words: it is 'vellum balloon SOCKET [SIZE]', with the socket of the machine's --control");
}

TEST(CommandLine, CommandsToARunningMachineHaveOptionsOfTheirOwn) {
  const auto plain = parse_command_line(std::vector<std::string>{"eject", "s.sock", "cdrom"});
  ASSERT_TRUE(plain);
  EXPECT_FALSE(std::get<ControlOptions>(*plain).has("--force"));
  const auto forced =
      parse_command_line(std::vector<std::string>{"change", "--force", "s.sock", "cdrom", "iso"});
  ASSERT_TRUE(forced);
  EXPECT_TRUE(std::get<ControlOptions>(*forced).has("--force"));
  EXPECT_EQ(std::get<ControlOptions>(*forced).arguments, (std::vector<std::string>{"cdrom", "iso"}));
  EXPECT_EQ(error_of({"eject", "s.sock", "cdrom", "--forced"}),
            "unknown option '--forced'; did you mean '--force'?");
}

TEST(CommandLine, EveryCommandToARunningMachineHasHelpWithExamples) {
  for (const ControlRow& row : control_table()) {
    const std::string help = printed({row.name, "--help"});
    EXPECT_NE(help.find("Usage: vellum " + row.name + " [OPTIONS] SOCKET"), std::string::npos) << help;
    EXPECT_NE(help.find("Examples:"), std::string::npos);
    EXPECT_LE(longest_line(help), 120u) << row.name;
  }
}

TEST(CommandLine, TracesAreNamedAndGoSomewhere) {
  EXPECT_NE(error_of({"run", "--kernel", "k", "--trace", "bt,irqs"}).find("'irqs'"), std::string::npos);
  EXPECT_NE(error_of({"run", "--kernel", "k", "--trace-file", "t"}).find("--trace"), std::string::npos);
}

TEST(CommandLine, MemoryHasBounds) {
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--memory", "4K"}),
            "--memory: 4096 bytes is too little; give at least 1M, for Linux 64M or more");
  EXPECT_EQ(error_of({"run", "--kernel", "k", "--memory", "1T"}),
            "--memory: 1024 GiB is more than the 512 GiB that a guest's physical addresses have room for");
}

TEST(CommandLine, HelpNamesEveryOptionAndTheExitStatuses) {
  const std::string help = printed({"run", "--help"});
  for (const OptionRow& row : run_option_table())
    EXPECT_NE(help.find(row.name), std::string::npos) << row.name;
  EXPECT_NE(help.find("Exit status"), std::string::npos);
  EXPECT_NE(help.find("Examples"), std::string::npos);
  EXPECT_NE(printed({"--help"}).find("run"), std::string::npos);
  EXPECT_EQ(printed({"--version"}).rfind("vellum ", 0), 0u);
}

TEST(CommandLine, HelpFitsATerminal) {
  EXPECT_LE(longest_line(printed({"run", "--help"})), 120u);
}

class Completion : public ::testing::TestWithParam<const char*> {};

TEST_P(Completion, NamesEveryOption) {
  const auto script = completion_script(GetParam());
  ASSERT_TRUE(script);
  for (const auto table : {run_option_table(), diff_option_table()})
    for (const OptionRow& row : table)
      EXPECT_NE(script->find(row.name.substr(2)), std::string::npos) << row.name;
  for (const ControlRow& row : control_table())
    EXPECT_NE(script->find(row.name), std::string::npos) << row.name;
}

INSTANTIATE_TEST_SUITE_P(Shells, Completion, ::testing::Values("bash", "zsh", "fish"));

TEST(StatsTable, SumsEqualRowsAndLeavesZerosOut) {
  const std::string table = stats_table({{"exits", "halted", 1000, 5000},
                                         {"mmu", "walks", 7, 0},
                                         {"exits", "halted", 234567, 2'000'000'000},
                                         {"exits", "never", 0, 0}});
  EXPECT_EQ(table,
            "--- exits\n"
            "  halted                                            235,567        2.000 s\n"
            "--- mmu\n"
            "  walks                                                   7\n");
}

}  // namespace
}  // namespace vellum::cli
