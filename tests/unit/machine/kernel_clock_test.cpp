// KVM's clock in the (scripted) kernel: who gets it, where it starts, what is saved of it.
#include "machine/kernel_clock.hpp"

#include <asm/kvm_para.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "../kvm/scripted_kvm.hpp"
#include "cpu/bare_board.hpp"

namespace vellum {
namespace {

constexpr u64 kPage = 0x12345001;

struct KernelClockTest : testing::Test {
  KernelClockTest() {
    kvm_cpuid_entry2 features{};
    features.function = KVM_CPUID_FEATURES;
    features.eax = 1 << KVM_FEATURE_CLOCKSOURCE2;
    kvm.cpuid = {features};
    kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW] = 0;
    start();
  }
  void start() {
    vm = std::move(*kvm::Vm::create(kvm, *ram));
    engine = std::move(*kvm::KvmEngine::create(*vm, 0, *space, board, clock, model, hazards));
  }
  bool shows_clock() const {
    return std::ranges::any_of(kvm.vcpu_cpuid, [](const auto& e) { return e.function == kvm::kKvmLeaves; });
  }

  kvm::ScriptedKvm kvm;
  Bus mmio{"mmio"}, ports{"port"};
  VirtualClock time;
  RealClock clock;
  x86::CpuModel model = *x86::CpuModel::create("host");
  Hazards hazards;
  BareBoard board;
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<AddressSpace> space = std::make_unique<AddressSpace>(AddressSpace{*ram, mmio, ports});
  std::unique_ptr<kvm::Vm> vm;
  std::unique_ptr<kvm::KvmEngine> engine;
};

TEST_F(KernelClockTest, AGuestIsToldOfItWhereKvmHasIt) {
  EXPECT_TRUE(vm->offers_clock());
  EXPECT_TRUE(shows_clock());

  engine.reset();
  kvm.cpuid.clear();
  start();

  EXPECT_FALSE(vm->offers_clock());
  EXPECT_FALSE(shows_clock());
}

TEST_F(KernelClockTest, ItStartsWithGuestTime) {
  time.retire(5'000);
  KernelClock kernel(*vm, KernelClock::power_on(time));
  kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW] = kPage;

  ASSERT_TRUE(kernel.connect({engine.get()}));

  EXPECT_EQ(kvm.clock.clock, 5'000u);
  EXPECT_EQ(kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW], kPage);
}

TEST_F(KernelClockTest, ItGoesOnWhereItWasSaved) {
  KernelClock first(*vm, KernelClock::power_on(time));
  ASSERT_TRUE(first.connect({engine.get()}));
  kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW] = kPage;
  kvm.clock.clock = 77'000;
  const auto saved = decode_state<KernelClock::State>(first.save());
  kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW] = 0;
  kvm.clock.clock = 0;

  KernelClock second(*vm, *saved);
  ASSERT_TRUE(second.connect({engine.get()}));

  EXPECT_EQ(kvm.clock.clock, 77'000u);
  EXPECT_EQ(kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW], kPage);
}

TEST_F(KernelClockTest, AStateOfOtherVcpusIsRefused) {
  KernelClock kernel(*vm, {0, {kPage, kPage}});

  EXPECT_FALSE(kernel.connect({engine.get()}));
}

// As in the kernel's own INIT.
TEST_F(KernelClockTest, InitForgetsThePage) {
  kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW] = kPage;
  hazards.set(Hazards::kInit);
  kvm.steps = {[&](kvm_run&) {
    hazards.set(Hazards::kStop);
    return -EINTR;
  }};

  engine->run(Budget{});

  EXPECT_EQ(kvm.msrs[MSR_KVM_SYSTEM_TIME_NEW], 0u);
}

}  // namespace
}  // namespace vellum
