// MSI-X vectors on interrupts of the (scripted) kernel's: what is programmed when, and which messages go by
// the board.
#include "machine/kernel_routes.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "../kvm/scripted_kvm.hpp"
#include "devices/pci/msix.hpp"

namespace vellum {
namespace {

class MessageLog final : public MsiSink {
 public:
  void deliver(const MsiMessage& message) override { messages.push_back(message); }
  std::vector<MsiMessage> messages;
};

struct KernelRoutesTest : testing::Test {
  /// How often the kernel would have sent the interrupt since the last time.
  u64 sent(std::size_t event) {
    u64 times = 0;
    const int fd = static_cast<int>(kvm.interrupt_events.at(event).fd);
    return ::read(fd, &times, sizeof times) == sizeof times ? times : 0;
  }

  kvm::ScriptedKvm kvm;
  MessageLog board;
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<kvm::Vm> vm = std::move(*kvm::Vm::create(kvm, *ram, kvm::Irqchip::kKernel));
  KernelRoutes routes{*vm, board};
};

TEST_F(KernelRoutesTest, AMessageIsProgrammedOnceAndSentByEventfd) {
  const auto first = routes.add_port(), second = routes.add_port();

  second->deliver({0xfee01000, 0x41});
  second->deliver({0xfee01000, 0x41});

  EXPECT_EQ(kvm.route_changes, 1u);
  ASSERT_EQ(kvm.routes.size(), 26u);
  EXPECT_EQ(kvm.routes[25].u.msi.address_lo, 0xfee01000u);
  EXPECT_EQ(kvm.routes[25].u.msi.data, 0x41u);
  ASSERT_EQ(kvm.interrupt_events.size(), 1u);
  EXPECT_EQ(kvm.interrupt_events[0].gsi, 25u);
  EXPECT_EQ(sent(0), 2u);
  EXPECT_TRUE(board.messages.empty());
}

TEST_F(KernelRoutesTest, AMessageThatChangedIsProgrammedAnew) {
  const auto port = routes.add_port();
  port->deliver({0xfee01000, 0x41});

  port->deliver({0xfee02004, 0x52});

  EXPECT_EQ(kvm.route_changes, 2u);
  EXPECT_EQ(kvm.routes[24].u.msi.address_lo, 0xfee02004u);
  EXPECT_EQ(kvm.routes[24].u.msi.data, 0x52u);
  EXPECT_EQ(kvm.interrupt_events.size(), 1u);
  EXPECT_EQ(sent(0), 2u);
}

// No MSI, NMI, SMI, a level, ExtINT.
TEST_F(KernelRoutesTest, WhatIsNoPlainInterruptGoesByTheBoard) {
  const auto port = routes.add_port();
  const std::vector<MsiMessage> others{{0xfed00000, 0x41},
                                       {0xfee00000, 0x441},
                                       {0xfee00000, 0x241},
                                       {0xfee00000, 0xc041},
                                       {0xfee00000, 0x741}};

  for (const MsiMessage& message : others) port->deliver(message);
  port->deliver({0xfee00000, 0x42});

  EXPECT_EQ(board.messages.size(), others.size());
  EXPECT_EQ(kvm.route_changes, 1u);
  EXPECT_EQ(sent(0), 1u);
}

TEST_F(KernelRoutesTest, AnEventfdThatIsRefusedLeavesTheBoardsWay) {
  kvm.interrupt_event_result = -EINVAL;
  const auto port = routes.add_port();

  port->deliver({0xfee01000, 0x41});
  port->deliver({0xfee01000, 0x41});

  EXPECT_EQ(board.messages.size(), 2u);
  EXPECT_EQ(kvm.interrupt_events.size(), 1u);
}

TEST_F(KernelRoutesTest, TheIoApicsInputsStayWhatTheyAre) {
  const auto port = routes.add_port();
  routes.set(7, {0xfee00000, 0xc031});

  port->deliver({0xfee01000, 0x41});

  EXPECT_EQ(kvm.routes[7].u.msi.data, 0xc031u);
  EXPECT_EQ(kvm.routes[24].u.msi.data, 0x41u);
}

TEST_F(KernelRoutesTest, AVectorThatIsMaskedWaitsAndIsSentWithItsNewMessage) {
  pci::Msix msix(board, 2, {}, &routes);
  msix.set_control(true, false, true);
  const auto program = [&msix](u64 address, u32 data, u32 control) {
    msix.write(16, 4, address), msix.write(24, 4, data), msix.write(28, 4, control);
  };
  program(0xfee00000, 0x41, 0);
  msix.raise(1);
  program(0xfee00000, 0x41, 1);
  msix.raise(1);
  const u64 before = sent(0);

  program(0xfee01000, 0x42, 0);

  EXPECT_EQ(before, 1u);
  EXPECT_EQ(sent(0), 1u);
  EXPECT_EQ(kvm.routes[25].u.msi.data, 0x42u);
  EXPECT_TRUE(board.messages.empty());
}

}  // namespace
}  // namespace vellum
