// Doorbells in the (scripted) kernel: where they are, and that a ring there reaches the device on the loop.
#include "machine/kernel_doorbells.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

#include "../kvm/scripted_kvm.hpp"

namespace vellum {
namespace {

struct KernelDoorbellsTest : testing::Test {
  KernelDoorbellsTest() { loop->start(); }
  ~KernelDoorbellsTest() override {
    loop->run_on_loop([this] { bells.reset(); });
  }
  static void write_as_guest(const kvm_ioeventfd& bell) {
    const u64 one = 1;
    ASSERT_EQ(::write(bell.fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }

  kvm::ScriptedKvm kvm;
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<kvm::Vm> vm = std::move(*kvm::Vm::create(kvm, *ram));
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::unique_ptr<KernelDoorbells> bells = std::make_unique<KernelDoorbells>(*vm, *loop);
};

TEST_F(KernelDoorbellsTest, TheKernelGetsThePlace) {
  bells->move(bells->add([] {}), DoorbellPlace{0xfeb0'0050, 4, 7});
  bells->move(bells->add([] {}), DoorbellPlace{0xe000'3000, 2, std::nullopt});

  ASSERT_EQ(kvm.doorbells.size(), 2u);
  EXPECT_EQ(kvm.doorbells[0].addr, 0xfeb0'0050u);
  EXPECT_EQ(kvm.doorbells[0].len, 4u);
  EXPECT_EQ(kvm.doorbells[0].datamatch, 7u);
  EXPECT_EQ(kvm.doorbells[0].flags, u32{KVM_IOEVENTFD_FLAG_DATAMATCH});
  EXPECT_EQ(kvm.doorbells[1].len, 2u);
  EXPECT_EQ(kvm.doorbells[1].flags, 0u);
}

TEST_F(KernelDoorbellsTest, EachRingReachesItsDeviceOnTheLoop) {
  std::promise<bool> first, second, again;
  unsigned rings = 0;
  bells->move(bells->add([&] { (rings++ == 0 ? first : again).set_value(loop->on_loop_thread()); }),
              DoorbellPlace{0xe000'3000, 2, std::nullopt});
  bells->move(bells->add([&] { second.set_value(loop->on_loop_thread()); }),
              DoorbellPlace{0xe000'3004, 2, std::nullopt});

  write_as_guest(kvm.doorbells[0]);
  EXPECT_TRUE(first.get_future().get());
  write_as_guest(kvm.doorbells[1]);
  EXPECT_TRUE(second.get_future().get());
  write_as_guest(kvm.doorbells[0]);
  EXPECT_TRUE(again.get_future().get());
}

TEST_F(KernelDoorbellsTest, OneThatMovesLeavesItsPlace) {
  const unsigned bell = bells->add([] {});
  bells->move(bell, DoorbellPlace{0xe000'3000, 2, std::nullopt});
  const int event = kvm.doorbells.at(0).fd;

  bells->move(bell, DoorbellPlace{0xd000'3000, 2, std::nullopt});

  ASSERT_EQ(kvm.doorbells.size(), 1u);
  EXPECT_EQ(kvm.doorbells[0].addr, 0xd000'3000u);
  EXPECT_EQ(kvm.doorbells[0].fd, event);
  bells->move(bell, std::nullopt);
  EXPECT_TRUE(kvm.doorbells.empty());
}

// Where devices of the board's own, or RAM under ROM, may come first.
TEST_F(KernelDoorbellsTest, SomePlacesAreNotTaken) {
  for (const u64 address : {0xb'3000ull, 0xf'fffeull, 0xfec0'0000ull, 0xfee0'3000ull, 0xffff'fffeull})
    bells->move(bells->add([] {}), DoorbellPlace{address, 2, std::nullopt});
  EXPECT_TRUE(kvm.doorbells.empty());

  for (const u64 address : {0x10'0000ull, 0xfebf'fffeull, 0x1'0000'0000ull})
    bells->move(bells->add([] {}), DoorbellPlace{address, 2, std::nullopt});
  EXPECT_EQ(kvm.doorbells.size(), 3u);
}

TEST_F(KernelDoorbellsTest, OneThatTheKernelRefusesIsNowhereAndMayComeElsewhere) {
  kvm.refused_place = 0xe000'3000;
  const unsigned bell = bells->add([] {});

  bells->move(bell, DoorbellPlace{0xe000'3000, 2, std::nullopt});
  const bool nowhere = kvm.doorbells.empty();
  bells->move(bell, DoorbellPlace{0xd000'3000, 2, std::nullopt});

  std::vector<StatRow> rows;
  bells->stats(rows);
  EXPECT_TRUE(nowhere);
  EXPECT_EQ(kvm.doorbells.size(), 1u);
  EXPECT_EQ(rows.back().name, "refused");
  EXPECT_EQ(rows.back().count, 1u);
}

}  // namespace
}  // namespace vellum
