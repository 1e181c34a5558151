// What translated code does by itself at the edge between kernel and user: SYSCALL, SYSRET, STAC, CLAC, POPF
// and the bases of segments. The interpreter, from the same state, says what is right.
#include <algorithm>

#include "assembled_guest.hpp"
#include "x86/msr.hpp"

namespace vellum::bt {
namespace {

using namespace x86::rflags;

struct Variant {
  std::string_view name;
  Options::Memory memory;
  Options::Count count;
};

Options options_of(const Variant& variant) {
  return {.cache_bytes = 4 << 20, .threshold = 0, .memory = variant.memory, .count = variant.count};
}

// User code at kCode, in the lower half; a kernel in the upper half, which maps the same 2 MiB for itself.
// The kernel's entry halts if RBP is not 0.
class BtPrivilege : public AssembledGuest, public ::testing::WithParamInterface<Variant> {
 protected:
  static constexpr u64 kUpper = 0xffff'ffff'8000'0000, kEntry = 0x20000, kTss = 0x5000, kUserStack = 0x40000,
                       kKernelStack = 0x60000, kOtherData = 0x200000, kRounds = 200, kShared = 0x32000;
  static constexpr u64 kMask = kTf | kIf | kDf | kAc | kNt | kIopl | kArithmetic;

  BtPrivilege() : AssembledGuest(options_of(GetParam()), "x86-64-v3") {
    put64(kPml4, kPdpt | 7);
    put64(kPdpt, kPd | 7);
    put64(kPd, 0x87);
    put64(kPml4 + 8 * 511, 0xb000 | 3);
    put64(0xb000 + 8 * 510, 0xc000 | 3);
    put64(0xc000, 0x83);
    // Other tables, at the same distances, map the lower half to the second 2 MiB.
    put64(0xd000, 0xe000 | 7);
    put64(0xd000 + 8 * 511, 0xb000 | 3);
    put64(0xe000, 0xf000 | 7);
    put64(0xf000, kOtherData | 0x87);
    put64(kTss + 4, kUpper + kKernelStack);
    VcpuState& s = state_;
    s.cr4 |= x86::cr4::kSmap | x86::cr4::kFsgsbase | x86::cr4::kPge;
    s.msr.efer |= x86::efer::kSce;
    s.msr.star = u64{0x18} << 48 | u64{8} << 32;
    s.msr.lstar = kUpper + kEntry;
    s.msr.sfmask = kMask;
    s.gdtr.base = kUpper + kGdt;
    s.idtr.base = kUpper + kIdt;
    s.tr = {.selector = 0x40, .attributes = 0x8b, .limit = 0x67, .base = kUpper + kTss};
    s.rflags = kFixed1 | kIf;
    become(3);
  }
  void become(unsigned cpl) {
    VcpuState& s = state_;
    s.cpl = static_cast<u8>(cpl);
    const auto dpl = static_cast<u16>(cpl << 5);
    s.segment(x86::Seg::kCs) = {.selector = static_cast<u16>(cpl == 3 ? 0x2b : 8),
                                .attributes = static_cast<u16>(0xa09b | dpl),
                                .limit = 0xffffffff};
    s.segment(x86::Seg::kSs) = {.selector = static_cast<u16>(cpl == 3 ? 0x23 : 16),
                                .attributes = static_cast<u16>(0xc093 | dpl),
                                .limit = 0xffffffff};
    s.gpr[x86::kRsp] = cpl == 3 ? kUserStack : kUpper + kKernelStack;
    s.rip = cpl == 3 ? kCode : kUpper + kEntry;
  }

  // User code: RBX system calls, then `last`, and one that halts, by which R8 has the flags.
  template <class F>
  void user(F last) {
    program([&](a::Assembler& as) {
      const asmjit::Label loop = as.newLabel();
      as.bind(loop);
      as.syscall();
      as.dec(a::rbx);
      as.jnz(loop);
      last(as);
      as.pushfq();
      as.pop(a::r8);
      as.mov(a::ebp, 1);
      as.syscall();
    });
    state_.gpr[x86::kRbx] = kRounds;
  }
  // Kernel code: counts in R10, and does `other` instead of going back if RSI is not 0; R9 has the flags, R13
  // the user's RSP.
  template <class F>
  void kernel(F other) {
    program(
        [&](a::Assembler& as) {
          const asmjit::Label halt = as.newLabel(), special = as.newLabel();
          as.mov(a::r13, a::rsp);
          as.mov(a::rsp, asmjit::imm(kUpper + kKernelStack));
          as.pushfq();
          as.pop(a::r9);
          as.test(a::ebp, a::ebp);
          as.jnz(halt);
          as.inc(a::r10);
          as.test(a::esi, a::esi);
          as.jnz(special);
          go_back(as);
          as.bind(special);
          other(as);
          as.bind(halt);
          as.hlt();
        },
        kEntry);
  }
  static void go_back(a::Assembler& as) {
    as.mov(a::rsp, a::r13);
    as.sysretq();
  }

  struct Outcome {
    VcpuState state;
    std::vector<u8> data;  ///< of kData's page
  };
  template <class E>
  Outcome outcome(E& engine, const std::vector<u8>& memory) {
    std::memcpy(ram_->host(GuestPhys(0)), memory.data(), memory.size());
    ram_->note_store(GuestPhys(kCode), kPageSize);
    ram_->note_store(GuestPhys(kEntry), kPageSize);
    hazards_.clear(Hazards::kInterrupt);
    if (pending_) hazards_.set(Hazards::kInterrupt);
    VcpuState start = state_;
    engine.push(StateMask::kAll, start);
    Outcome result;
    engine.run(Budget{});
    engine.pull(StateMask::kAll, result.state);
    const u8* const data = ram_->host(GuestPhys(kData));
    result.data.assign(data, data + kPageSize);
    return result;
  }
  // Runs both until they halt. What the translator came to.
  VcpuState alike() {
    std::vector<u8> memory(ram_->host(GuestPhys(0)), ram_->host(GuestPhys(0)) + (4 << 20) - 1);
    interp::Interpreter interpreter(0, space_, board_, clock_, model_, hazards_);
    const Outcome expected = outcome(interpreter, memory);
    const Outcome seen = outcome(engine_, memory);
    EXPECT_EQ(seen.state.gpr, expected.state.gpr);
    EXPECT_EQ(seen.state.rip, expected.state.rip);
    EXPECT_EQ(seen.state.rflags, expected.state.rflags);
    EXPECT_EQ(seen.state.cpl, expected.state.cpl);
    EXPECT_EQ(seen.state.cr2, expected.state.cr2);
    EXPECT_TRUE(seen.state.seg == expected.state.seg);
    EXPECT_TRUE(seen.state.msr == expected.state.msr);
    EXPECT_EQ(seen.state.activity, expected.state.activity);
    EXPECT_EQ(seen.data, expected.data);
    std::memcpy(ram_->host(GuestPhys(0)), memory.data(), memory.size());
    return seen.state;
  }

  bool pending_ = false;  ///< an interrupt waits from the start on
};

INSTANTIATE_TEST_SUITE_P(All, BtPrivilege,
                         ::testing::Values(Variant{"hashed", Options::Memory::kHashed, Options::Count::kOff},
                                           Variant{"flat", Options::Memory::kFlat, Options::Count::kOff},
                                           Variant{"counted", Options::Memory::kHashed, Options::Count::kOn},
                                           Variant{"flat_counted", Options::Memory::kFlat,
                                                   Options::Count::kOn}),
                         [](const auto& variant) { return std::string(variant.param.name); });

constexpr auto kNothing = [](a::Assembler&) {};

TEST_P(BtPrivilege, SystemCallsStayInTranslatedCode) {
  user(kNothing);
  kernel(kNothing);
  state_.gpr[x86::kRbx] = 5000;
  const VcpuState end = alike();
  EXPECT_EQ(end.gpr[x86::kR10], 5000u);
  EXPECT_LT(count("callouts"), 30u);
  EXPECT_LT(count("entries"), 30u);
}

TEST_P(BtPrivilege, FlagsOfSystemCalls) {
  user(kNothing);
  kernel(kNothing);
  for (const u64 flags : {u64{0}, kIf, kArithmetic | kIf, kCf | kOf, kDf | kIf | kSf, kId | kIf | kPf | kAf,
                          kAc | kIf, kIopl | kIf | kZf, kNt | kIf})
    for (const u64 mask : {u64{0}, kMask, kMask & ~kAc, kMask & ~kArithmetic, kMask | kRf, ~u64{0} >> 32}) {
      SCOPED_TRACE(fmt::format("RFLAGS {:x}, IA32_FMASK {:x}", flags, mask));
      state_.rflags = flags | kFixed1;
      state_.msr.sfmask = mask;
      alike();
    }
}

TEST_P(BtPrivilege, WhatSystemCallsNeed) {
  user(kNothing);
  kernel(kNothing);
  state_.msr.star = u64{0x3b} << 48 | u64{0x13} << 32;  // RPLs that are not what they become
  alike();
  state_.cr4 &= ~x86::cr4::kSmap;
  alike();
  state_.msr.efer &= ~x86::efer::kSce;
  const VcpuState end = alike();
  EXPECT_EQ(end.rip, kHandlers + x86::kUd + 1);
}

// After enough system calls for all to be known, one returns with RCX and R11 as the test says.
TEST_P(BtPrivilege, ReturnsWithUnusualFlags) {
  user([](a::Assembler& as) {
    as.mov(a::esi, 1);
    as.syscall();
    as.nop();
  });
  kernel([](a::Assembler& as) {
    as.mov(a::r11, a::r14);
    go_back(as);
  });
  for (unsigned bit = 0; bit < 64; ++bit)
    for (const bool pends : {false, true}) {
      SCOPED_TRACE(fmt::format("bit {}, pending {}", bit, pends));
      pending_ = pends;
      board_.vector = 0x40;
      state_.rflags = kFixed1;  // no interrupt before
      state_.gpr[x86::kR14] = u64{1} << bit;
      alike();
    }
  pending_ = false;
  state_.gpr[x86::kR14] = kArithmetic | kIf | kDf;
  alike();
}

TEST_P(BtPrivilege, ReturnsToUnusualPlaces) {
  user([](a::Assembler& as) {
    as.mov(a::esi, 1);
    as.syscall();
  });
  kernel([](a::Assembler& as) {
    as.mov(a::rcx, a::r14);
    go_back(as);
  });
  program(
      [](a::Assembler& as) {
        as.mov(a::ebp, 1);
        as.syscall();
      },
      0x30000);
  for (const u64 rip : {u64{0x30000}, u64{0x7fff'ffff'f000}, u64{0x8000'0000'0000},
                        u64{0xffff'7fff'ffff'ffff}, kUpper + kEntry}) {
    SCOPED_TRACE(fmt::format("RIP {:x}", rip));
    state_.gpr[x86::kR14] = rip;
    alike();
  }
}

TEST_P(BtPrivilege, NarrowReturnsAreTheHandlers) {
  user([](a::Assembler& as) {
    as.mov(a::esi, 1);
    as.syscall();
  });
  kernel([](a::Assembler& as) { as.sysret(); });
  const VcpuState end = alike();
  EXPECT_EQ(end.cpl, 0u) << "32-bit code there is: the flags' PUSHFQ is a PUSHFD of compatibility mode";
}

TEST_P(BtPrivilege, TheKernelMayNotReadTheUsersMemory) {
  user([](a::Assembler& as) {
    as.mov(a::rax, a::ptr_abs(kData));
    as.mov(a::esi, 1);
    as.syscall();
  });
  kernel([](a::Assembler& as) { as.mov(a::rdi, a::ptr_abs(kData)); });
  const VcpuState end = alike();
  EXPECT_EQ(end.rip, kHandlers + x86::kPf + 1);
  EXPECT_EQ(end.cr2, kData);
}

TEST_P(BtPrivilege, TheUserMayNotReadTheKernelsMemory) {
  user([](a::Assembler& as) {
    as.mov(a::esi, 1);
    as.syscall();
    as.mov(a::rdi, asmjit::imm(kUpper + kData));
    as.mov(a::rax, a::ptr(a::rdi));
  });
  kernel([](a::Assembler& as) {
    as.mov(a::rdi, asmjit::imm(kUpper + kData));
    as.mov(a::rax, a::ptr(a::rdi));
    go_back(as);
  });
  put64(kData, 0x1234);
  const VcpuState end = alike();
  EXPECT_EQ(end.rip, kHandlers + x86::kPf + 1);
  EXPECT_EQ(end.cr2, kUpper + kData);
}

// Rounds of STAC, an access, CLAC; then one more access.
TEST_P(BtPrivilege, AccessIsWhatTheFlagSays) {
  user([](a::Assembler& as) {
    as.mov(a::esi, 1);
    as.syscall();
  });
  kernel([](a::Assembler& as) {
    const asmjit::Label loop = as.newLabel();
    as.mov(a::ebx, 300);
    as.bind(loop);
    as.stac();
    as.inc(a::ptr_abs(kData, 4));
    as.clac();
    as.dec(a::ebx);
    as.jnz(loop);
    as.inc(a::ptr_abs(kData + 8, 4));
  });
  const VcpuState end = alike();
  EXPECT_EQ(end.rip, kHandlers + x86::kPf + 1);
  EXPECT_LT(count("callouts"), 40u);
}

// A return that nobody expected looks its target up in C++, which the kernel was the last to call.
TEST_P(BtPrivilege, TheUserMayNotReturnToTheKernelsCode) {
  user([](a::Assembler& as) {
    as.mov(a::esi, 1);
    as.syscall();
    as.push(a::r15);
    as.ret();
  });
  kernel([](a::Assembler& as) {
    as.mov(a::r15, asmjit::imm(kUpper + kShared));
    as.call(a::r15);
    go_back(as);
  });
  program([](a::Assembler& as) { as.ret(); }, kShared);
  const VcpuState end = alike();
  EXPECT_EQ(end.rip, kHandlers + x86::kPf + 1);
  EXPECT_EQ(end.cr2, kUpper + kShared);
}

TEST_P(BtPrivilege, UsersMayNotChangeTheAccessFlag) {
  user([](a::Assembler& as) { as.stac(); });
  kernel(kNothing);
  EXPECT_EQ(alike().rip, kHandlers + x86::kUd + 1);
}

// The kernel changes what the user's accesses depend on, and returns.
class BtPrivilegeChanged : public BtPrivilege {
 protected:
  template <class F>
  VcpuState after(F change) {
    put64(kData, 0x1111);
    put64(kOtherData + kData, 0x2222);
    put64(kOtherData + kCode, at64(kCode));
    user([](a::Assembler& as) {
      as.mov(a::rax, a::ptr_abs(kData));
      as.mov(a::esi, 1);
      as.syscall();
      as.mov(a::rax, a::ptr_abs(kData));
      as.nop();
    });
    std::memcpy(ram_->host(GuestPhys(kOtherData + kCode)), ram_->host(GuestPhys(kCode)), kPageSize);
    kernel([&](a::Assembler& as) {
      change(as);
      as.xor_(a::esi, a::esi);
      go_back(as);
    });
    return alike();
  }
};
INSTANTIATE_TEST_SUITE_P(All, BtPrivilegeChanged,
                         ::testing::Values(Variant{"hashed", Options::Memory::kHashed, Options::Count::kOff},
                                           Variant{"flat", Options::Memory::kFlat, Options::Count::kOff},
                                           Variant{"counted", Options::Memory::kHashed, Options::Count::kOn}),
                         [](const auto& variant) { return std::string(variant.param.name); });

TEST_P(BtPrivilegeChanged, TheAddressSpace) {
  const VcpuState end = after([](a::Assembler& as) {
    as.mov(a::eax, 0xd000);
    as.mov(a::cr3, a::rax);
  });
  EXPECT_EQ(end.gpr[x86::kRax], 0x2222u);
}

// What was known of accesses under AC was the old address space's.
TEST_P(BtPrivilegeChanged, TheAddressSpaceThatTheKernelReads) {
  const VcpuState end = after([](a::Assembler& as) {
    for (const u32 tables : {0xd000u, static_cast<u32>(kPml4)}) {
      as.stac();
      as.mov(a::r14, a::ptr_abs(kData));
      as.clac();
      as.mov(a::eax, tables);
      as.mov(a::cr3, a::rax);
      as.stac();
      as.mov(a::r15, a::ptr_abs(kData));
      as.clac();
      as.push(a::r15);
    }
    as.pop(a::r15);
    as.pop(a::r14);
  });
  EXPECT_EQ(end.gpr[x86::kR14], 0x2222u);
  EXPECT_EQ(end.gpr[15], 0x1111u);
}

TEST_P(BtPrivilegeChanged, AMapping) {
  const VcpuState end = after([](a::Assembler& as) {
    as.mov(a::rax, asmjit::imm(kUpper + kPd));
    as.mov(a::qword_ptr(a::rax), 0x83);
    as.invlpg(a::ptr_abs(kData));
  });
  EXPECT_EQ(end.rip, kHandlers + x86::kPf + 1);
}

// A small page, for which nothing else is forgotten than what was known of code.
TEST_P(BtPrivilegeChanged, TheMappingOfCode) {
  constexpr u64 kTable = 0x70000;
  for (u64 n = 0; n < 512; ++n) put64(kTable + 8 * n, n * kPageSize | 7);
  put64(kPd, kTable | 7);
  program([](a::Assembler& as) {
    const asmjit::Label loop = as.newLabel();
    as.bind(loop);
    as.syscall();
    as.clc();
    as.nop();
    as.adc(a::edi, 0);
    as.dec(a::rbx);
    as.jnz(loop);
    as.mov(a::ebp, 1);
    as.syscall();
  });
  state_.gpr[x86::kRbx] = kRounds;
  const u8* const page = ram_->host(GuestPhys(kCode));
  u8* const other = ram_->host(GuestPhys(kOtherData + kCode));
  std::memcpy(other, page, kPageSize);
  constexpr u8 kClear[] = {0xf8, 0x90}, kSet = 0xf9;
  *std::search(other, other + kPageSize, std::begin(kClear), std::end(kClear)) = kSet;
  program(
      [&](a::Assembler& as) {
        const asmjit::Label halt = as.newLabel(), change = as.newLabel();
        as.test(a::ebp, a::ebp);
        as.jnz(halt);
        as.inc(a::r10);
        as.cmp(a::r10, kRounds - 10);
        as.je(change);
        as.sysretq();
        as.bind(change);
        as.mov(a::rax, asmjit::imm(kUpper + kTable + 8 * (kCode / kPageSize)));
        as.mov(a::qword_ptr(a::rax), (kOtherData + kCode) | 7);
        as.invlpg(a::ptr_abs(kCode));
        as.sysretq();
        as.bind(halt);
        as.hlt();
      },
      kEntry);
  EXPECT_EQ(alike().gpr[x86::kRdi], 11u);
}

TEST_P(BtPrivilegeChanged, ADataBreakpoint) {
  const VcpuState end = after([](a::Assembler& as) {
    as.mov(a::eax, kData);
    as.mov(a::dr0, a::rax);
    as.mov(a::eax, 0x30003);
    as.mov(a::dr7, a::rax);
  });
  EXPECT_EQ(end.rip, kHandlers + x86::kDb + 1);
}

TEST_P(BtPrivilegeChanged, SupervisorAccessPrevention) {
  const VcpuState end = after([](a::Assembler& as) {
    as.mov(a::rax, a::cr4);
    as.btr(a::rax, 21);
    as.mov(a::cr4, a::rax);
    as.mov(a::r15, a::ptr_abs(kData));
  });
  EXPECT_EQ(end.gpr[15], 0x1111u);
}

TEST_P(BtPrivilegeChanged, WhereSystemCallsGo) {
  program([](a::Assembler& as) { as.hlt(); }, kEntry + 0x1000);
  const VcpuState end = after([](a::Assembler& as) {
    as.mov(a::r14, a::rcx);
    as.mov(a::r15, a::r11);
    as.mov(a::ecx, x86::msr::kLstar);
    as.mov(a::rax, asmjit::imm(kUpper + kEntry + 0x1000));
    as.mov(a::rdx, a::rax);
    as.shr(a::rdx, 32);
    as.wrmsr();
    as.mov(a::rcx, a::r14);
    as.mov(a::r11, a::r15);
  });
  EXPECT_EQ(end.rip, kUpper + kEntry + 0x1001);
}

// --- POPFQ ---

TEST_P(BtPrivilege, PoppedFlags) {
  program(
      [](a::Assembler& as) {
        as.push(a::rdx);
        as.popfq();
        as.pushfq();
        as.pop(a::rax);
        as.nop();
        as.hlt();
      },
      kEntry);
  for (const unsigned cpl : {0u, 3u})
    for (const u64 before : {u64{0}, kIf, kArithmetic | kDf, kIopl | kIf, kId | kNt, kAc})
      for (unsigned bit = 0; bit < 24; ++bit)
        for (const bool pends : {false, true}) {
          SCOPED_TRACE(fmt::format("CPL {}, {:x}, bit {}, pending {}", cpl, before, bit, pends));
          become(cpl);
          state_.rip = cpl == 0 ? kUpper + kEntry : kEntry;
          state_.rflags = before | kFixed1;
          pending_ = pends && (before & kIf) == 0;
          board_.vector = 0x40;
          state_.gpr[x86::kRdx] = (before ^ u64{1} << bit) | kFixed1;
          alike();
        }
}

TEST_P(BtPrivilege, FlagsArePoppedWithoutLeaving) {
  become(0);
  program(
      [](a::Assembler& as) {
        const asmjit::Label loop = as.newLabel();
        as.mov(a::ecx, 3000);
        as.bind(loop);
        as.pushfq();
        as.cli();
        as.popfq();
        as.dec(a::ecx);
        as.jnz(loop);
        as.hlt();
      },
      kEntry);
  const VcpuState end = alike();
  EXPECT_NE(end.rflags & kIf, 0u);
  EXPECT_LT(count("callouts"), 10u);
}

// --- Bases ---

constexpr u64 kBases[] = {
    0, 0x1234, 0x7fff'ffff'ffff, 0x8000'0000'0000, 0xffff'7fff'ffff'ffff, 0xffff'8000'0000'0000, ~u64{0}};

TEST_P(BtPrivilege, BasesByInstructions) {
  const auto write_and_read = [](a::Assembler& as) {
    as.wrfsbase(a::rdx);
    as.wrgsbase(a::edx);
    as.mov(a::r14, a::rdx);
    as.wrgsbase(a::r14);
    as.wrfsbase(a::r15d);
    as.rdfsbase(a::rax);
    as.rdgsbase(a::r11);
    as.rdgsbase(a::ecx);
    as.rdfsbase(a::r14d);
    as.hlt();
  };
  program(write_and_read, kEntry);
  for (const unsigned cpl : {0u, 3u})
    for (const u64 allowed : {x86::cr4::kFsgsbase, u64{0}})
      for (const u64 base : kBases) {
        SCOPED_TRACE(fmt::format("CPL {}, {:x}, CR4 {:x}", cpl, base, allowed));
        become(cpl);
        state_.rip = cpl == 0 ? kUpper + kEntry : kEntry;
        state_.cr4 = (state_.cr4 & ~x86::cr4::kFsgsbase) | allowed;
        state_.gpr[x86::kRdx] = state_.gpr[15] = base;
        alike();
      }
}

TEST_P(BtPrivilege, BasesByRegisterNumber) {
  program(
      [](a::Assembler& as) {
        as.wrmsr();
        as.xor_(a::edx, a::edx);
        as.rdmsr();
        as.hlt();
      },
      kEntry);
  for (const unsigned cpl : {0u, 3u})
    for (const u32 number : {x86::msr::kFsBase - 1, x86::msr::kFsBase, x86::msr::kGsBase,
                             x86::msr::kKernelGsBase, x86::msr::kTscAux, 0x100u, x86::msr::kLstar})
      for (const u64 base : kBases) {
        SCOPED_TRACE(fmt::format("CPL {}, {:x} to MSR {:x}", cpl, base, number));
        become(cpl);
        state_.rip = cpl == 0 ? kUpper + kEntry : kEntry;
        state_.gpr[x86::kRcx] = 0xabcd'0000'0000'0000 | number;
        state_.gpr[x86::kRax] = base | 0x5555'0000'0000'0000;
        state_.gpr[x86::kRdx] = base >> 32;
        alike();
      }
}

}  // namespace
}  // namespace vellum::bt
