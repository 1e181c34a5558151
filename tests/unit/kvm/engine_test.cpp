#include "cpu/kvm/engine.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "cpu/bare_board.hpp"
#include "scripted_kvm.hpp"
#include "x86/msr.hpp"

namespace vellum::kvm {
namespace {

class Recorder final : public BusDevice {
 public:
  u64 read(u64 offset, unsigned size) override {
    reads.push_back({offset, size});
    return answer;
  }
  void write(u64 offset, unsigned, u64 value) override { writes.push_back({offset, value}); }
  std::vector<std::pair<u64, u64>> reads, writes;
  u64 answer = 0;
};

class ApicBoard final : public BareBoard {
 public:
  int acknowledge_interrupt() override {
    if (vectors.empty()) return -1;
    const int vector = vectors.front();
    vectors.pop_front();
    if (vectors.empty()) hazards->clear(Hazards::kInterrupt);
    return vector;
  }
  bool read_apic_msr(u32, u64& value) override {
    value = 0xfee00900;
    return true;
  }
  bool write_apic_msr(u32 index, u64 value) override {
    msr_writes.push_back({index, value});
    return true;
  }
  u64 apic_page() const override { return 0xfee00000; }
  void write_apic_page(u32 offset, unsigned, u64 value) override { page_writes.push_back({offset, value}); }
  u8 read_cr8() override { return cr8; }
  void write_cr8(u8 value) override { cr8 = value; }

  Hazards* hazards = nullptr;
  std::deque<int> vectors;
  std::vector<std::pair<u32, u64>> msr_writes, page_writes;
  u8 cr8 = 0;
};

struct KvmEngineTest : testing::Test {
  KvmEngineTest() {
    ram = std::move(*GuestRam::create(1 << 20));
    space = std::make_unique<AddressSpace>(AddressSpace{*ram, mmio, ports});
    EXPECT_TRUE(ports.add(0x100, 8, port_device, "ports"));
    EXPECT_TRUE(mmio.add(0xd0000000, 0x1000, mmio_device, "mmio"));
    board.hazards = &hazards;
    vm = std::move(*Vm::create(kvm, *ram));
    engine = std::move(*KvmEngine::create(*vm, 0, *space, board, clock, model, hazards));
  }
  void stop_after_this() {
    kvm.steps.push_back([this](kvm_run& run) {
      run.exit_reason = KVM_EXIT_INTR;
      hazards.set(Hazards::kStop);
      return -EINTR;
    });
  }
  ScriptedKvm::Step port_exit(bool write, unsigned size, unsigned count) {
    return [=](kvm_run& run) {
      run.exit_reason = KVM_EXIT_IO;
      run.io = {.direction = static_cast<u8>(write ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN),
                .size = static_cast<u8>(size),
                .port = 0x102,
                .count = count,
                .data_offset = ScriptedKvm::kIoOffset};
      return 0;
    };
  }
  ScriptedKvm::Step mmio_exit(u64 address, unsigned size, u64 value) {
    return [=](kvm_run& run) {
      run.exit_reason = KVM_EXIT_MMIO;
      run.mmio.phys_addr = address;
      run.mmio.len = size;
      run.mmio.is_write = 1;
      std::memcpy(run.mmio.data, &value, sizeof value);
      return 0;
    };
  }
  static ScriptedKvm::Step exit_with(u32 reason, bool interrupts_on = true) {
    return [=](kvm_run& run) {
      run.exit_reason = reason;
      run.if_flag = interrupts_on;
      run.ready_for_interrupt_injection = interrupts_on;
      return 0;
    };
  }
  static ScriptedKvm::Step msr_exit(u32 reason, u32 index, u64 value) {
    return [=](kvm_run& run) {
      run.exit_reason = reason;
      run.msr.reason = KVM_MSR_EXIT_REASON_UNKNOWN;
      run.msr.index = index;
      run.msr.data = value;
      run.msr.error = 77;
      return 0;
    };
  }

  ScriptedKvm kvm;
  Bus mmio{"mmio"}, ports{"port"};
  Recorder port_device, mmio_device;
  ApicBoard board;
  RealClock clock;
  x86::CpuModel model = *x86::CpuModel::create("host");
  Hazards hazards;
  std::unique_ptr<GuestRam> ram;
  std::unique_ptr<AddressSpace> space;
  std::unique_ptr<Vm> vm;
  std::unique_ptr<KvmEngine> engine;
};

TEST_F(KvmEngineTest, StartsInTheStateAfterReset) {
  VcpuState state;
  engine->pull(StateMask::kGeneral | StateMask::kSegments, state);

  EXPECT_EQ(state.rip, 0xfff0u);
  EXPECT_EQ(state.segment(x86::Seg::kCs).base, 0xffff0000u);
  EXPECT_EQ(state.gpr[x86::kRdx], model.signature());
}

TEST_F(KvmEngineTest, APortAccessAsksTheBusOnceForEachRepetition) {
  const u8 bytes[] = {0x11, 0x22, 0x33, 0x44};
  std::memcpy(kvm.io_data(), bytes, sizeof bytes);
  kvm.steps = {port_exit(true, 2, 2)};
  stop_after_this();

  engine->run(Budget{});

  using Writes = std::vector<std::pair<u64, u64>>;
  EXPECT_EQ(port_device.writes, (Writes{{2, 0x2211}, {2, 0x4433}}));
}

TEST_F(KvmEngineTest, APortReadsAnswerIsLeftForTheNextEntry) {
  port_device.answer = 0x5a;
  kvm.steps = {port_exit(false, 1, 1)};
  stop_after_this();

  engine->run(Budget{});

  EXPECT_EQ(*kvm.io_data(), 0x5a);
}

TEST_F(KvmEngineTest, APortAccessOutsideOfThePageIsTheHostsFailure) {
  kvm.steps = {[](kvm_run& run) {
    run.exit_reason = KVM_EXIT_IO;
    run.io = {.direction = KVM_EXIT_IO_IN, .size = 4, .port = 0x102, .count = 1, .data_offset = 3 * 4096 - 2};
    return 0;
  }};

  const Exit exit = engine->run(Budget{});

  EXPECT_TRUE(std::holds_alternative<exit::HostFailed>(exit));
  EXPECT_TRUE(port_device.reads.empty());
}

TEST_F(KvmEngineTest, AnOddMemoryAccessBecomesBytes) {
  kvm.steps = {mmio_exit(0xd0000010, 3, 0x332211)};
  stop_after_this();

  engine->run(Budget{});

  using Writes = std::vector<std::pair<u64, u64>>;
  EXPECT_EQ(mmio_device.writes, (Writes{{0x10, 0x11}, {0x11, 0x22}, {0x12, 0x33}}));
}

TEST_F(KvmEngineTest, TheApicsPageIsTheBoards) {
  kvm.steps = {mmio_exit(0xfee000b0, 4, 0)};
  stop_after_this();

  engine->run(Budget{});

  ASSERT_EQ(board.page_writes.size(), 1u);
  EXPECT_EQ(board.page_writes[0].first, 0xb0u);
}

TEST_F(KvmEngineTest, X2apicRegistersAreTheBoards) {
  kvm.steps = {msr_exit(KVM_EXIT_X86_WRMSR, x86::msr::kX2apicFirst + 0xb, 0)};
  stop_after_this();

  engine->run(Budget{});

  EXPECT_EQ(kvm.run_page().msr.error, 0);
  ASSERT_EQ(board.msr_writes.size(), 1u);
  EXPECT_EQ(board.msr_writes[0].first, x86::msr::kX2apicFirst + 0xb);
}

TEST_F(KvmEngineTest, AnUnknownMsrIsAFaultAndCounted) {
  kvm.steps = {msr_exit(KVM_EXIT_X86_RDMSR, 0x12345, 0)};
  stop_after_this();

  engine->run(Budget{});

  std::vector<StatRow> rows;
  engine->stats(rows);
  EXPECT_EQ(kvm.run_page().msr.error, 1);
  EXPECT_TRUE(std::ranges::any_of(
      rows, [](const StatRow& r) { return r.name.find("0x12345") != std::string::npos; }));
}

TEST_F(KvmEngineTest, AnInterruptIsInjectedWhenTheGuestTakesIt) {
  board.vectors = {0x31};
  hazards.set(Hazards::kInterrupt);
  kvm.steps = {exit_with(KVM_EXIT_IRQ_WINDOW_OPEN)};
  stop_after_this();

  engine->run(Budget{});

  EXPECT_EQ(kvm.interrupts, std::vector<u32>{0x31});
}

TEST_F(KvmEngineTest, AnInterruptThatTheGuestHoldsOffAsksForItsWindow) {
  bool asked = false;
  board.vectors = {0x31};
  hazards.set(Hazards::kInterrupt);
  kvm.steps = {exit_with(KVM_EXIT_INTR, false), [&](kvm_run& run) {
                 asked = run.request_interrupt_window != 0;
                 hazards.set(Hazards::kStop);
                 return -EINTR;
               }};

  engine->run(Budget{});

  EXPECT_TRUE(asked);
  EXPECT_TRUE(kvm.interrupts.empty());
}

TEST_F(KvmEngineTest, AHaltedVcpuWaitsOutside) {
  kvm.steps = {exit_with(KVM_EXIT_HLT)};

  const Exit exit = engine->run(Budget{});

  EXPECT_TRUE(std::holds_alternative<exit::Halted>(exit));
}

TEST_F(KvmEngineTest, AnInterruptWakesAHaltedVcpu) {
  kvm.steps = {exit_with(KVM_EXIT_HLT)};
  engine->run(Budget{});
  board.vectors = {0x40};
  hazards.set(Hazards::kInterrupt);
  stop_after_this();

  const Exit exit = engine->run(Budget{});

  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(exit));
  EXPECT_EQ(kvm.interrupts, std::vector<u32>{0x40});
}

TEST_F(KvmEngineTest, AnInterruptDoesNotWakeAHaltWithInterruptsOff) {
  kvm.steps = {exit_with(KVM_EXIT_HLT, false)};
  engine->run(Budget{});
  board.vectors = {0x40};
  hazards.set(Hazards::kInterrupt);

  const Exit exit = engine->run(Budget{});

  EXPECT_TRUE(std::holds_alternative<exit::Halted>(exit));
  EXPECT_TRUE(kvm.interrupts.empty());
}

TEST_F(KvmEngineTest, AnNmiGoesToTheKernel) {
  hazards.set(Hazards::kNmi);
  stop_after_this();

  engine->run(Budget{});

  EXPECT_EQ(kvm.nmis, 1u);
}

TEST_F(KvmEngineTest, AHazardKicksAVcpuOutOfTheGuest) {
  bool kicked = false;
  kvm.steps = {[&](kvm_run& run) {
    hazards.set(Hazards::kStop);  // as another thread would
    kicked = run.immediate_exit != 0;
    return -EINTR;
  }};

  const Exit exit = engine->run(Budget{});

  EXPECT_TRUE(kicked);
  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(exit));
}

TEST_F(KvmEngineTest, NoHazardIsMissedBetweenTheLookAndTheEntry) {
  hazards.set(Hazards::kStop);

  const Exit exit = engine->run(Budget{});

  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(exit));
  EXPECT_EQ(engine->steps(), 0u);
}

TEST_F(KvmEngineTest, AnAccessIsCompletedBeforeTheEngineIsLeft) {
  kvm.steps = {[this](kvm_run& run) {
    hazards.set(Hazards::kStop);
    return port_exit(false, 1, 1)(run);
  }};

  engine->run(Budget{});

  EXPECT_EQ(kvm.completions, 1u);
}

TEST_F(KvmEngineTest, WhatIsBeingDeliveredIsDeliveredBeforeTheEngineIsLeft) {
  kvm.steps = {[this](kvm_run&) {
                 kvm.events.interrupt.injected = 1;  // accepted, and the guest was kicked before it went in
                 hazards.set(Hazards::kStop);
                 return -EINTR;
               },
               [this](kvm_run&) {
                 kvm.events.interrupt.injected = 0;
                 return -EINTR;
               }};

  const Exit exit = engine->run(Budget{});

  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(exit));
  EXPECT_TRUE(kvm.steps.empty());
}

TEST_F(KvmEngineTest, TheTaskPriorityReachesTheApic) {
  kvm.steps = {[](kvm_run& run) {
    run.exit_reason = KVM_EXIT_SET_TPR;
    run.cr8 = 9;
    return 0;
  }};
  stop_after_this();

  engine->run(Budget{});

  EXPECT_EQ(board.cr8, 9);
}

TEST_F(KvmEngineTest, InitAndSipiStartAProcessorAtTheSipisVector) {
  hazards.set(Hazards::kInit);
  hazards.set(Hazards::kStop);
  engine->run(Budget{});
  hazards.clear(Hazards::kStop);
  VcpuState waiting;
  waiting.activity = Activity::kWaitForSipi;
  engine->run(Budget{});  // the INIT; then the script is empty
  engine->push(StateMask::kActivity, waiting);
  hazards.sipi_vector = 0x9a;
  hazards.set(Hazards::kSipi);
  stop_after_this();

  engine->run(Budget{});

  VcpuState state;
  engine->pull(StateMask::kAll, state);
  EXPECT_EQ(state.segment(x86::Seg::kCs).base, 0x9a000u);
  EXPECT_EQ(state.rip, 0u);
  EXPECT_EQ(state.activity, Activity::kRunning);
}

TEST_F(KvmEngineTest, AStoreThatFindsMemoryWhereReadsDoNotIsMade) {
  ram->map_shadow({GuestPhys(0xf0000), 0x10000}, {}, {.kind = GuestRam::Behind::Kind::kRam});
  ASSERT_TRUE(vm->remap());
  ram->start_dirty_log();
  kvm.steps = {mmio_exit(0xf1234, 4, 0x600d)};
  stop_after_this();
  engine->run(Budget{});

  u32 stored = 0;
  std::memcpy(&stored, ram->host(GuestPhys(0)) + 0xf1234, sizeof stored);
  EXPECT_EQ(stored, 0x600du);
  EXPECT_EQ(ram->take_dirty_pages()[3], u64{1} << (0xf1 - 192));
  EXPECT_TRUE(mmio_device.writes.empty());
}

TEST_F(KvmEngineTest, AStoreToRomGoesToTheBus) {
  ram->map_shadow({GuestPhys(0xf0000), 0x10000}, {.kind = GuestRam::Behind::Kind::kRam}, {});
  Recorder flash;
  ASSERT_TRUE(mmio.add(0xf0000, 0x10000, flash, "flash"));
  kvm.steps = {mmio_exit(0xf1234, 4, 0x600d)};
  stop_after_this();
  engine->run(Budget{});

  EXPECT_EQ(flash.writes, (std::vector<std::pair<u64, u64>>{{0x1234, 0x600d}}));
  EXPECT_EQ(ram->host(GuestPhys(0))[0xf1234], 0);
}

// Slots change while the vCPU is in the guest; its next entry comes after.
TEST_F(KvmEngineTest, MemoryIsRemappedOutsideOfTheGuest) {
  bool inside = false, met = false;
  kvm.on_slot = [&] { met |= inside; };
  std::thread other;
  kvm.steps.push_back([&](kvm_run& run) {
    inside = true;
    other = std::thread([&] {
      ram->map_shadow({GuestPhys(0xf0000), 0x10000}, {}, {});
      EXPECT_TRUE(vm->remap());
    });
    while (__atomic_load_n(&run.immediate_exit, __ATOMIC_SEQ_CST) == 0) std::this_thread::yield();
    inside = false;
    return -EINTR;
  });
  kvm.steps.push_back([&](kvm_run& run) {
    met |= kvm.slots.size() != 1 || kvm.slots.begin()->second.memory_size != 0xf0000;
    run.exit_reason = KVM_EXIT_INTR;
    hazards.set(Hazards::kStop);
    return -EINTR;
  });

  engine->run(Budget{});
  other.join();

  EXPECT_FALSE(met);
  EXPECT_TRUE(kvm.steps.empty());
}

TEST_F(KvmEngineTest, AShutdownAndARefusalAreTheirOwnExits) {
  kvm.steps = {exit_with(KVM_EXIT_SHUTDOWN)};
  const Exit shutdown = engine->run(Budget{});
  engine->push(StateMask::kActivity, VcpuState{});
  kvm.steps = {exit_with(KVM_EXIT_FAIL_ENTRY)};
  const Exit refusal = engine->run(Budget{});

  EXPECT_TRUE(std::holds_alternative<exit::Shutdown>(shutdown));
  EXPECT_TRUE(std::holds_alternative<exit::HostFailed>(refusal));
}

TEST_F(KvmEngineTest, WhatIsPushedThroughThePageIsReadBackFromIt) {
  kvm.sync_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
  engine.reset();
  vm = std::move(*Vm::create(kvm, *ram));
  engine = std::move(*KvmEngine::create(*vm, 0, *space, board, clock, model, hazards));
  VcpuState state = reset_state(true);
  state.gpr[x86::kRbx] = 0x1234;
  kvm.regs.rbx = 1;

  engine->push(StateMask::kGeneral, state);
  VcpuState back;
  engine->pull(StateMask::kGeneral, back);

  EXPECT_EQ(back.gpr[x86::kRbx], 0x1234u);
  EXPECT_NE(kvm.run_page().kvm_dirty_regs & KVM_SYNC_X86_REGS, 0u);
}

}  // namespace
}  // namespace vellum::kvm
