#include "machine/board.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "../virtio/memory_disk.hpp"
#include "boot/memory_map.hpp"
#include "cpu/interp/interpreter.hpp"
#include "devices/legacy/misc_ports.hpp"
#include "machine/clock_state.hpp"

namespace vellum {
namespace {

class RecordingControl final : public MachineControl {
 public:
  void power_off() override { ++power_offs; }
  void reset() override { ++resets; }
  void debug_exit(u32 value) override { exit_values.push_back(value); }
  int power_offs = 0, resets = 0;
  std::vector<u32> exit_values;
};

class StringSink final : public ByteSink {
 public:
  void write(std::span<const u8> bytes) override { text.append(bytes.begin(), bytes.end()); }
  std::string text;
};

AddressSpace& space(Board& board) {
  return static_cast<interp::Interpreter&>(*board.vcpus().front()->engine).vcpu().space;
}

class BoardTest : public ::testing::Test {
 protected:
  BoardTest() {
    config.memory = 16 << 20;
    config.clock = ClockKind::kVirtual;
    config.engine = "interp";
    config.debug_exit = true;
  }
  std::unique_ptr<Board> make(std::span<const SavedState> saved = {}) {
    auto board = Board::create(config, {control, serial, &debug, 1'767'225'600}, saved);
    EXPECT_TRUE(board) << board.error().message;
    EXPECT_TRUE(!saved.empty() || (*board)->start_like_firmware());
    return std::move(*board);
  }

  MachineConfig config;
  RecordingControl control;
  StringSink serial, debug;
};

// One readable line for each part: a difference names the part and shows the bytes.
std::vector<std::string> comparable(const std::vector<SavedState>& saved) {
  std::vector<std::string> parts;
  for (const auto& state : saved) {
    std::string part = state.kind;
    for (const u8 byte : state.bytes) part += fmt::format(" {:02x}", byte);
    parts.push_back(std::move(part));
  }
  return parts;
}

void expect_equal(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i], b[i]);
}

// Leaves no device in its power-on state: timers run, interrupts are pending and in service, buffers hold
// bytes.
void disturb(Board& board) {
  Bus& out = space(board).ports;
  const auto program = [&](std::initializer_list<std::pair<u16, u8>> writes) {
    for (const auto& [port, value] : writes) out.write(port, 1, value);
  };
  program({{0x20, 0x11}, {0x21, 0x20}, {0x21, 0x04}, {0x21, 0x01}, {0x21, 0x00}});
  program({{0x43, 0x34}, {0x40, 0x10}, {0x40, 0x27}});
  program({{0x70, 0x0b}, {0x71, 0x42}, {0x70, 0x3f}, {0x71, 0x99}});
  program({{0x3f9, 0x01}, {0x3fa, 0x07}, {0x3fb, 0x03}, {0x3ff, 0x5a}, {0x2ff, 0xa5}});
  program({{0x64, 0x60}, {0x60, 0x43}, {0x80, 0x77}, {0xcf9, 0x02}, {0x92, 0x02}});
  out.write(0x602, 2, 0x0001);
  out.write(0xcf8, 4, 0x8000'0858);  // the ISA bridge's registers that are stored only
  out.write(0xcfc, 4, 0x1234'5678);
  out.write(0xcf8, 4, 0x8000'0860);  // PIRQs
  out.write(0xcfd, 1, 0x0b);
  const std::string typed = "input";
  board.serial().receive({reinterpret_cast<const u8*>(typed.data()), typed.size()});
  auto& mmio = space(board).mmio;
  mmio.write(0xfec00000, 4, 0x18);
  mmio.write(0xfec00010, 4, 0x00000041);
  for (unsigned i = 0; i < 5; ++i) {
    board.virtual_clock()->retire(3'000'000);
    board.clock().run_expired();
  }
  for (const auto& vcpu : board.vcpus()) {
    VcpuState state;
    vcpu->engine->pull(StateMask::kAll, state);
    state.gpr[3] = 0x1234'5678'9abc'def0 + vcpu->index;
    state.cr2 = 0xdead;
    state.msr.lstar = 0xffff'ffff'8100'0000;
    vcpu->engine->push(StateMask::kAll, state);
  }
}

TEST_F(BoardTest, SavesEveryStatefulPartOnce) {
  config.cpus = 3;
  const auto board = make();
  std::multiset<std::string> kinds;
  for (const auto& state : board->save()) kinds.insert(state.kind);
  for (const char* kind : {"clock", "pic8259", "ioapic", "pit8254", "rtc-mc146818", "i8042", "acpi-pm",
                           "coprocessor-error", "post-code", "reset-port", "system-control-a", "i440fx",
                           "piix3", "piix4-pm", "pci-config-ports", "isa-dma"})
    EXPECT_EQ(kinds.count(kind), 1u) << kind;
  EXPECT_EQ(kinds.count("uart16550"), 2u);
  EXPECT_EQ(kinds.count("local-apic"), 3u);
  EXPECT_EQ(kinds.count("vcpu"), 3u);
  EXPECT_EQ(kinds.size(), 24u);
}

// Timers remember up to when they were computed, and a constructor brings them to the present: the bytes are
// the same from the first restored board on.
TEST_F(BoardTest, ABoardBuiltFromSavedStatesSavesTheSame) {
  config.cpus = 2;
  const auto first = make();
  const auto fresh = comparable(first->save());
  disturb(*first);
  const auto second = make(first->save());
  const auto saved = second->save();
  expect_equal(comparable(make(saved)->save()), comparable(saved));
  EXPECT_NE(fresh, comparable(saved));
}

// What a guest can see of timers, interrupt controllers, serial line and vCPUs.
std::vector<u64> guest_view(Board& board) {
  std::vector<u64> seen;
  Bus& ports = space(board).ports;
  for (const u8 ocw3 : {0x0a, 0x0b}) {
    ports.write(0x20, 1, ocw3);
    seen.push_back(ports.read(0x20, 1));
  }
  ports.write(0x43, 1, 0xc2);  // read back: status and count of counter 0
  for (int i = 0; i < 3; ++i) seen.push_back(ports.read(0x40, 1));
  for (u8 index = 0; index < 0x40; ++index) {
    ports.write(0x70, 1, index);
    seen.push_back(ports.read(0x71, 1));
  }
  seen.push_back(ports.read(0x608, 4));
  for (u16 port = 0x3f8; port < 0x400; ++port) seen.push_back(ports.read(port, 1));
  seen.push_back(space(board).mmio.read(0xfec00010, 4));
  for (const auto& vcpu : board.vcpus()) seen.push_back(vcpu->hazards.load());
  return seen;
}

TEST_F(BoardTest, ARestoredBoardGoesOnAsTheSavedOneDoes) {
  const auto first = make();
  disturb(*first);
  const auto second = make(first->save());
  std::vector<std::vector<u64>> views;
  for (Board* board : {first.get(), second.get()}) {
    std::vector<u64>& view = views.emplace_back();
    for (unsigned i = 0; i < 20; ++i) {
      board->virtual_clock()->retire(1'700'000);
      board->clock().run_expired();
      std::ranges::copy(guest_view(*board), std::back_inserter(view));
    }
  }
  EXPECT_EQ(views[0], views[1]);
}

TEST_F(BoardTest, StatesOfAnotherMachineAreRefused) {
  config.cpus = 2;
  const auto saved = make()->save();
  config.cpus = 1;
  const auto board = Board::create(config, {control, serial, &debug, 0}, saved);
  EXPECT_FALSE(board);
}

TEST_F(BoardTest, AStateUnderAnotherKindOfClockIsRefused) {
  const auto saved = make()->save();
  config.clock = ClockKind::kReal;
  const auto board = Board::create(config, {control, serial, &debug, 0}, saved);
  ASSERT_FALSE(board);
  EXPECT_NE(board.error().message.find("clock"), std::string::npos) << board.error().message;
}

TEST_F(BoardTest, AStateBeyondTheEndOfTimeIsRefused) {
  auto saved = make()->save();
  auto state = decode_state<ClockState>(saved.front());
  ASSERT_TRUE(state);
  state->now_ns = Clock::kEndNs + 1;
  saved.front() = encode_state(*state);
  EXPECT_FALSE(Board::create(config, {control, serial, &debug, 0}, saved));
}

TEST_F(BoardTest, AVcpuStateThatNoProcessorCanBeInIsRefused) {
  auto saved = make()->save();
  auto state = decode_state<VcpuState>(saved.back());
  ASSERT_TRUE(state);
  state->cpl = 77;
  saved.back() = encode_state(*state);
  EXPECT_FALSE(Board::create(config, {control, serial, &debug, 0}, saved));
}

TEST_F(BoardTest, TruncatedAndDamagedStatesAreRefused) {
  auto saved = make()->save();
  saved.pop_back();
  EXPECT_FALSE(Board::create(config, {control, serial, &debug, 0}, saved));
  saved = make()->save();
  saved[3].bytes.pop_back();
  EXPECT_FALSE(Board::create(config, {control, serial, &debug, 0}, saved));
}

TEST_F(BoardTest, DevicesAnswerWhereTheTablesSay) {
  const auto board = make();
  auto& ports = space(*board).ports;
  for (const char c : std::string("hi")) ports.write(layout::kCom1, 1, static_cast<u8>(c));
  EXPECT_EQ(serial.text, "hi");
  ports.write(layout::kDebugcon, 1, '!');
  ports.write(DebugConsole::kFirmwarePort, 1, '?');
  EXPECT_EQ(debug.text, "!?");
  ports.write(layout::kDebugExit, 4, 0x10);
  EXPECT_EQ(control.exit_values, std::vector<u32>{0x10});
  ports.write(layout::kResetControl, 1, layout::kResetValue);
  ports.write(layout::kI8042Command, 1, 0xfe);
  EXPECT_EQ(control.resets, 2);
  ports.write(layout::kPm1aControl, 2, (1u << 13) | (u32{layout::kSleepTypeS5} << 10));
  EXPECT_EQ(control.power_offs, 1);
}

TEST_F(BoardTest, VirtioDevicesAreThereWhenAskedFor) {
  const auto loop = std::move(*EventLoop::create());
  config.rng = true;
  BoardResources resources{control, serial, nullptr, 0, nullptr, loop.get()};
  resources.nets.push_back({std::make_shared<net::NullNetwork>()});
  const auto board = std::move(*Board::create(config, resources));
  ASSERT_TRUE(board->start_like_firmware());
  auto& ports = space(*board).ports;
  ports.write(0xcf8, 4, 0x8000'1800);  // device 3
  EXPECT_EQ(ports.read(0xcfc, 4), 0x1041'1af4u);
  ports.write(0xcf8, 4, 0x8000'2000);  // device 4
  EXPECT_EQ(ports.read(0xcfc, 4), 0x1044'1af4u);
  ports.write(0xcf8, 4, 0x8000'2004);
  ports.write(0xcfc, 2, 6);
  const auto saved = board->save();
  const auto restored = Board::create(config, resources, saved);
  ASSERT_TRUE(restored) << restored.error().message;
  (*restored)->resume_devices();
  expect_equal(comparable((*restored)->save()), comparable(saved));
}

TEST_F(BoardTest, ANetworkCardIsOfTheModelThatWasAskedFor) {
  const auto loop = std::move(*EventLoop::create());
  BoardResources resources{control, serial, nullptr, 0, nullptr, loop.get()};
  resources.nets.push_back({std::make_shared<net::NullNetwork>()});
  resources.nets.push_back({std::make_shared<net::NullNetwork>(), {}, 1, net::NetConfig::Model::kE1000});
  const auto board = std::move(*Board::create(config, resources));
  ASSERT_TRUE(board->start_like_firmware());
  auto& ports = space(*board).ports;
  ports.write(0xcf8, 4, 0x8000'2000);  // device 4
  EXPECT_EQ(ports.read(0xcfc, 4), 0x100e'8086u);
  const auto saved = board->save();
  const auto restored = Board::create(config, resources, saved);
  ASSERT_TRUE(restored) << restored.error().message;
  (*restored)->resume_devices();
  expect_equal(comparable((*restored)->save()), comparable(saved));
}

TEST_F(BoardTest, IdeDrivesAreWhereTheyAreOnEveryPc) {
  const auto loop = std::move(*EventLoop::create());
  BoardResources resources{control, serial, nullptr, 0, nullptr, loop.get()};
  resources.disks.push_back({std::make_shared<test::MemoryDisk>(), "", BoardDisk::Kind::kCdrom});
  resources.disks.push_back({std::make_shared<test::MemoryDisk>(), "", BoardDisk::Kind::kIde});
  const auto board = std::move(*Board::create(config, resources));
  ASSERT_TRUE(board->start_like_firmware());
  auto& ports = space(*board).ports;

  ports.write(0xcf8, 4, 0x8000'0900);  // device 1, function 1
  EXPECT_EQ(ports.read(0xcfc, 4), 0x7010'8086u);
  EXPECT_EQ(ports.read(0x1f7, 1), 0x50u) << "a disk";
  EXPECT_EQ(ports.read(0x174, 2), 0xeb14u) << "a CD-ROM drive";
  ports.write(0x1f6, 1, 0xe0);
  ports.write(0x1f7, 1, 0xec);
  EXPECT_EQ(ports.read(0x1f0, 2), 0x0040u);
  const auto saved = board->save();
  const auto restored = Board::create(config, resources, saved);
  ASSERT_TRUE(restored) << restored.error().message;
  expect_equal(comparable((*restored)->save()), comparable(saved));
}

TEST_F(BoardTest, FloppyDisksAreReadByDmaAndTheirDrivesAreToldOf) {
  const auto loop = std::move(*EventLoop::create());
  BoardResources resources{control, serial, nullptr, 0, nullptr, loop.get()};
  const auto disk = std::make_shared<test::MemoryDisk>();
  disk->bytes.assign(1440 << 10, 0x5a);
  resources.disks.push_back({disk, "", BoardDisk::Kind::kFloppy});
  const auto board = std::move(*Board::create(config, resources));
  ASSERT_TRUE(board->start_like_firmware());
  auto& ports = space(*board).ports;
  const auto out = [&ports](u64 port, std::initializer_list<u8> bytes) {
    for (const u8 byte : bytes) ports.write(port, 1, byte);
  };

  EXPECT_EQ(board->floppy_drives(), (std::array<u8, 2>{4, 0}));
  out(0x70, {0x10});
  EXPECT_EQ(ports.read(0x71, 1), 0x40u);
  out(0x0b, {0x46});
  out(0x04, {0x00, 0x80});
  out(0x05, {0xff, 0x01});
  out(0x0a, {0x02});
  out(0x3f2, {0x1c});
  out(0x3f7, {0x00});
  out(0x3f5, {0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff});
  EXPECT_EQ(ports.read(0x3f4, 1), 0xd0u);
  EXPECT_EQ(*board->ram().host(GuestPhys(0x81ff)), 0x5a);
  const auto saved = board->save();
  const auto restored = Board::create(config, resources, saved);
  ASSERT_TRUE(restored) << restored.error().message;
  expect_equal(comparable((*restored)->save()), comparable(saved));
}

TEST_F(BoardTest, FirmwareIsInRomAndFindsItsConfiguration) {
  const std::vector<u8> bios(64 << 10, 0xf4);
  BoardResources resources{control, serial, nullptr, 0};
  resources.bios = bios;
  const auto board = std::move(*Board::create(config, resources));
  auto& ports = space(*board).ports;

  EXPECT_EQ(*board->ram().host(GuestPhys(0xffff'fff0)), 0xf4);
  ports.write(0x510, 2, 0);
  EXPECT_EQ(ports.read(0x511, 1), static_cast<u64>('Q'));
  const auto saved = board->save();
  const auto restored = Board::create(config, resources, saved);
  ASSERT_TRUE(restored) << restored.error().message;
  expect_equal(comparable((*restored)->save()), comparable(saved));
  EXPECT_EQ(space(**restored).ports.read(0x511, 1), static_cast<u64>('E'));
}

TEST_F(BoardTest, AChangeOfTheAttributeMapDropsEveryVcpusTranslations) {
  const std::vector<u8> bios(64 << 10, 0xf4);
  BoardResources resources{control, serial, nullptr, 0};
  resources.bios = bios;
  config.cpus = 2;
  const auto board = std::move(*Board::create(config, resources));
  auto& ports = space(*board).ports;

  EXPECT_FALSE(board->vcpus()[0]->hazards.test(Hazards::kTlbFlush));
  ports.write(0xcf8, 4, 0x8000'0058);
  ports.write(0xcfd, 1, 0x30);  // PAM0
  EXPECT_TRUE(board->vcpus()[0]->hazards.test(Hazards::kTlbFlush));
  EXPECT_TRUE(board->vcpus()[1]->hazards.test(Hazards::kTlbFlush));
}

TEST_F(BoardTest, TheMicroBoardHasNoPci) {
  config.board = BoardKind::kMicro;
  const auto board = make();
  auto& ports = space(*board).ports;
  EXPECT_EQ(board->pci(), nullptr);
  ports.write(0xcf8, 4, 0x8000'0000);
  EXPECT_EQ(ports.read(0xcfc, 4), 0xffff'ffffu);
  ports.write(layout::kResetControl, 1, layout::kResetValue);
  EXPECT_EQ(control.resets, 1);
  ports.write(layout::kPm1aControl, 2, (1u << 13) | (u32{layout::kSleepTypeS5} << 10));
  EXPECT_EQ(control.power_offs, 1);
}

class NullPacedSink final : public PacedSink {
 public:
  void write(std::span<const u8>) override {}
  bool has_room() override { return true; }
};

TEST_F(BoardTest, TheMicroBoardHasVirtioOverMmio) {
  NullPacedSink output;
  const auto loop = std::move(*EventLoop::create());
  config.board = BoardKind::kMicro;
  config.rng = true;
  BoardResources resources{control, serial, nullptr, 0, nullptr, loop.get()};
  resources.nets.push_back({std::make_shared<net::NullNetwork>()});
  resources.console = &output;
  const auto board = std::move(*Board::create(config, resources));
  EXPECT_EQ(board->virtio_mmio_devices(), 3u);
  EXPECT_NE(board->console(), nullptr);
  auto& mmio = space(*board).mmio;
  const auto at = [](unsigned slot, u64 offset) { return layout::virtio_mmio_address(slot).value + offset; };
  EXPECT_EQ(mmio.read(at(0, 8), 4), 1u);
  EXPECT_EQ(mmio.read(at(1, 8), 4), 3u);
  EXPECT_EQ(mmio.read(at(2, 8), 4), 4u);
  EXPECT_EQ(mmio.read(at(3, 8), 4), 0xffff'ffffu);
  mmio.write(at(1, 0x70), 4, 3);
  mmio.write(at(1, 0x14), 4, 1);
  const auto saved = board->save();
  const auto restored = Board::create(config, resources, saved);
  ASSERT_TRUE(restored) << restored.error().message;
  (*restored)->resume_devices();
  expect_equal(comparable((*restored)->save()), comparable(saved));
  EXPECT_EQ(space(**restored).mmio.read(at(1, 0x70), 4), 3u);
}

TEST_F(BoardTest, ThereIsRoomForSoManyVirtioDevices) {
  const auto loop = std::move(*EventLoop::create());
  config.board = BoardKind::kMicro;
  BoardResources resources{control, serial, nullptr, 0, nullptr, loop.get()};
  resources.nets.assign(layout::kVirtioMmioSlots, {std::make_shared<net::NullNetwork>()});
  EXPECT_TRUE(Board::create(config, resources));
  config.rng = true;
  const auto board = Board::create(config, resources);
  ASSERT_FALSE(board);
  EXPECT_NE(board.error().message.find("room for 32"), std::string::npos) << board.error().message;
}

TEST_F(BoardTest, WithoutTheOptionsThePortsAreNotThere) {
  config.debug_exit = false;
  auto board = Board::create(config, {control, serial, nullptr, 0});
  ASSERT_TRUE(board);
  auto& ports = space(**board).ports;
  ports.write(layout::kDebugExit, 4, 0x10);
  EXPECT_TRUE(control.exit_values.empty());
  EXPECT_EQ(ports.read(layout::kDebugcon, 1), 0xffu);
}

TEST_F(BoardTest, OnlyTheFirstVcpuRunsAtPowerOn) {
  config.cpus = 2;
  const auto board = make();
  VcpuState first, second;
  board->vcpus()[0]->engine->pull(StateMask::kAll, first);
  board->vcpus()[1]->engine->pull(StateMask::kAll, second);
  EXPECT_EQ(first.activity, Activity::kRunning);
  EXPECT_EQ(second.activity, Activity::kWaitForSipi);
}

}  // namespace
}  // namespace vellum
