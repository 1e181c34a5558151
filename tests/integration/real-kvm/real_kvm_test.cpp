// What only a real KVM can show: skipped without /dev/kvm, and run in tests/integration/kvm-in-qemu. Guests
// are a few instructions in real mode, from the reset vector in ROM on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cpu/bare_board.hpp"
#include "cpu/kvm/engine.hpp"

namespace vellum::kvm {
namespace {

constexpr u64 kMib = u64{1} << 20;
constexpr GuestPhys kRomHome{0xffff0000}, kBios{0xf0000};

class Writes final : public BusDevice {
 public:
  u64 read(u64, unsigned) override { return 0xff; }
  void write(u64 offset, unsigned, u64 value) override { seen.push_back({offset, value}); }
  std::vector<std::pair<u64, u64>> seen;
};

class RealKvm : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!FileDescriptor(::open("/dev/kvm", O_RDWR | O_CLOEXEC)))
      GTEST_SKIP() << "/dev/kvm cannot be opened: " << std::strerror(errno);
    ram = std::move(*GuestRam::create(2 * kMib, 0x10000));
    rom = ram->add_block(0x10000);
    ram->map_block(rom, kRomHome, Pmap::Access::kRead);
    ram->map_shadow({kBios, 0x10000}, rom_here(), {});
    space = std::make_unique<AddressSpace>(AddressSpace{*ram, mmio, ports});
    ASSERT_TRUE(ports.add(0x100, 8, port, "port"));
    ASSERT_TRUE(mmio.add(kBios.value, 0x10000, bus, "behind the ROM"));
    auto made = Vm::create(host_api(), *ram);
    ASSERT_TRUE(made) << made.error().message;
    vm = std::move(*made);
    auto engine_made = KvmEngine::create(*vm, 0, *space, board, clock, model, hazards);
    ASSERT_TRUE(engine_made) << engine_made.error().message;
    engine = std::move(*engine_made);
    place(0xfff0, {0xe9, 0x0d, 0x00});  // jmp to 0x0000
  }
  GuestRam::Behind rom_here() const { return {.kind = GuestRam::Behind::Kind::kBlock, .block = rom}; }
  void place(u64 at, std::initializer_list<int> bytes) {
    for (const int byte : bytes) ram->block_bytes(rom)[at++] = static_cast<u8>(byte);
  }
  /// From reset to HLT.
  void run() {
    engine->push(StateMask::kAll, reset_state(true, model.signature()));
    const Exit exit = engine->run(Budget{});
    EXPECT_TRUE(std::holds_alternative<exit::Halted>(exit)) << exit.index();
  }
  static u64 taken_from(const FileDescriptor& event) {
    u64 count = 0;
    return ::read(event.get(), &count, sizeof count) == sizeof count ? count : 0;
  }
  BareBoard board;
  RealClock clock;
  Bus mmio{"mmio"}, ports{"port"};
  Writes port, bus;
  x86::CpuModel model = *x86::CpuModel::create("host");
  Hazards hazards;
  std::unique_ptr<GuestRam> ram;
  std::unique_ptr<AddressSpace> space;
  std::unique_ptr<Vm> vm;
  std::unique_ptr<KvmEngine> engine;
  unsigned rom = 0;
};

TEST_F(RealKvm, RomIsExecutedReadAndNotWritten) {
  place(0, {0xb8, 0x00, 0xf0,              // mov ax, 0xf000
            0x8e, 0xd8,                    // mov ds, ax
            0xc6, 0x06, 0x34, 0x12, 0x55,  // mov byte [0x1234], 0x55
            0xa0, 0x34, 0x12,              // mov al, [0x1234]
            0xba, 0x00, 0x01,              // mov dx, 0x100
            0xee,                          // out dx, al
            0xf4});                        // hlt
  place(0x1234, {0x77});

  run();

  EXPECT_EQ(bus.seen, (std::vector<std::pair<u64, u64>>{{0x1234, 0x55}}));
  EXPECT_EQ(port.seen, (std::vector<std::pair<u64, u64>>{{0, 0x77}}));
  EXPECT_EQ(ram->block_bytes(rom)[0x1234], 0x77);
}

// As firmware does that copies itself: stores reach RAM under the ROM, then reads find it, then it is locked.
TEST_F(RealKvm, RamUnderRomIsSeenWhenItIsMapped) {
  place(0, {0xb8, 0x00, 0xf0,              // mov ax, 0xf000
            0x8e, 0xd8,                    // mov ds, ax
            0x80, 0x06, 0x34, 0x12, 0x01,  // add byte [0x1234], 1
            0xf4});                        // hlt
  place(0x1234, {0x77});
  const GuestRam::Behind own{.kind = GuestRam::Behind::Kind::kRam};
  const u8* const shadow = ram->host(GuestPhys(0)) + 0xf1234;

  ram->map_shadow({kBios, 0x10000}, rom_here(), own);
  ASSERT_TRUE(vm->remap());
  run();
  const u8 after_rom = *shadow;
  ram->map_shadow({kBios, 0x10000}, own, own);
  ASSERT_TRUE(vm->remap());
  run();
  const u8 after_ram = *shadow;
  ram->map_shadow({kBios, 0x10000}, own, {});
  ASSERT_TRUE(vm->remap());
  run();

  EXPECT_EQ(after_rom, 0x78);
  EXPECT_EQ(after_ram, 0x79);
  EXPECT_EQ(*shadow, 0x79);
  EXPECT_EQ(bus.seen, (std::vector<std::pair<u64, u64>>{{0x1234, 0x7a}}));
}

TEST_F(RealKvm, TheDirtyLogHasTheGuestsStores) {
  place(0, {0xb8, 0x00, 0x20,              // mov ax, 0x2000
            0x8e, 0xd8,                    // mov ds, ax
            0xc6, 0x06, 0x34, 0x12, 0x55,  // mov byte [0x1234], 0x55: page 0x21
            0xa0, 0x00, 0x50,              // mov al, [0x5000]
            0xf4});                        // hlt
  run();
  ram->start_dirty_log();
  const u64 nothing = ram->take_dirty_pages()[0];
  run();
  const u64 first = ram->take_dirty_pages()[0];
  const u64 quiet = ram->take_dirty_pages()[0];
  run();
  const u64 second = ram->take_dirty_pages()[0];

  EXPECT_EQ(nothing, 0u);
  EXPECT_EQ(first, u64{1} << 0x21);
  EXPECT_EQ(quiet, 0u);
  EXPECT_EQ(second, first);
}

// Where stores find no memory. Another value and another size are exits.
TEST_F(RealKvm, ADoorbellCountsItsWritesAndTheyAreNoExits) {
  const FileDescriptor first(::eventfd(0, EFD_NONBLOCK)), second(::eventfd(0, EFD_NONBLOCK));
  const DoorbellPlace with_value{kBios.value + 0x2000, 2, 7}, without{kBios.value + 0x2004, 2, std::nullopt};
  place(0, {0xb8, 0x00, 0xf0,                    // mov ax, 0xf000
            0x8e, 0xd8,                          // mov ds, ax
            0xc7, 0x06, 0x00, 0x20, 0x07, 0x00,  // mov word [0x2000], 7
            0xc7, 0x06, 0x00, 0x20, 0x08, 0x00,  // mov word [0x2000], 8
            0xc6, 0x06, 0x00, 0x20, 0x07,        // mov byte [0x2000], 7
            0xc7, 0x06, 0x04, 0x20, 0x09, 0x00,  // mov word [0x2004], 9
            0xf4});                              // hlt
  ASSERT_EQ(vm->set_doorbell(with_value, first.get(), true), 0);
  ASSERT_EQ(vm->set_doorbell(without, second.get(), true), 0);

  run();
  const u64 first_rings = taken_from(first), second_rings = taken_from(second);
  const auto seen = std::exchange(bus.seen, {});
  ASSERT_EQ(vm->set_doorbell(without, second.get(), false), 0);
  run();

  EXPECT_EQ(first_rings, 1u);
  EXPECT_EQ(second_rings, 1u);
  EXPECT_EQ(seen, (std::vector<std::pair<u64, u64>>{{0x2000, 8}, {0x2000, 7}}));
  EXPECT_EQ(taken_from(first), 1u);
  EXPECT_EQ(taken_from(second), 0u);
  EXPECT_EQ(bus.seen, (std::vector<std::pair<u64, u64>>{{0x2000, 8}, {0x2000, 7}, {0x2004, 9}}));
}

// There is nothing in the kernel that could take them.
TEST_F(RealKvm, InterruptsComeFromNoEventfdWithoutApicsInTheKernel) {
  const FileDescriptor event(::eventfd(0, EFD_NONBLOCK));

  EXPECT_EQ(vm->add_interrupt_event(kIoApicPins, event.get()), -EINVAL);
}

// struct pvclock_vcpu_time_info, and a clock that goes on from where it was set.
TEST_F(RealKvm, ItsClockIsInThePageThatTheGuestNames) {
  constexpr u64 kStart = 5'000'000'000;
  if (!vm->offers_clock()) GTEST_SKIP() << "this KVM has no clock to offer";
  place(0, {0x66, 0xb9, 0x01, 0x4d, 0x56, 0x4b,  // mov ecx, 0x4b564d01
            0x66, 0xb8, 0x01, 0x10, 0x02, 0x00,  // mov eax, 0x21001
            0x66, 0x31, 0xd2,                    // xor edx, edx
            0x0f, 0x30,                          // wrmsr
            0xf4});                              // hlt
  ASSERT_TRUE(vm->set_clock(kStart));

  run();

  u32 version = 0, multiplier = 0;
  u64 system_time = 0;
  std::memcpy(&version, ram->host(GuestPhys(0x21000)), sizeof version);
  std::memcpy(&system_time, ram->host(GuestPhys(0x21010)), sizeof system_time);
  std::memcpy(&multiplier, ram->host(GuestPhys(0x21018)), sizeof multiplier);
  EXPECT_EQ(engine->clock_page(), 0x21001u);
  EXPECT_NE(version, 0u);
  EXPECT_EQ(version % 2, 0u);
  EXPECT_NE(multiplier, 0u);
  EXPECT_GE(system_time, kStart);
  EXPECT_LE(system_time, *vm->clock());
}

// As machine/kernel_msrs restores registers of the host's that no software engine has.
TEST_F(RealKvm, ItsOwnMsrsAreReadAndSetFromOutside) {
  constexpr u32 kHwcr = 0xc0010015;
  constexpr u64 kMcStatusWrEn = 1 << 18;
  place(0, {0x66, 0xb9, 0x15, 0x00, 0x01, 0xc0,  // mov ecx, 0xc0010015
            0x0f, 0x32,                          // rdmsr
            0x66, 0xc1, 0xe8, 0x10,              // shr eax, 16
            0xba, 0x00, 0x01,                    // mov dx, 0x100
            0xee,                                // out dx, al
            0xf4});                              // hlt
  u64 at_reset = ~u64{0}, now = 0;

  ASSERT_TRUE(engine->msr(kHwcr, at_reset));
  ASSERT_TRUE(engine->set_msr(kHwcr, kMcStatusWrEn));
  run();

  EXPECT_EQ(at_reset, 0u);
  EXPECT_EQ(port.seen, (std::vector<std::pair<u64, u64>>{{0, kMcStatusWrEn >> 16}}));
  EXPECT_TRUE(engine->msr(kHwcr, now));
  EXPECT_EQ(now, kMcStatusWrEn);
  EXPECT_FALSE(engine->set_msr(0x1234'5678, 1));
}

}  // namespace
}  // namespace vellum::kvm
