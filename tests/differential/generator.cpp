#include "generator.hpp"

#include <cpuid.h>

namespace vellum::differential {

bool is_repeated(const x86::Decoded& d) {
  return (d.info.meta.category == ZYDIS_CATEGORY_STRINGOP ||
          d.info.meta.category == ZYDIS_CATEGORY_IOSTRINGOP) &&
         (d.info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
}

bool host_announces_invpcid() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 10 & 1) != 0;
}

bool Generator::comparable(const x86::Decoded& d) {
  switch (d.info.meta.category) {
    case ZYDIS_CATEGORY_SYSCALL:  // they call the host's kernel
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_RDRAND:  // chance
    case ZYDIS_CATEGORY_RDSEED:
    case ZYDIS_CATEGORY_RDWRFSGS:  // bases are not part of a case
      return false;
    default:
      break;
  }
  // A hypervisor may hide it, and the processor has it all the same: #GP at CPL 3 there, #UD here.
  if (d.info.mnemonic == ZYDIS_MNEMONIC_INVPCID && !host_announces_invpcid()) return false;
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_CPUID:  // the model's, the clock's, the host's tables
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_RDPRU:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_XSAVES:  // not in the model
    case ZYDIS_MNEMONIC_XSAVES64:
    case ZYDIS_MNEMONIC_XRSTORS:
    case ZYDIS_MNEMONIC_XRSTORS64:
    case ZYDIS_MNEMONIC_UMONITOR:  // not in the model
    case ZYDIS_MNEMONIC_UMWAIT:
    case ZYDIS_MNEMONIC_TPAUSE:
    case ZYDIS_MNEMONIC_MONITORX:
    case ZYDIS_MNEMONIC_MWAITX:
    case ZYDIS_MNEMONIC_RDPKRU:
    case ZYDIS_MNEMONIC_WRPKRU:
    case ZYDIS_MNEMONIC_VMCALL:  // the host's hypervisor answers
    case ZYDIS_MNEMONIC_VMMCALL:
    case ZYDIS_MNEMONIC_CLZERO:
    case ZYDIS_MNEMONIC_INVLPGA:  // AMD's SVM: #GP at CPL 3 there, not in the model
    case ZYDIS_MNEMONIC_CLGI:
    case ZYDIS_MNEMONIC_STGI:
    case ZYDIS_MNEMONIC_VMLOAD:
    case ZYDIS_MNEMONIC_VMSAVE:
    case ZYDIS_MNEMONIC_VMRUN:
    case ZYDIS_MNEMONIC_SKINIT:
    case ZYDIS_MNEMONIC_PVALIDATE:
    case ZYDIS_MNEMONIC_PSMASH:
    case ZYDIS_MNEMONIC_RMPADJUST:
    case ZYDIS_MNEMONIC_RMPUPDATE:
    case ZYDIS_MNEMONIC_PUSHF:  // the image shows TF, NT and ID, which are the rig's
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
      return false;
    case ZYDIS_MNEMONIC_LOOPE:  // with a REP prefix AMD's read ZF the other way round; the SDM reserves it
    case ZYDIS_MNEMONIC_LOOPNE:
      for (unsigned n = 0; n + 1 < d.info.length; ++n)
        if (d.bytes[n] == 0xf2 || d.bytes[n] == 0xf3) return false;
      break;
    case ZYDIS_MNEMONIC_MASKMOVQ:  // whether an all-zero mask faults is the implementation's choice (SDM vol.
                                   // 2)
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
      return false;
    default:
      break;
  }
  switch (d.info.meta.isa_set) {
    case ZYDIS_ISA_SET_SHA:  // AMD's do not fault on unaligned operands, Intel's do (SDM: exceptions type 4)
      for (unsigned n = 0; n < d.info.operand_count_visible; ++n)
        if (d.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY) return false;
      break;
    case ZYDIS_ISA_SET_MOVDIR:  // the host may have them, the model has not
    case ZYDIS_ISA_SET_AVX_VNNI:
    case ZYDIS_ISA_SET_UINTR:  // where there are none AMD ignores F3: CLUI and STUI are RDPKRU and WRPKRU
    case ZYDIS_ISA_SET_RTM:
    case ZYDIS_ISA_SET_SSE4A:
    case ZYDIS_ISA_SET_PREFETCH_NOP:  // 0F 0D with a register: NOP by the SDM, #UD on AMD
      return false;
    default:
      break;
  }
  // With an operand-size prefix AMD's near branches in 64-bit mode go to 16 bits; Intel's, which we follow,
  // do not.
  if (d.info.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 &&
      d.info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
      (d.info.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0)
    return false;
  // Far transfers: where they go is the host kernel's.
  if (d.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return false;
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
      return false;
    default:
      break;
  }
  for (unsigned n = 0; n < d.info.operand_count; ++n) {
    const auto& operand = d.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(operand.reg.value)) {
      case ZYDIS_REGCLASS_SEGMENT:
        // Loads: the descriptors are the host kernel's.
        if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) return false;
        break;
      case ZYDIS_REGCLASS_ZMM:
      case ZYDIS_REGCLASS_MASK:
      case ZYDIS_REGCLASS_BOUND:
      case ZYDIS_REGCLASS_TMM:
        return false;
      default:
        break;
    }
  }
  // AVX-512, XOP, 3DNow!: the host may have them, the model has not.
  switch (d.info.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
    case ZYDIS_INSTRUCTION_ENCODING_MVEX:
    case ZYDIS_INSTRUCTION_ENCODING_XOP:
    case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
      return false;
    default:
      return true;
  }
}

namespace {

bool takes_components(const x86::Decoded& d) {
  return d.info.meta.category == ZYDIS_CATEGORY_XSAVE || d.info.meta.category == ZYDIS_CATEGORY_XSAVEOPT;
}

}  // namespace

u64 Generator::random_value() {
  switch (below(8)) {
    case 0:
      return 0;
    case 1:
      return ~u64{0};
    case 2:
      return u64{1} << below(64);
    case 3:
      return (u64{1} << below(64)) - 1;
    case 4:
      return below(256);
    case 5:
      return static_cast<u64>(static_cast<i64>(static_cast<i32>(next64())));
    default:
      return next64();
  }
}

// Into the data pages, with a liking for their edges.
u64 Generator::random_pointer(bool compat) {
  switch (below(16)) {
    case 0:
      return kReadWrite - below(40);
    case 1:
      return kReadWrite + kPageSize - below(40);
    case 2:
      return kReadOnly - below(40);
    case 3:
      return kReadOnly + kPageSize - below(40);
    case 4:
      return kReadOnly + below(4000);
    case 5:
      return compat ? random_value() & 0xffffffff : (u64{1} << 47) - below(40);
    case 6:
    case 7:
    case 8:
      return (kReadWrite + below(kWritableBytes - 128)) & ~u64{63};
    default:
      return kReadWrite + 128 + below(kWritableBytes - 512);
  }
}

void Generator::random_encoding(Case& c) {
  unsigned n = 0;
  const auto put = [&](unsigned byte) {
    if (n < 15) c.code[n++] = static_cast<u8>(byte);
  };
  c.length = 15;
  if (chance(10)) {
    while (n < 15) put(below(256));
    return;
  }
  if (chance(15)) put(0x66);
  if (chance(4)) put(0x67);
  if (chance(12)) put(chance(50) ? 0xf2 : 0xf3);
  if (chance(5)) put(0xf0);
  if (chance(3)) {
    constexpr u8 kSegments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    put(kSegments[below(6)]);
  }
  const unsigned map = below(10);
  if (map < 7 && !c.compat && chance(50)) put(0x40 | below(16));
  switch (map) {
    case 0:
    case 1:
    case 2:
      put(below(256));
      break;
    case 3:
    case 4:
      put(0x0f), put(below(256));
      break;
    case 5:
      put(0x0f), put(0x38), put(below(256));
      break;
    case 6:
      put(0x0f), put(0x3a), put(below(256));
      break;
    case 7:
      put(0xc5), put(below(256) | 0xc0 * (c.compat ? 1 : 0)), put(below(256));
      break;
    case 8:
      put(0xc4), put((below(8) << 5 | (1 + below(3))) | 0xc0 * (c.compat ? 1 : 0)), put(below(256)),
          put(below(256));
      break;
    default:
      put(0xd8 + below(8));
      break;  // x87
  }
  // ModRM: registers, [reg], [reg + disp8]; now and then SIB and the rest.
  if (chance(40))
    put(0xc0 | below(64));
  else if (chance(70)) {
    const unsigned rm = below(8);
    const bool displaced = chance(50);
    put((displaced ? 0x40 : 0) | (below(8) << 3) | rm);
    if (rm == 4) put(below(256));
    if (displaced) put(below(128) - (chance(50) ? 64 : 0));
  }
  while (n < 15) put(chance(30) ? 0 : below(256));
}

void Generator::random_vectors(XsaveArea& fp) {
  fp = XsaveArea{};
  // Floating-point values that meet: a few of each kind are more telling than uniform bits.
  constexpr u64 kDoubles[] = {0,
                              0x8000000000000000,
                              0x3ff0000000000000,
                              0x7ff0000000000000,
                              0xfff0000000000000,
                              0x7ff8000000000000,
                              0x7ff0000000000001,
                              0x0000000000000001,
                              0x000fffffffffffff,
                              0x43e0000000000000,
                              0x41dfffffffc00000,
                              0x3fefffffffffffff,
                              0x7fefffffffffffff};
  constexpr u32 kFloats[] = {0,          0x80000000, 0x3f800000, 0x7f800000, 0xff800000, 0x7fc00000,
                             0x7f800001, 1,          0x007fffff, 0x4f000000, 0x3f7fffff, 0x7f7fffff};
  for (unsigned r = 0; r < 16; ++r) {
    u64 words[4];
    for (u64& word : words) {
      switch (below(6)) {
        case 0:
          word = kDoubles[below(std::size(kDoubles))];
          break;
        case 1:
          word = u64{kFloats[below(std::size(kFloats))]} << 32 | kFloats[below(std::size(kFloats))];
          break;
        case 2:
          word = random_value();
          break;
        default:
          word = next64();
          break;
      }
    }
    std::copy_n(reinterpret_cast<u8*>(words), 16, fp.xmm(r));
    std::copy_n(reinterpret_cast<u8*>(words + 2), 16, fp.ymm_hi(r));
  }
  fp.mxcsr() = 0x1f80;
  if (chance(30)) fp.mxcsr() = static_cast<u32>(next64() & 0xffff);
  // x87: a control word with exceptions masked (mostly), some registers in use, no exception pending.
  fp.fcw() = static_cast<u16>(0x037f | (below(4) << 10));
  if (chance(20)) fp.fcw() = static_cast<u16>((next64() & 0x0f3f) | 0x40);
  const unsigned top = below(8);
  fp.fsw() = static_cast<u16>((top << 11) | (next64() & 0x4700));
  if (chance(30)) {
    // Exceptions of the past, and pending ones if they are not masked.
    fp.fsw() |= static_cast<u16>(next64() & 0x7f);
    if ((fp.fsw() & ~fp.fcw() & 0x3f) != 0) fp.fsw() |= 0x8080;
  }
  fp.ftw() = static_cast<u8>(chance(50) ? next64() : 0xff);
  for (unsigned r = 0; r < 8; ++r) {
    u64 mantissa = next64() | bit(63);
    u16 exponent = static_cast<u16>(next64());
    switch (below(6)) {
      case 0:
        mantissa = bit(63), exponent = static_cast<u16>(0x3fff + below(8));
        break;
      case 1:
        exponent = static_cast<u16>(0x3fff - 20 + below(80));
        break;
      case 2:
        mantissa = 0, exponent = chance(50) ? 0x8000 : 0;
        break;
      case 3:
        mantissa = chance(50) ? bit(63) : next64(), exponent = 0x7fff;
        break;
      case 4:
        mantissa = next64(), exponent = static_cast<u16>(below(3));
        break;
      default:
        break;
    }
    std::copy_n(reinterpret_cast<u8*>(&mantissa), 8, fp.st(r));
    std::copy_n(reinterpret_cast<u8*>(&exponent), 2, fp.st(r) + 8);
  }
}

void Generator::random_state(Case& c) {
  for (u64& g : c.in.gpr) {
    g = chance(45) ? random_pointer(c.compat) : random_value();
    if (c.compat) g &= 0xffffffff;
  }
  if (chance(80)) c.in.gpr[x86::kRsp] = (kReadWrite + 1024 + below(4096)) & ~u64{7};
  if (options_.only_canonical_rsp) c.in.gpr[x86::kRsp] &= low_mask(47);
  if (chance(70)) c.in.gpr[x86::kRcx] = below(40);  // counts, and REP's iterations
  c.in.rip = kCode + (chance(10) ? kPageSize - 16 : 256 + below(2048));
  c.in.rflags = (next64() & x86::rflags::kArithmetic) | x86::rflags::kFixed1 | x86::rflags::kIf;
  if (chance(15)) c.in.rflags |= x86::rflags::kDf;
  if (chance(3)) c.in.rflags |= x86::rflags::kAc;
  random_vectors(c.in.fp);
  c.data_seed = next64();
}

Case Generator::next() {
  for (;;) {
    Case c;
    c.compat = chance(options_.compat_percent);
    random_encoding(c);
    x86::Decoded decoded;
    const auto mode = c.compat ? x86::CodeMode::kProtected32 : x86::CodeMode::kLong64;
    if (x86::decode(mode, std::span(c.code).first(15), decoded) == x86::DecodeStatus::kOk) {
      if (!comparable(decoded)) continue;
      c.length = static_cast<u8>(decoded.length());
      c.repeated = is_repeated(decoded);
    } else if (chance(95)) {
      continue;  // most random bytes decode to nothing: some of them suffice
    }
    random_state(c);
    if (takes_components(decoded)) {
      // The components that both have.
      c.in.gpr[x86::kRax] &= 7;
      c.in.gpr[x86::kRdx] &= ~u64{0xffffffff};
    }
    if (c.compat) {
      for (unsigned r = 8; r < 16; ++r) c.in.gpr[r] = 0;
    }
    return c;
  }
}

}  // namespace vellum::differential
