// The engine with the local APICs in the (scripted) kernel.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "cpu/bare_board.hpp"
#include "cpu/kvm/engine.hpp"
#include "scripted_kvm.hpp"
#include "x86/msr.hpp"

namespace vellum::kvm {
namespace {

struct PicBoard final : BareBoard {
  int acknowledge_interrupt() override {
    hazards->clear(Hazards::kInterrupt);
    return 0x38;
  }
  Hazards* hazards = nullptr;
};

struct Eois final : EoiSink {
  void eoi(u8 vector) override { vectors.push_back(vector); }
  std::vector<u8> vectors;
};

struct KernelApicTest : testing::Test {
  KernelApicTest() {
    board.hazards = &hazards;
    kvm.sregs.apic_base = 0xfee00900;
    vm = std::move(*Vm::create(kvm, *ram, Irqchip::kKernel));
    vm->set_eoi_sink(eois);
    engine = std::move(*KvmEngine::create(*vm, 0, *space, board, clock, model, hazards));
  }
  ScriptedKvm::Step exit_with(u32 reason, bool ready = false) {
    return [=](kvm_run& run) {
      run.exit_reason = reason;
      run.if_flag = ready;
      run.ready_for_interrupt_injection = ready;
      return 0;
    };
  }
  ScriptedKvm::Step stop() {
    return [this](kvm_run& run) {
      run.exit_reason = KVM_EXIT_INTR;
      hazards.set(Hazards::kStop);
      return -EINTR;
    };
  }
  bool filters(u32 msr) const {
    return std::ranges::any_of(kvm.filter.ranges, [msr](const kvm_msr_filter_range& range) {
      return range.nmsrs != 0 && range.base == msr;
    });
  }

  ScriptedKvm kvm;
  Bus mmio{"mmio"}, ports{"port"};
  PicBoard board;
  RealClock clock;
  x86::CpuModel model = *x86::CpuModel::create("host");
  Hazards hazards;
  Eois eois;
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<AddressSpace> space = std::make_unique<AddressSpace>(AddressSpace{*ram, mmio, ports});
  std::unique_ptr<Vm> vm;
  std::unique_ptr<KvmEngine> engine;
};

TEST_F(KernelApicTest, TheKernelKeepsTheLocalApicsAndTheirMsrsOnly) {
  EXPECT_TRUE(vm->kernel_apics());
  EXPECT_EQ(kvm.split_pins, 24u);
  EXPECT_FALSE(filters(x86::msr::kApicBase));
  EXPECT_FALSE(filters(x86::msr::kTscDeadline));
  EXPECT_TRUE(filters(x86::msr::kTscAdjust));
}

TEST_F(KernelApicTest, AKernelWithoutThemIsAnErrorOnlyIfTheyWereAskedFor) {
  kvm.split_result = -EINVAL;

  const auto asked = Vm::create(kvm, *ram, Irqchip::kKernel);
  const auto automatic = Vm::create(kvm, *ram, Irqchip::kAuto);

  EXPECT_FALSE(asked);
  ASSERT_TRUE(automatic);
  EXPECT_FALSE((*automatic)->kernel_apics());
  EXPECT_TRUE(filters(x86::msr::kApicBase));
}

TEST_F(KernelApicTest, AMessageIsAnMsi) {
  const int taken = vm->deliver({0xfee01004, 0x4131});

  EXPECT_EQ(taken, 1);
  EXPECT_EQ(kvm.last_msi.address_lo, 0xfee01004u);
  EXPECT_EQ(kvm.last_msi.data, 0x4131u);
}

TEST_F(KernelApicTest, EachInterruptHasARoute) {
  std::array<Message, kIoApicPins + 1> routes{};
  routes[11] = {0xfee02000, 0xc05b};
  routes[24] = {0xfee03004, 0x41};

  vm->set_routes(routes);

  ASSERT_EQ(kvm.routes.size(), 25u);
  EXPECT_EQ(kvm.routes[11].gsi, 11u);
  EXPECT_EQ(kvm.routes[11].type, u32{KVM_IRQ_ROUTING_MSI});
  EXPECT_EQ(kvm.routes[11].u.msi.data, 0xc05bu);
  EXPECT_EQ(kvm.routes[12].u.msi.data, 0u);
  EXPECT_EQ(kvm.routes[24].gsi, 24u);
  EXPECT_EQ(kvm.routes[24].u.msi.address_lo, 0xfee03004u);
}

TEST_F(KernelApicTest, TheEndOfALevelReachesTheBoard) {
  kvm.steps = {[](kvm_run& run) {
                 run.exit_reason = KVM_EXIT_IOAPIC_EOI;
                 run.eoi.vector = 0x5b;
                 return 0;
               },
               stop()};

  engine->run(Budget{});

  EXPECT_EQ(eois.vectors, std::vector<u8>{0x5b});
}

TEST_F(KernelApicTest, TheHaltedStateIsTheKernelsAndNoExit) {
  VcpuState halted = reset_state(true);
  halted.activity = Activity::kHalted;

  engine->push(StateMask::kActivity, halted);
  const u32 pushed = kvm.mp_state.mp_state;
  kvm.steps = {stop()};
  const Exit exit = engine->run(Budget{});
  kvm.mp_state.mp_state = KVM_MP_STATE_INIT_RECEIVED;
  VcpuState back;
  engine->pull(StateMask::kActivity, back);

  EXPECT_EQ(pushed, u32{KVM_MP_STATE_HALTED});
  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(exit));
  EXPECT_EQ(back.activity, Activity::kWaitForSipi);
}

TEST_F(KernelApicTest, AnInterruptOfThePicIsInjectedWhenTheApicTakesIt) {
  hazards.set(Hazards::kInterrupt);
  kvm.steps = {exit_with(KVM_EXIT_IRQ_WINDOW_OPEN, true), stop()};

  engine->run(Budget{});

  EXPECT_EQ(kvm.interrupts, std::vector<u32>{0x38});
}

TEST_F(KernelApicTest, ASecondOneWaitsWhileAKickKeepsTheFirstFromTheGuest) {
  hazards.set(Hazards::kInterrupt);
  kvm.steps = {exit_with(KVM_EXIT_IRQ_WINDOW_OPEN, true),
               [this](kvm_run& run) {
                 run.exit_reason = KVM_EXIT_INTR;
                 run.ready_for_interrupt_injection = 1;
                 hazards.set(Hazards::kInterrupt);  // kicks
                 return -EINTR;
               },
               stop()};

  engine->run(Budget{});

  EXPECT_EQ(kvm.interrupts.size(), 1u);
}

TEST_F(KernelApicTest, ItsRegistersStandSixteenBytesApart) {
  KernelApicState state;
  state.base = 0xfee00900;
  state.registers[0x0f] = 0x1ff;
  state.registers[0x08] = 0x50;

  ASSERT_TRUE(engine->set_apic(state));
  const auto back = engine->apic();

  EXPECT_EQ(static_cast<u8>(kvm.apic.regs[0xf0]), 0xff);
  EXPECT_EQ(static_cast<u8>(kvm.apic.regs[0xf1]), 0x01);
  EXPECT_EQ(back->registers, state.registers);
  EXPECT_EQ(back->base, state.base);
  EXPECT_EQ(kvm.run_page().cr8, 5u) << "registers pushed next must not lower the priority";
}

TEST_F(KernelApicTest, TheModeIsSetBeforeTheRegisters) {
  KernelApicState state;
  state.base = 0xfee00d00;

  ASSERT_TRUE(engine->set_apic(state));

  EXPECT_EQ(kvm.sregs_at_set_apic.apic_base, 0xfee00d00u);
}

}  // namespace
}  // namespace vellum::kvm
