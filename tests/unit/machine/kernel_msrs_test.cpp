// The (scripted) kernel's MSRs that go along with a saved machine.
#include "machine/kernel_msrs.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "../kvm/scripted_kvm.hpp"
#include "cpu/bare_board.hpp"

namespace vellum {
namespace {

constexpr u32 kTsxCtrl = 0x122, kHwcr = 0xc0010015;

struct KernelMsrsTest : testing::Test {
  KernelMsrsTest() { kvm.msrs = {{kTsxCtrl, 3}, {kHwcr, 0x0100'0000}}; }
  /// As a machine saves them, on the kernel that it had.
  KernelMsrs::State saved() {
    KernelMsrs all({});
    EXPECT_TRUE(all.connect({engine.get(), engine.get()}));
    return *decode_state<KernelMsrs::State>(all.save());
  }

  kvm::ScriptedKvm kvm;
  Bus mmio{"mmio"}, ports{"port"};
  RealClock clock;
  x86::CpuModel model = *x86::CpuModel::create("host");
  Hazards hazards;
  BareBoard board;
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<AddressSpace> space = std::make_unique<AddressSpace>(AddressSpace{*ram, mmio, ports});
  std::unique_ptr<kvm::Vm> vm = std::move(*kvm::Vm::create(kvm, *ram));
  std::unique_ptr<kvm::KvmEngine> engine =
      std::move(*kvm::KvmEngine::create(*vm, 0, *space, board, clock, model, hazards));
};

TEST_F(KernelMsrsTest, ThoseThatThereAreAreSavedForEachVcpu) {
  const KernelMsrs::State state = saved();

  EXPECT_EQ(state.numbers, (std::vector<u32>{kTsxCtrl, kHwcr}));
  EXPECT_EQ(state.values, (std::vector<u64>{3, 0x0100'0000, 3, 0x0100'0000}));
}

TEST_F(KernelMsrsTest, TheyComeBack) {
  KernelMsrs::State state = saved();
  kvm.msrs = {{kTsxCtrl, 0}, {kHwcr, 0}};

  KernelMsrs again(std::move(state));

  ASSERT_TRUE(again.connect({engine.get(), engine.get()}));
  EXPECT_EQ(kvm.msrs[kTsxCtrl], 3u);
  EXPECT_EQ(kvm.msrs[kHwcr], 0x0100'0000u);
}

TEST_F(KernelMsrsTest, AHostWithoutOneRefusesTheMachine) {
  KernelMsrs::State state = saved();
  kvm.msrs.erase(kTsxCtrl);
  kvm.refused_msr = kTsxCtrl;

  KernelMsrs again(std::move(state));
  const auto result = again.connect({engine.get(), engine.get()});

  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("MSR 0x122"), std::string::npos) << result.error().message;
}

// A state is a file that anybody may have written: it names none but these.
TEST_F(KernelMsrsTest, OthersAreRefused) {
  constexpr u32 kFeatureControl = 0x3a;
  kvm.msrs[kFeatureControl] = 0;

  KernelMsrs all({{kFeatureControl}, {1}});

  EXPECT_FALSE(all.connect({engine.get()}));
  EXPECT_EQ(kvm.msrs[kFeatureControl], 0u);
}

TEST_F(KernelMsrsTest, AStateOfOtherVcpusIsRefused) {
  KernelMsrs all({{kTsxCtrl}, {1, 2}});

  EXPECT_FALSE(all.connect({engine.get()}));
}

}  // namespace
}  // namespace vellum
