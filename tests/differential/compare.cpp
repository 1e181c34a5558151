#include "compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "x86/exception.hpp"

namespace vellum::differential {
namespace {

using namespace x86::rflags;

// NT and ID are not: a signal frame does not restore them, so the host keeps what an earlier case left.
constexpr u64 kComparedFlags = kArithmetic | kDf | kAc;

std::string hex(u64 value) {
  return fmt::format("{:016x}", value);
}
std::string hex_bytes(const u8* bytes, unsigned n) {
  std::string text;
  for (unsigned i = n; i-- > 0;) text += fmt::format("{:02x}", bytes[i]);
  return text;
}
std::string fault_text(const Outcome& o, u32 error_code) {
  if (o.vector == kNoFault) return "none";
  std::string text = x86::vector_name(o.vector);
  if (x86::vector_has_error_code(o.vector)) text += fmt::format("({:#x})", error_code);
  if (o.vector == x86::kPf) text += fmt::format(" at {:#x}", o.cr2);
  return text;
}

// Linux tells user mode that every page of its own half is present, so as not to give its layout away.
std::string fault_seen(const Outcome& o) {
  const bool hidden = o.vector == x86::kPf && o.cr2 >= 0x7fff'ffff'f000;
  return fault_text(o, o.error_code | (hidden ? x86::pf::kPresent : 0));
}

// Whether the fault may be that of an access of `size` bytes at `address`.
bool is_fault_of(const Case& c, const Outcome& o, u64 address, u64 size) {
  const u64 end = address + size - 1;
  switch (o.vector) {
    case x86::kPf:
      return o.cr2 - address < size || (c.compat && static_cast<u32>(o.cr2 - address) < size);
    case x86::kAc:
      return address % size != 0;
    case x86::kGp:
    case x86::kSs:
      if (c.compat) return end >> 32 != 0;
      return static_cast<u64>(static_cast<i64>(address << 16) >> 16) != address ||
             static_cast<u64>(static_cast<i64>(end << 16) >> 16) != end;
    default:
      return false;
  }
}

constexpr const char* kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

}  // namespace

x86::DecodeStatus decode_case(const Case& c, x86::Decoded& decoded) {
  return x86::decode(c.compat ? x86::CodeMode::kProtected32 : x86::CodeMode::kLong64,
                     std::span(c.code).first(x86::kMaxInstructionLength), decoded);
}

std::vector<Difference> compare(const Case& c, const Outcome& native, const Outcome& engine) {
  std::vector<Difference> out;
  const auto add = [&](std::string what, std::string n, std::string e) {
    out.push_back({std::move(what), std::move(n), std::move(e)});
  };
  x86::Decoded decoded;
  u64 undefined_flags = 0;
  if (decode_case(c, decoded) == x86::DecodeStatus::kOk && decoded.info.cpu_flags != nullptr)
    undefined_flags = decoded.info.cpu_flags->undefined;

  if (fault_seen(native) != fault_seen(engine))
    add("fault", fault_text(native, native.error_code), fault_text(engine, engine.error_code));
  const u64 width = c.compat ? 0xffffffff : ~u64{0};
  if (((native.out.rip ^ engine.out.rip) & width) != 0) add("rip", hex(native.out.rip), hex(engine.out.rip));
  for (unsigned r = 0; r < (c.compat ? 8u : 16u); ++r) {
    if (((native.out.gpr[r] ^ engine.out.gpr[r]) & width) != 0)
      add(kNames[r], hex(native.out.gpr[r]), hex(engine.out.gpr[r]));
  }
  if (((native.out.rflags ^ engine.out.rflags) & kComparedFlags & ~undefined_flags) != 0)
    add("rflags", hex(native.out.rflags & kComparedFlags), hex(engine.out.rflags & kComparedFlags));

  auto& n = const_cast<XsaveArea&>(native.out.fp);
  auto& e = const_cast<XsaveArea&>(engine.out.fp);
  if (n.mxcsr() != e.mxcsr()) add("mxcsr", hex(n.mxcsr()), hex(e.mxcsr()));
  for (unsigned r = 0; r < (c.compat ? 8u : 16u); ++r) {
    if (std::memcmp(n.xmm(r), e.xmm(r), 16) != 0)
      add(fmt::format("xmm{}", r), hex_bytes(n.xmm(r), 16), hex_bytes(e.xmm(r), 16));
    if (std::memcmp(n.ymm_hi(r), e.ymm_hi(r), 16) != 0)
      add(fmt::format("ymm{} high", r), hex_bytes(n.ymm_hi(r), 16), hex_bytes(e.ymm_hi(r), 16));
  }
  if (n.fcw() != e.fcw()) add("fcw", hex(n.fcw()), hex(e.fcw()));
  if (n.fsw() != e.fsw()) add("fsw", hex(n.fsw()), hex(e.fsw()));
  if (n.ftw() != e.ftw()) add("ftw", hex(n.ftw()), hex(e.ftw()));
  for (unsigned r = 0; r < 8; ++r) {
    if (std::memcmp(n.st(r), e.st(r), 10) != 0)
      add(fmt::format("st{}", r), hex_bytes(n.st(r), 10), hex_bytes(e.st(r), 10));
  }
  if (native.data != engine.data) {
    const bool image = decoded.info.meta.category == ZYDIS_CATEGORY_XSAVE ||
                       decoded.info.meta.category == ZYDIS_CATEGORY_XSAVEOPT ||
                       decoded.info.mnemonic == ZYDIS_MNEMONIC_FXSAVE ||
                       decoded.info.mnemonic == ZYDIS_MNEMONIC_FXSAVE64;
    for (unsigned i = 0; i < kWritableBytes; ++i) {
      if (native.data[i] == engine.data[i]) continue;
      // MXCSR_MASK: AMD's has a bit 17 (misaligned SSE) that the model has not.
      if (image && i % 16 == 14 && native.data[i] == 2 && engine.data[i] == 0) continue;
      const unsigned at = i & ~7u;
      add(fmt::format("memory {:#x}", kReadWrite + at), hex_bytes(native.data.data() + at, 8),
          hex_bytes(engine.data.data() + at, 8));
      break;
    }
  }
  return out;
}

namespace {

// CMPS whose operands both fault: which is read first is the implementation's. (Zen 5 reads (R)SI's first, as
// we do, Zen 3 (R)DI's.)
bool differs_in_order_of_reads(const x86::Decoded& d, const Case& c, const Outcome& native,
                               const Outcome& engine) {
  if (d.info.meta.category != ZYDIS_CATEGORY_STRINGOP) return false;
  if (d.info.mnemonic != ZYDIS_MNEMONIC_CMPSB && d.info.mnemonic != ZYDIS_MNEMONIC_CMPSW &&
      d.info.mnemonic != ZYDIS_MNEMONIC_CMPSD && d.info.mnemonic != ZYDIS_MNEMONIC_CMPSQ)
    return false;
  const u64 size = d.operands[0].size / 8;
  const u64 mask = ~u64{0} >> (64 - d.info.address_width);
  const auto& registers = engine.out.gpr;  // of the iteration that faults
  const auto differences = compare(c, native, engine);
  if (differences.size() != 1 || differences[0].what != "fault") return false;
  // FS and GS hold the null selector, which 32-bit code may not use.
  const bool null_segment =
      c.compat && (d.info.attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS)) != 0;
  return (is_fault_of(c, engine, registers[x86::kRsi] & mask, size) ||
          (null_segment && engine.vector == x86::kGp)) &&
         is_fault_of(c, native, registers[x86::kRdi] & mask, size);
}

// A masked move over the end of 16- or 32-bit addresses: whether its elements behind that wrap is the
// implementation's. (Zen 5's do not, nor do ours; Zen 3's do.)
bool differs_in_wrap(const x86::Decoded& d, const Case& c, const Outcome& native, const Outcome& engine) {
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
      break;
    default:
      return false;
  }
  if (!c.compat || native.vector != x86::kPf || native.cr2 >= sizeof(u64) * 4) return false;
  if (engine.vector == x86::kPf) return engine.cr2 == native.cr2 + (u64{1} << d.info.address_width);
  return engine.vector == x86::kGp || engine.vector == x86::kSs;
}

}  // namespace

bool known_difference(const Case& c, const Outcome& native, const Outcome& engine) {
  x86::Decoded d;
  if (decode_case(c, d) != x86::DecodeStatus::kOk) {
    // EVEX, which the host may have and the model has not: what is wrong with it beyond that is not ours to
    // say.
    constexpr std::string_view kPrefixes = "\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3";
    for (const u8 byte : c.code) {
      if (byte == 0x62) return true;
      const bool rex = !c.compat && (byte & 0xf0) == 0x40;
      if (!rex && kPrefixes.find(static_cast<char>(byte)) == kPrefixes.npos) break;
    }
    // What AMD decodes and the SDM calls undefined: VMCALL with prefixes, VPERMQ and VPERMPD with VEX.W 0.
    // LOCK MOV CR0 is AMD's other name of CR8 (#GP at CPL 3), and LOCK VERR and VERW read memory there; #UD
    // by the SDM.
    const auto opcode = std::find(c.code.begin(), c.code.end(), 0x0f);
    if (opcode + 1 < c.code.end() && opcode[1] == 0x01) return true;
    if (c.code[0] == 0xc4 && (c.code[1] & 0x1f) == 3 && c.code[3] <= 1 && (c.code[2] & 0x80) == 0)
      return true;
    return std::find(c.code.begin(), opcode, 0xf0) != opcode && opcode + 1 < c.code.end() &&
           (opcode[1] == 0x20 || opcode[1] == 0x22 || opcode[1] == 0x00);
  }
  // A near branch to a non-canonical address: #GP at the branch (SDM), or at its target (AMD).
  if (!c.compat && d.info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && engine.vector == x86::kGp)
    return true;
  // The order of #AC and #PF of one access is the implementation's (SDM vol. 3A table 6-2 ranks them
  // together).
  if (native.vector == x86::kAc && engine.vector == x86::kPf) return true;
  if (differs_in_order_of_reads(d, c, native, engine) || differs_in_wrap(d, c, native, engine)) return true;
  // An access that runs over the end of the address space (4 GiB, or the canonical half): the processor may
  // meet the first page's fault before the wrap.
  if (native.vector == x86::kPf && (engine.vector == x86::kGp || engine.vector == x86::kSs)) {
    const u64 end = c.compat ? u64{1} << 32 : u64{1} << 47;
    if (native.cr2 < end && end - native.cr2 < 1024) return true;
  }
  // Unaligned operands of more than 8 bytes and ENTER's final stack pointer under EFLAGS.AC: #AC, #GP or
  // nothing is left to the implementation (SDM vol. 3A §6.15, #AC).
  if ((native.vector == x86::kAc || engine.vector == x86::kAc) &&
      (d.info.mnemonic == ZYDIS_MNEMONIC_ENTER || d.info.meta.isa_ext != ZYDIS_ISA_EXT_BASE))
    return true;
  // Checks of one vector operand (limit or canonical form, alignment) may come in either order, and an
  // operand that runs over the end of a 4 GiB segment may be judged by its first part.
  const auto is_protection = [](const Outcome& o) { return o.vector == x86::kGp || o.vector == x86::kSs; };
  if (d.info.meta.isa_ext != ZYDIS_ISA_EXT_BASE && is_protection(native) &&
      (is_protection(engine) || (c.compat && engine.vector == x86::kPf)))
    return true;
  // A conversion to or from MMX that raises #XM: whether the x87 state has become MMX state before the fault.
  if (native.vector == x86::kXm && engine.vector == x86::kXm &&
      (d.info.mnemonic == ZYDIS_MNEMONIC_CVTPI2PS || d.info.mnemonic == ZYDIS_MNEMONIC_CVTPS2PI ||
       d.info.mnemonic == ZYDIS_MNEMONIC_CVTTPS2PI || d.info.mnemonic == ZYDIS_MNEMONIC_CVTPD2PI ||
       d.info.mnemonic == ZYDIS_MNEMONIC_CVTTPD2PI))
    return true;
  // CVTPI2PS and CVTPI2PD from memory with an x87 exception pending: #MF by the SDM, on AMD only from a
  // register.
  if (engine.vector == x86::kMf && native.vector != x86::kMf &&
      (d.info.mnemonic == ZYDIS_MNEMONIC_CVTPI2PS || d.info.mnemonic == ZYDIS_MNEMONIC_CVTPI2PD) &&
      d.operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
    return true;
  // POPA that faults midway: AMD's have loaded some registers by then; we leave all as they were.
  if ((d.info.mnemonic == ZYDIS_MNEMONIC_POPA || d.info.mnemonic == ZYDIS_MNEMONIC_POPAD) &&
      native.vector != kNoFault && native.vector == engine.vector)
    return true;
  // VPINSRQ's and VPEXTRQ's encodings outside 64-bit mode: #UD on AMD; by the SDM's footnote VEX.W is ignored
  // there.
  if (c.compat && d.info.mnemonic == ZYDIS_MNEMONIC_VPINSRD && d.info.raw.vex.W != 0) return true;
  if (c.compat && d.info.mnemonic == ZYDIS_MNEMONIC_VPEXTRD && d.info.raw.vex.W != 0) return true;
  // A gather may take TF's trap between two elements, with RIP still at it.
  if (d.info.meta.category == ZYDIS_CATEGORY_AVX2GATHER && native.vector == kNoFault &&
      native.out.rip == c.in.rip)
    return true;
  // A gather that faults midway: whether the mask's untouched elements have already become all ones or zeros
  // is left open.
  if (d.info.meta.category == ZYDIS_CATEGORY_AVX2GATHER && engine.vector == native.vector &&
      native.vector != kNoFault)
    return true;
  // A misaligned image at an absent page: whether #GP or #PF comes first is the implementation's. (Zen 3:
  // #PF.)
  if (native.vector == x86::kPf && engine.vector == x86::kGp && native.cr2 % 16 != 0 &&
      (d.info.mnemonic == ZYDIS_MNEMONIC_FXSAVE || d.info.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ||
       d.info.mnemonic == ZYDIS_MNEMONIC_FXRSTOR || d.info.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64))
    return true;
  // An image of many words (FXSAVE, FNSTENV, XSAVE …): which of its words is reported as faulting is the
  // implementation's. (AMD's XSAVEOPT names the last byte of all, 831.)
  if (native.vector == x86::kPf && engine.vector == x86::kPf && native.cr2 - engine.cr2 < sizeof(XsaveArea) &&
      d.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY && d.operands[0].size > 80)
    return true;
  return false;
}

std::string report(const Case& c, const std::vector<Difference>& differences) {
  x86::Decoded decoded;
  const bool known = decode_case(c, decoded) == x86::DecodeStatus::kOk;
  std::string text = c.compat ? "compatibility mode: " : "64-bit mode: ";
  for (unsigned i = 0; i < c.length; ++i) text += fmt::format("{:02x} ", c.code[i]);
  text += fmt::format(" {}\n", known ? x86::format_instruction(decoded, c.in.rip) : "(does not decode)");
  auto& fp = const_cast<XsaveArea&>(c.in.fp);
  for (unsigned r = 0; r < 16; ++r)
    text += fmt::format("  {:>3} {:016x}{}", kNames[r], c.in.gpr[r], r % 4 == 3 ? "\n" : "");
  text += fmt::format("  rip {:016x}  rflags {:08x}  mxcsr {:04x}  fcw {:04x}  fsw {:04x}  ftw {:02x}\n",
                      c.in.rip, c.in.rflags, fp.mxcsr(), fp.fcw(), fp.fsw(), fp.ftw());
  text += fmt::format("  {:<20} {:<34} {}\n", "differs", "processor", "engine");
  for (const Difference& d : differences)
    text += fmt::format("  {:<20} {:<34} {}\n", d.what, d.native, d.engine);
  return text;
}

}  // namespace vellum::differential
