// Whatever a guest puts into its tables and onto its stack: nothing asserts, a fault changes nothing, and
// what succeeds leaves CPL, CS and SS in agreement. Reproducible: fixed seeds.
#include <functional>
#include <random>

#include "cpu/system/events.hpp"
#include "cpu/system/segments.hpp"
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::Seg;
namespace flag = x86::rflags;

class Chaos {
 public:
  explicit Chaos(unsigned seed) : random_(seed) {}

  /// One random operation in a random mode. The outcome as of Bench::run(), with the operation's name.
  std::string step() {
    enter();
    scramble();
    const auto [name, operation] = choose();
    return fmt::format("{}: {}", name, b.run(operation));
  }

  /// Protection's invariants; empty if they hold.
  std::string violation() {
    const VcpuState& s = b.v.state;
    if ((s.rflags & flag::kFixed1) == 0 || (s.rflags & ~flag::kAll) != 0) return "RFLAGS has impossible bits";
    if (s.real_mode()) return "";
    if (s.virtual_8086()) return s.cpl == 3 ? "" : "CPL in virtual-8086 mode";
    if ((b.selector(Seg::kCs) & 3) != s.cpl) return "CS.RPL is not the CPL";
    if (b.seg(Seg::kSs).dpl() != s.cpl) return "SS.DPL is not the CPL";
    if (s.mode_64() && !x86::is_canonical(s.rip)) return "RIP is not canonical";
    if (leaves_segments_) return "";
    for (const Seg seg : {Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs}) {
      const x86::Segment& d = b.seg(seg);
      if (d.usable() && !d.conforming() && d.dpl() < s.cpl) return "a data segment above the CPL";
    }
    return "";
  }

  Bench b;

 private:
  using Operation = std::function<bool()>;

  u64 number(u64 limit) { return std::uniform_int_distribution<u64>(0, limit - 1)(random_); }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return list.begin()[number(list.size())];
  }
  u16 selector() { return static_cast<u16>(number(32) * 8 + one_of<u16>({0, 0, 1, 3, 3, 4})); }
  u64 offset() {
    return one_of<u64>({0, 0x1000, 0xffff, 0x30000, 0xffffffff, 0x0000800000000000, random_()});
  }

  void enter() {
    b.v.state = reset_state(true);
    b.v.state.gdtr = {.base = Bench::kGdt, .limit = 0xff};
    b.v.state.idtr = {.base = Bench::kIdt, .limit = 0xfff};
    b.v.state.rip = Bench::kStart;
    b.v.state.msr.star = random_();
    b.v.state.msr.sysenter_cs = number(0x100);
    b.restore_gdt();
    switch (number(8)) {
      case 0:
        return b.enter_real();
      case 1:
        return b.enter_v86(static_cast<unsigned>(number(4)));
      case 2:
        return b.enter_protected_16();
      case 3:
        return b.enter_long(0);
      case 4:
        return b.enter_long(3);
      case 5:
        return b.enter_compatibility(3);
      default:
        return b.enter_protected(one_of<unsigned>({0, 1, 3}));
    }
  }

  void scramble() {
    constexpr u64 kFlags = flag::kAll & ~flag::kVm & ~flag::kIopl;
    b.v.state.rflags |= random_() & random_() & kFlags;
    if (number(2) == 0) b.v.state.cr4 |= x86::cr4::kVme | x86::cr4::kPvi;
    // A few descriptors with random types, levels and limits; the current TSS's stays.
    for (int i = 0; i < 6; ++i) {
      const u16 slot = static_cast<u16>(number(30) * 8 + 8);
      const auto attributes =
          static_cast<u16>(number(256) | ar::kPresent | one_of<u16>({0, ar::k32, ar::k64}));
      if (slot != kTssA && slot != kTssA + 8)
        b.set_descriptor(slot, attributes, one_of<u64>({0, 0x20000, random_() & 0xffffffff}),
                         one_of<u32>({0, 0xfff, 0xffff, 0xffffffff}));
    }
    for (int i = 0; i < 3; ++i)
      b.set_call_gate(static_cast<u16>(kFree + 8 * i), one_of<unsigned>({4, 5, 12}), one_of<unsigned>({0, 3}),
                      selector(), offset(), static_cast<unsigned>(number(32)));
    for (const u8 vector : {x86::kUd, x86::kGp})
      b.set_gate(vector, one_of<unsigned>({5, 6, 7, 14, 14, 15}), selector(), offset(),
                 one_of<unsigned>({0, 3}), static_cast<unsigned>(number(8)));
    for (u64 i = 0; i < 104; i += 8)
      b.write(Bench::kTssBBase + i, 8, number(2) != 0 ? random_() : selector());
    b.put_on_stack(stack_item(),
                   {offset(), selector(), random_(), b.rsp(), selector(), selector(), selector()});
  }
  unsigned stack_item() { return b.v.state.code_bytes(); }

  std::pair<const char*, Operation> choose() {
    const unsigned size = one_of<unsigned>({2, 4, stack_item()});
    leaves_segments_ = false;
    const u16 s = number(3) == 0 ? static_cast<u16>(kFree + 8 * number(3) + 3) : selector();
    const u64 target = offset();
    const Seg seg = one_of<Seg>({Seg::kSs, Seg::kDs, Seg::kFs});
    Vcpu& v = b.v;
    switch (number(10)) {
      case 0:
        return {"far jump", [=, &v] { return far_jump(v, s, target, size); }};
      case 1:
        return {"far call", [=, &v] { return far_call(v, s, target, size); }};
      case 2:
        return {"far return", [=, &v] { return far_return(v, size, 8); }};
      case 3:
      case 4:
        return {"interrupt return", [=, &v] { return interrupt_return(v, size); }};
      case 5:
        return {"exception", [&v] { return try_deliver(v, {.vector = x86::kGp, .has_error_code = true}); }};
      case 6:
        return {"INT", [&v] { return software_interrupt(v, x86::kUd, x86::EventKind::kSoftwareInterrupt); }};
      case 7:
        return {"load", [=, &v] { return load_segment(v, seg, s); }};
      case 8:
        leaves_segments_ = true;
        return {"syscall", [=, &v] { return size == 2 ? syscall(v) : sysret(v, size); }};
      default:
        leaves_segments_ = true;
        return {"sysenter", [=, &v] { return size == 2 ? sysenter(v) : sysexit(v, size); }};
    }
  }

  std::mt19937_64 random_;
  bool leaves_segments_ = false;  ///< SYSRET and SYSEXIT don't look at DS and its like
};

struct Random : testing::TestWithParam<unsigned> {};

TEST_P(Random, FaultsChangeNothingAndSuccessKeepsTheInvariants) {
  Chaos chaos(GetParam());
  unsigned succeeded = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::string outcome = chaos.step();
    ASSERT_EQ(outcome.find("changed the state"), std::string::npos) << "step " << i << ": " << outcome;
    if (!outcome.ends_with(": ok")) continue;
    ++succeeded;
    ASSERT_EQ(chaos.violation(), "") << "step " << i << ": " << outcome;
  }
  EXPECT_GT(succeeded, 150u) << "the generator makes too few valid cases";
}

TEST_P(Random, EventsAreDeliveredOrShutDown) {
  Chaos chaos(GetParam() + 1000);
  for (int i = 0; i < 400; ++i) {
    (void)chaos.step();
    const auto reason = deliver_event(chaos.b.v, {.vector = x86::kUd});
    ASSERT_EQ(reason.has_value(), chaos.b.v.state.activity == Activity::kShutdown);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Random, testing::Range(1u, 5u));

}  // namespace
}  // namespace vellum::test
