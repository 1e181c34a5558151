// Vector and x87 state in the host's registers: that it is there when an instruction needs it, in memory when
// anything else looks, and that what must not run natively does not.
#include <cstring>

#include "assembled_guest.hpp"

namespace vellum::bt {
namespace {

class BtVector : public AssembledGuest {
 protected:
  BtVector() {
    state_.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxmmexcpt;
    state_.xsave.fcw() = 0x37f;
    state_.xsave.ftw() = 0;
    put64(kData, kOne);
    put64(kData + 8, kTwo);
  }

  static constexpr u64 kOne = 0x3ff0000000000000, kTwo = 0x4000000000000000, kThree = 0x4008000000000000;
  static constexpr u64 kNowhere = 0x400000;  // not mapped

  u64 xmm(unsigned n) {
    u64 value;
    std::memcpy(&value, state_.xsave.xmm(n), 8);
    return value;
  }
  static a::Mem data(unsigned offset = 0, unsigned bytes = 8) { return a::ptr_abs(kData + offset, bytes); }
  static a::Mem nowhere() { return a::ptr_abs(kNowhere); }
};

TEST_F(BtVector, LoadedOnceForALoop) {
  program([](a::Assembler& as) {
    const asmjit::Label loop = as.newLabel();
    as.mov(a::ecx, 1000);
    as.bind(loop);
    as.addsd(a::xmm0, data());
    as.dec(a::ecx);
    as.jnz(loop);
    as.hlt();
  });
  run();
  EXPECT_EQ(xmm(0), 0x408f400000000000u) << "1000.0";
  EXPECT_LT(count("vector state loaded"), 10u) << "again only where jumps are linked";
  EXPECT_LT(count("callouts"), 10u);
}

TEST_F(BtVector, StateIsInMemoryForACalloutAndBackBehindIt) {
  program([](a::Assembler& as) {
    as.movsd(a::xmm0, data());
    as.movsd(a::xmm9, data(8));
    as.fxsave64(a::ptr_abs(kData + 0x100));
    as.addsd(a::xmm0, a::xmm9);
    as.hlt();
  });
  run();
  EXPECT_EQ(at64(kData + 0x100 + 160), kOne);
  EXPECT_EQ(at64(kData + 0x100 + 160 + 16 * 9), kTwo);
  EXPECT_EQ(xmm(0), kThree);
  EXPECT_EQ(count("vector state loaded"), 2u);
}

TEST_F(BtVector, StateIsBackBehindWhatSometimesCallsOut) {
  program([](a::Assembler& as) {
    as.movsd(a::xmm0, data());
    as.fld(data(8));
    as.mov(a::rax, asmjit::imm(u64{1} << 62));
    as.mov(a::rdx, -1);
    as.mov(a::edi, 4);
    as.idiv(a::rdi);  // by the handler: the dividend is not a sign-extended half
    as.addsd(a::xmm0, data(8));
    as.rdtsc();  // by the handler, as the clock is virtual
    as.addsd(a::xmm0, data(8));
    as.fstp(data(24));
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), -1);
  EXPECT_EQ(xmm(0), 0x4014000000000000u) << "5.0";
  EXPECT_EQ(at64(kData + 24), kTwo);
}

TEST_F(BtVector, FaultFindsWhatWasComputedBeforeIt) {
  u64 faulting = 0;
  program([&](a::Assembler& as) {
    as.movsd(a::xmm1, data());
    as.addsd(a::xmm1, data(8));
    faulting = kCode + as.offset();
    as.addsd(a::xmm1, nowhere());
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(frame()[1], faulting);
  EXPECT_EQ(xmm(1), kThree);
}

TEST_F(BtVector, MisalignedOperandIsAGeneralProtectionFault) {
  u64 faulting = 0;
  program([&](a::Assembler& as) {
    as.movups(a::xmm1, data(4, 16));
    faulting = kCode + as.offset();
    as.addps(a::xmm1, data(4, 16));
    as.hlt();
  });
  put64(kData + 4, 77);
  run();
  EXPECT_EQ(halted_in_handler(), x86::kGp);
  EXPECT_EQ(frame()[1], faulting);
  EXPECT_EQ(xmm(1), 77u);
}

TEST_F(BtVector, AccessAcrossPagesAndSlowAccessesKeepTheState) {
  program([](a::Assembler& as) {
    as.movsd(a::xmm0, data());
    as.fld(data(8));
    as.movups(a::xmm1, a::ptr_abs(kData + 0xff8));
    as.movups(a::ptr_abs(kData + 0x2ff8), a::xmm1);
    as.addsd(a::xmm1, a::xmm0);
    as.fstp(data(16));
    as.hlt();
  });
  put64(kData + 0xff8, kTwo);
  put64(kData + 0x1000, 55);
  run();
  EXPECT_EQ(xmm(1), kThree);
  EXPECT_EQ(at64(kData + 0x2ff8), kTwo);
  EXPECT_EQ(at64(kData + 0x3000), 55u);
  EXPECT_EQ(at64(kData + 16), kTwo);
  EXPECT_EQ(count("vector state loaded"), 1u);
}

TEST_F(BtVector, TaskSwitchedFlagIsHeededAlsoWhenSetLater) {
  u64 faulting = 0;
  program([&](a::Assembler& as) {
    as.movsd(a::xmm0, data());
    as.mov(a::rax, a::cr0);
    as.or_(a::rax, static_cast<i32>(x86::cr0::kTs));
    as.mov(a::cr0, a::rax);
    as.inc(a::rbx);
    faulting = kCode + as.offset();
    as.addsd(a::xmm0, data());
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), x86::kNm);
  EXPECT_EQ(frame()[0], faulting);
  EXPECT_EQ(state_.gpr[x86::kRbx], 1u);
  EXPECT_EQ(xmm(0), kOne);
  EXPECT_GT(count("units with vector state not open"), 0u);
}

TEST_F(BtVector, UndefinedWithoutTheOperatingSystemsConsent) {
  state_.cr4 &= ~x86::cr4::kOsfxsr;
  program([](a::Assembler& as) {
    as.addps(a::xmm0, a::xmm1);
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), x86::kUd);
  EXPECT_EQ(frame()[0], kCode);
}

TEST_F(BtVector, MaskedExceptionsLeaveTheirFlags) {
  program([](a::Assembler& as) {
    as.movsd(a::xmm0, data());
    as.divsd(a::xmm0, a::xmm1);
    as.stmxcsr(data(64, 4));
    as.hlt();
  });
  run();
  EXPECT_EQ(xmm(0), 0x7ff0000000000000u);
  EXPECT_EQ(state_.xsave.mxcsr(), 0x1f84u);
  EXPECT_EQ(at64(kData + 64), 0x1f84u);
}

TEST_F(BtVector, UnmaskedExceptionIsDeliveredPrecisely) {
  put64(kData + 64, 0x1d80);  // division by zero unmasked
  u64 faulting = 0;
  program([&](a::Assembler& as) {
    as.movsd(a::xmm0, data());
    as.ldmxcsr(data(64, 4));
    as.inc(a::rbx);
    faulting = kCode + as.offset();
    as.divsd(a::xmm0, a::xmm1);
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), x86::kXm);
  EXPECT_EQ(frame()[0], faulting);
  EXPECT_EQ(xmm(0), kOne);
  EXPECT_EQ(state_.gpr[x86::kRbx], 1u) << "retired once, though its unit was left";
}

TEST_F(BtVector, RoundingIsTheGuestsInsideAndTheHostsOutside) {
  put64(kData + 64, 0x5f80);  // towards plus infinity
  put64(kData + 72, 0x0b7f);  // the same of x87
  put64(kData + 80, kThree);
  program([](a::Assembler& as) {
    as.ldmxcsr(data(64, 4));
    as.fldcw(data(72, 2));
    as.movsd(a::xmm0, data());
    as.divsd(a::xmm0, data(80));
    as.fld(data());
    as.fdiv(data(80));
    as.fstp(data(88));
    as.hlt();
  });
  run();
  EXPECT_EQ(xmm(0), 0x3fd5555555555556u);
  EXPECT_EQ(at64(kData + 88), 0x3fd5555555555556u);
  u32 mxcsr;
  u16 fcw;
  asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(fcw));
  EXPECT_EQ(mxcsr & ~0x3fu, 0x1f80u);
  EXPECT_EQ(fcw, 0x37f);
}

TEST_F(BtVector, GeneralRegistersOfAnyKindTakePart) {
  program([](a::Assembler& as) {
    as.mov(a::r15d, 7);
    as.cvtsi2sd(a::xmm3, a::r15);
    as.cvttsd2si(a::r14d, a::xmm3);
    as.movq(a::xmm4, a::r14);
    as.movq(a::rax, a::xmm4);
    as.pcmpeqd(a::xmm5, a::xmm5);
    as.pmovmskb(a::r13d, a::xmm5);
    as.pextrq(a::rsi, a::xmm5, 1);
    as.hlt();
  });
  state_.gpr[14] = state_.gpr[13] = ~u64{0};
  run();
  EXPECT_EQ(state_.gpr[14], 7u);
  EXPECT_EQ(state_.gpr[13], 0xffffu);
  EXPECT_EQ(state_.gpr[x86::kRsi], ~u64{0});
  EXPECT_EQ(rax(), 7u);
}

TEST_F(BtVector, ComparisonsSetTheGuestsFlags) {
  program([](a::Assembler& as) {
    const asmjit::Label below = as.newLabel();
    as.movsd(a::xmm0, data());
    as.ucomisd(a::xmm0, data(8));
    as.jb(below);
    as.ud2();
    as.bind(below);
    as.ptest(a::xmm7, a::xmm7);
    as.setz(a::bl);
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), -1);
  EXPECT_EQ(state_.gpr[x86::kRbx], 1u);
}

TEST_F(BtVector, StoreIntoTheRunningUnitTakesEffectAtOnce) {
  // MOVD [target], XMM0 makes MOV EBX, 1 another number; the unit's later instructions are done anew.
  program([](a::Assembler& as) {
    const asmjit::Label number = as.newLabel();
    as.mov(a::eax, 42);
    as.movd(a::xmm0, a::eax);
    as.movd(a::dword_ptr(number, 1), a::xmm0);
    as.bind(number);
    as.mov(a::ebx, 1);
    as.movd(a::ecx, a::xmm0);
    as.hlt();
  });
  run();
  EXPECT_EQ(state_.gpr[x86::kRbx], 42u);
  EXPECT_EQ(state_.gpr[x86::kRcx], 42u);
}

// --- x87 ---

TEST_F(BtVector, X87PointersAreTheGuests) {
  u64 last = 0;
  program([&](a::Assembler& as) {
    as.fld(data());
    as.fadd(data(8));
    last = kCode + as.offset();
    as.fst(data(24));
    as.fnstcw(data(40, 2));
    as.mov(a::rax, nowhere());
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(at64(kData + 24), kThree);
  EXPECT_EQ(state_.xsave.fip(), last);
  EXPECT_EQ(state_.xsave.fdp(), kData + 24);
  EXPECT_EQ(state_.xsave.fop(), 0);
}

TEST_F(BtVector, FaultingX87OperandLeavesThePointers) {
  u64 first = 0;
  program([&](a::Assembler& as) {
    as.nop();
    first = kCode + as.offset();
    as.fld(data());
    as.fadd(a::qword_ptr_abs(kNowhere));
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(state_.xsave.fip(), first);
  EXPECT_EQ(state_.xsave.fdp(), kData);
}

TEST_F(BtVector, PointersThatACalloutSetStay) {
  program([](a::Assembler& as) {
    as.fld(data());
    as.fninit();
    as.inc(a::rbx);
    as.hlt();
  });
  run();
  EXPECT_EQ(state_.xsave.fip(), 0u);
  EXPECT_EQ(state_.xsave.fdp(), 0u);
  EXPECT_EQ(state_.xsave.ftw(), 0);
}

TEST_F(BtVector, UnmaskingByFldcwIsHeeded) {
  put64(kData + 64, 0x37b);  // division by zero unmasked
  u64 waiting = 0;
  program([&](a::Assembler& as) {
    as.fld1();
    as.fldz();
    as.fldcw(data(64, 2));
    as.fdivp(a::st(1));
    as.inc(a::rbx);
    waiting = kCode + as.offset();
    as.fld1();
    as.hlt();
  });
  state_.cr0 |= x86::cr0::kNe;
  run();
  EXPECT_EQ(halted_in_handler(), x86::kMf);
  EXPECT_EQ(frame()[0], waiting);
  EXPECT_EQ(state_.gpr[x86::kRbx], 1u);
}

TEST_F(BtVector, X87ConditionsReachFlagsAndAx) {
  program([](a::Assembler& as) {
    as.fld(data());
    as.fld(data(8));
    as.fcomi(a::st(1));  // 2.0 > 1.0
    as.seta(a::bl);
    as.fcom(a::st(1));
    as.fnstsw(a::ax);
    as.hlt();
  });
  state_.gpr[x86::kRax] = 0x7777777777770000;
  run();
  EXPECT_EQ(state_.gpr[x86::kRbx], 1u);
  EXPECT_EQ(rax(), 0x7777777777773000u) << "TOP = 6, C3 C2 C0 = 0";
}

TEST_F(BtVector, MmxSharesTheX87State) {
  program([](a::Assembler& as) {
    as.fld1();
    as.movq(a::mm3, data());
    as.paddd(a::mm3, data(8));
    as.movq(data(24), a::mm3);
    as.emms();
    as.hlt();
  });
  run();
  EXPECT_EQ(at64(kData + 24), kOne + kTwo);
  EXPECT_EQ(state_.xsave.ftw(), 0);
}

// --- AVX ---

class BtAvx : public AssembledGuest {
 protected:
  BtAvx() : AssembledGuest({.cache_bytes = 4 << 20, .threshold = 0}, "auto") {
    state_.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxmmexcpt | x86::cr4::kOsxsave;
    state_.xcr0 = 7;
  }
  void SetUp() override {
    if (!model_.has(x86::Feature::kAvx2)) GTEST_SKIP() << "no AVX2 on this host";
  }
  u64 upper(unsigned n) {
    u64 value;
    std::memcpy(&value, state_.xsave.ymm_hi(n), 8);
    return value;
  }
};

TEST_F(BtAvx, UpperHalvesSurviveCalloutsAndLegacyInstructions) {
  for (unsigned n = 0; n < 4; ++n) put64(kData + 8 * n, n + 1);
  program([](a::Assembler& as) {
    as.vmovdqu(a::ymm12, a::ptr_abs(kData));
    as.cpuid();
    as.vpaddq(a::ymm13, a::ymm12, a::ymm12);
    as.vmovdqa(a::ymm14, a::ymm13);
    as.paddq(a::xmm13, a::xmm13);             // keeps the upper half
    as.vpaddq(a::xmm14, a::xmm14, a::xmm14);  // clears it
    as.hlt();
  });
  run();
  EXPECT_EQ(upper(12), 3u);
  EXPECT_EQ(upper(13), 6u);
  EXPECT_EQ(upper(14), 0u);
}

TEST_F(BtAvx, UndefinedWithoutXcr0) {
  state_.xcr0 = 3;
  program([](a::Assembler& as) {
    as.addps(a::xmm0, a::xmm1);
    as.vaddps(a::xmm0, a::xmm1, a::xmm1);
    as.hlt();
  });
  run();
  EXPECT_EQ(halted_in_handler(), x86::kUd);
  EXPECT_EQ(frame()[0], kCode + 3);
}

// AF and PF, which ANDN leaves undefined, are what the host's processor makes of the guest's.
TEST_F(BtAvx, BitManipulationLeavesUndefinedFlagsToTheHost) {
  u64 flags_of_host;
  asm volatile(
      "xor %%eax, %%eax\n\tdec %%rax\n\tmov $0xf0, %%ecx\n\tmov $0x1234, %%edx\n\t"
      "andn %%rdx, %%rcx, %%rax\n\tpushfq\n\tpop %0"
      : "=r"(flags_of_host)
      :
      : "rax", "rcx", "rdx", "cc");
  program([](a::Assembler& as) {
    as.xor_(a::eax, a::eax);
    as.dec(a::rax);  // SF, AF, PF
    as.mov(a::r14d, 0xf0);
    as.mov(a::r15d, 0x1234);
    as.andn(a::r13, a::r14, a::r15);
    as.pushfq();
    as.pop(a::rbx);
    as.pext(a::r15, a::r15, a::r14);
    as.mulx(a::rsi, a::rdi, a::r15);
    as.tzcnt(a::ecx, a::r14d);
    as.hlt();
  });
  state_.gpr[x86::kRdx] = 5;
  run();
  using namespace x86::rflags;
  EXPECT_EQ(state_.gpr[13], 0x1204u);
  EXPECT_EQ(state_.gpr[x86::kRbx] & kArithmetic, flags_of_host & kArithmetic);
  EXPECT_EQ(state_.gpr[15], 3u);
  EXPECT_EQ(state_.gpr[x86::kRdi], 15u);
  EXPECT_EQ(state_.gpr[x86::kRcx], 4u);
}

}  // namespace
}  // namespace vellum::bt
