// Local APICs in the (scripted) kernel: messages, levels, the 8259's pin, and state in LocalApic's form.
#include "machine/kernel_apic.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "../kvm/scripted_kvm.hpp"

namespace vellum {
namespace {

struct FixedPic final : ExtIntSource {
  u8 acknowledge() override { return 0x30; }
};

struct KernelApicStateTest : testing::Test {
  KernelApicStateTest() {
    kvm.sregs.apic_base = 0xfee00900;
    vm = std::move(*kvm::Vm::create(kvm, *ram, kvm::Irqchip::kKernel));
    all = std::make_unique<KernelApics>(*vm, bus);
    all->add(hazards);
  }
  KernelApic& make(const LocalApic::State& state) {
    apic = std::make_unique<KernelApic>(2, 1, clock, *all, pic, state);
    engine = std::move(*kvm::KvmEngine::create(*vm, 0, *space, *apic, clock, model, hazards));
    EXPECT_TRUE(apic->connect(*engine));
    return *apic;
  }
  u32 kernel_register(unsigned offset) const {
    u32 value;
    std::memcpy(&value, kvm.apic.regs + offset, sizeof value);
    return value;
  }

  kvm::ScriptedKvm kvm;
  Bus mmio{"mmio"}, ports{"port"};
  RealClock clock;
  x86::CpuModel model = *x86::CpuModel::create("host");
  Hazards hazards;
  ApicBus bus;
  FixedPic pic;
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<AddressSpace> space = std::make_unique<AddressSpace>(AddressSpace{*ram, mmio, ports});
  std::unique_ptr<kvm::Vm> vm;
  std::unique_ptr<KernelApics> all;
  std::unique_ptr<KernelApic> apic;
  std::unique_ptr<kvm::KvmEngine> engine;
};

TEST_F(KernelApicStateTest, AMessageGoesToTheKernelWithAllItsParts) {
  ApicMessage message;
  message.destination = 0x81;
  message.logical = true;
  message.mode = DeliveryMode::kLowestPriority;
  message.vector = 0x42;
  message.level_triggered = true;

  const bool accepted = bus.post(message);

  EXPECT_TRUE(accepted);
  EXPECT_EQ(kvm.last_msi.address_lo, 0xfee81004u);
  EXPECT_EQ(kvm.last_msi.data, 0xc142u);
}

TEST_F(KernelApicStateTest, AMessageThatNobodyTookIsNotAccepted) {
  kvm.msi_result = 0;

  EXPECT_FALSE(bus.post({}));
}

TEST_F(KernelApicStateTest, ASystemManagementInterruptStaysOutOfTheKernel) {
  ApicMessage message;
  message.mode = DeliveryMode::kSmi;
  message.vector = 0x42;

  EXPECT_FALSE(bus.post(message));
  EXPECT_EQ(kvm.last_msi.data, 0u);
}

TEST_F(KernelApicStateTest, OnlyLevelsAreRoutes) {
  ApicMessage message;
  message.vector = 0x42;
  all->pin_programmed(7, message);
  const std::size_t after_edge = kvm.routes.size();
  message.level_triggered = true;
  all->pin_programmed(7, message);

  EXPECT_EQ(after_edge, 0u);
  EXPECT_EQ(kvm.routes.at(7).u.msi.data, 0xc042u);
}

TEST_F(KernelApicStateTest, ThePicsPinIsAHazardWhileItIsHigh) {
  KernelApic& cpu = make(LocalApic::State::power_up(true));

  bus.lint0().set(true);
  const bool high = hazards.test(Hazards::kInterrupt);
  const int vector = cpu.acknowledge_interrupt();
  bus.lint0().set(false);

  EXPECT_TRUE(high);
  EXPECT_EQ(vector, 0x30);
  EXPECT_FALSE(hazards.test(Hazards::kInterrupt));
  EXPECT_EQ(cpu.acknowledge_interrupt(), -1);
}

TEST_F(KernelApicStateTest, WhatIsSavedIsTheStateThatWasGiven) {
  LocalApic::State state = LocalApic::State::power_up(true);
  state.tpr = 0x30;
  state.irr[2] = 4;
  LocalApic::set_virtual_wire_mode(state);

  const SavedState saved = make(state).save();

  EXPECT_EQ(kernel_register(0x20), 2u << 24);
  EXPECT_EQ(kernel_register(0x350), 0x700u);
  EXPECT_EQ(*decode_state<LocalApic::State>(saved), state);
}

TEST_F(KernelApicStateTest, VirtualWireModeIsAsLocalApics) {
  KernelApic& cpu = make(LocalApic::State::power_up(true));

  ASSERT_TRUE(cpu.enter_virtual_wire_mode());

  EXPECT_EQ(kernel_register(0xf0), 0x1ffu);
  EXPECT_EQ(kernel_register(0x360), 0x400u);
}

}  // namespace
}  // namespace vellum
