// Time under the virtual clock with the real engines: it passes even in a guest that retires nothing.
#include <gtest/gtest.h>

#include "machine/board.hpp"
#include "machine/vcpu_runner.hpp"

namespace vellum {
namespace {

class NoControl final : public MachineControl {
 public:
  void power_off() override {}
  void reset() override {}
  void debug_exit(u32) override {}
};

class NoSink final : public ByteSink {
 public:
  void write(std::span<const u8>) override {}
};

class VirtualTime : public ::testing::TestWithParam<const char*> {
 protected:
  VirtualTime() {
    config.memory = 16 << 20;
    config.clock = ClockKind::kVirtual;
    config.engine = GetParam();
    board = std::move(Board::create(config, {control, sink, nullptr, VirtualClock::kEpochSeconds})).value();
  }

  /// Real mode, interrupts disabled, at code whose #UD handler is itself.
  void fault_for_ever() {
    constexpr u16 kCode = 0x1000;
    u8* low = board->ram().host(GuestPhys(0));
    const u8 gate[] = {kCode & 0xff, kCode >> 8, 0, 0};
    std::copy_n(gate, 4, low + 4 * 6 /* #UD */);
    low[kCode] = 0x0f;  // UD2
    low[kCode + 1] = 0x0b;
    Engine& engine = *board->vcpus().front()->engine;
    VcpuState state;
    engine.pull(StateMask::kAll, state);
    state.segment(x86::Seg::kCs) = state.segment(x86::Seg::kDs);
    state.segment(x86::Seg::kCs).attributes |= 8;
    state.rip = kCode;
    state.segment(x86::Seg::kSs).base = 0x20000;  // frames go round and round there
    engine.push(StateMask::kAll, state);
  }

  MachineConfig config;
  NoControl control;
  NoSink sink;
  std::unique_ptr<Board> board;
};

TEST_P(VirtualTime, PassesInAGuestThatFaultsForEver) {
  fault_for_ever();
  const EventFd ended = std::move(EventFd::create()).value();
  RunControl run_control(board->hazards(), 1, ended);
  std::vector<u64> fired;
  Timer timer(*board->virtual_clock(), [&] {
    fired.push_back(board->clock().now_ns());
    if (fired.size() == 3) run_control.request({Outcome::Kind::kPowerOff, 0, {}});
    timer.arm(fired.back() + 1'000'000);
  });
  timer.arm(1'000'000);
  LockstepRunner runner(board->vcpus(), run_control, *board->virtual_clock(), [] { return false; });
  runner.start();
  runner.join();
  EXPECT_EQ(fired, (std::vector<u64>{1'000'000, 2'000'000, 3'000'000}));
  EXPECT_EQ(board->vcpus().front()->engine->retired(), 0u);
  EXPECT_EQ(run_control.outcome()->kind, Outcome::Kind::kPowerOff);
}

INSTANTIATE_TEST_SUITE_P(Engines, VirtualTime, ::testing::Values("interp", "bt"),
                         [](const auto& engine) { return std::string(engine.param); });

}  // namespace
}  // namespace vellum
