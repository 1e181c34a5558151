// Calls and returns by the host's own CALL and RET. What they may not do to the guest is in
// tests/guest/returns.asm.
#include <cstring>
#include <thread>

#include "long_guest.hpp"

namespace vellum::bt {
namespace {

struct ReturnOptions {
  const char* name;
  bool returns, by_loop;
};

class BtReturns : public LongGuest, public testing::WithParamInterface<ReturnOptions> {
 protected:
  static constexpr u64 kDeepStack = 0x200000;

  explicit BtReturns(Options::Memory memory = Options::Memory::kAuto)
      : LongGuest({.cache_bytes = 4 << 20,
                   .threshold = 0,
                   .memory = memory,
                   .count = Options::Count::kOff,
                   .returns = GetParam().returns,
                   .by_loop = GetParam().by_loop}) {
    put64(kPd + 8, 0x200083);
    state_.gpr[x86::kRsp] = kDeepStack;
  }
  void call(u64 at, u64 target) {
    code({0xe8}, at);
    const auto distance = static_cast<u32>(target - (at + 5));
    std::memcpy(ram_->host(GuestPhys(at + 1)), &distance, 4);
  }
};

TEST_P(BtReturns, RecursionDeeperThanTheStackOfReturnsComesBack) {
  // f: DEC ECX; JZ out; CALL f; out: INC RAX; RET
  call(kCode, kCode + 0x40);
  code({0xf4}, kCode + 5);
  code({0xff, 0xc9, 0x74, 0x05}, kCode + 0x40);
  call(kCode + 0x44, kCode + 0x40);
  code({0x48, 0xff, 0xc0, 0xc3}, kCode + 0x49);
  state_.gpr[x86::kRcx] = 50'000;

  run(~u64{0});

  EXPECT_EQ(rax(), 50'000u);
  EXPECT_EQ(state_.gpr[x86::kRsp], kDeepStack);
  EXPECT_EQ(state_.rip, kCode + 6);
  EXPECT_LT(count("entries"), 100u);
}

// Nothing becomes hot, which would leave translated code.
struct BtReturnsCold : BtReturns {
  BtReturnsCold() : BtReturns(Options::Memory::kHashed) {}
};

// Functions that call the next one, and those with their bit in RBX once more, each behind the one before:
// with all bits 2^60 calls, and not one backwards. All ways are linked before.
TEST_P(BtReturnsCold, CallsForwardCanBeStopped) {
  constexpr u64 kFunctions = 60;
  const auto function = [](u64 n) { return kCode + 0x100 + 32 * n; };
  const auto start = [&](u64 twice) {
    state_.rip = kCode;
    state_.activity = Activity::kRunning;
    state_.gpr[x86::kRbx] = twice;
    state_.gpr[x86::kRax] = 0;
    return run(~u64{0});
  };
  call(kCode, function(0));
  code({0xf4}, kCode + 5);
  for (u64 n = 0; n < kFunctions; ++n) {
    call(function(n), function(n + 1));
    code({0x48, 0x0f, 0xba, 0xe3, static_cast<int>(n), 0x73, 0x05}, function(n) + 5);  // BT RBX, n; JNC out
    call(function(n) + 12, function(n + 1));
    code({0xc3}, function(n) + 17);
  }
  code({0x48, 0xff, 0xc0, 0xc3}, function(kFunctions));
  for (u64 n = 0; n < 4 * kFunctions; ++n) {
    start(bit(n % kFunctions));
    ASSERT_EQ(rax(), 2u);
  }
  const u64 entries = count("entries");
  std::thread stopper([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    hazards_.set(Hazards::kStop);
  });

  const Exit e = start(~u64{0});

  stopper.join();
  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(e));
  EXPECT_GT(rax(), 0u);
  EXPECT_LT(count("entries") - entries, 200u) << "it has been in translated code all the time";
}

// An NMI waits for the handler of the last one to return, which calls something first.
TEST_P(BtReturns, ACallGoesOnWhileWhatPendsIsNotDeliverable) {
  call(kCode, kCode + 0x40);
  code({0xf4}, kCode + 5);
  code({0xc3}, kCode + 0x40);
  state_.nmi_blocked = true;
  hazards_.set(Hazards::kNmi);
  std::thread stopper([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    hazards_.set(Hazards::kStop);
  });

  run(~u64{0});

  stopper.join();
  EXPECT_EQ(state_.rip, kCode + 6);
}

// loop: CALL f; DEC ECX; JNZ loop; HLT … f: JMP g … g: INC RAX; RET, of which each becomes hot at another
// time.
TEST_P(BtReturns, UnitsThatAreTranslatedAgainGoOnToEachOther) {
  call(kCode, kCode + 0x40);
  code({0xff, 0xc9, 0x75, 0xf7, 0xf4}, kCode + 5);
  code({0xeb, 0x3e}, kCode + 0x40);
  code({0x48, 0xff, 0xc0, 0x48, 0x8b, 0x14, 0x24, 0xc3}, kCode + 0x80);
  for (const u64 rounds : {10, 30'000}) {
    state_.rip = kCode;
    state_.activity = Activity::kRunning;
    state_.gpr[x86::kRax] = 0;
    state_.gpr[x86::kRcx] = rounds;
    run(~u64{0});
    EXPECT_EQ(rax(), rounds);
  }
  EXPECT_GT(count("hot units translated"), 2u);
  EXPECT_LT(count("entries"), 100u);
}

const auto kForms = testing::Values(ReturnOptions{"loop", true, true}, ReturnOptions{"jrcxz", true, false},
                                    ReturnOptions{"off", false, true});
constexpr auto kNameOf = [](const auto& form) { return std::string(form.param.name); };
INSTANTIATE_TEST_SUITE_P(Forms, BtReturns, kForms, kNameOf);
INSTANTIATE_TEST_SUITE_P(Forms, BtReturnsCold, kForms, kNameOf);

}  // namespace
}  // namespace vellum::bt
