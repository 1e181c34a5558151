#include "differential.hpp"

#include <algorithm>
#include <cstring>

#include "base/bits.hpp"

namespace vellum::test {
namespace {

constexpr unsigned kRbx = 3;
constexpr unsigned kWindow = kMemoryWindow;

u32 float_bits(Random& random) {
  static constexpr u32 kSpecial[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                     0xff800000, 0x7fc00000, 0x7fa00000, 0xffa00001, 1,
                                     0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000,
                                     0xcf000000, 0x3f000000, 0x33800000, 0x5f000000, 0x40490fdb};
  const u64 r = random();
  if (r % 3 == 0) return kSpecial[r / 3 % std::size(kSpecial)];
  if (r % 3 == 1) return static_cast<u32>(r >> 32);
  return static_cast<u32>((r >> 32 & 0x807fffff) | (100 + r / 3 % 56) << 23);  // of moderate size
}

u64 double_bits(Random& random) {
  static constexpr u64 kSpecial[] = {0,
                                     0x8000000000000000,
                                     0x3ff0000000000000,
                                     0xbff0000000000000,
                                     0x7ff0000000000000,
                                     0xfff0000000000000,
                                     0x7ff8000000000000,
                                     0x7ff4000000000000,
                                     1,
                                     0x800fffffffffffff,
                                     0x0010000000000000,
                                     0x7fefffffffffffff,
                                     0x41e0000000000000,
                                     0xc3e0000000000000,
                                     0x47efffffe0000000,
                                     0x3690000000000000};
  const u64 r = random();
  if (r % 3 == 0) return kSpecial[r / 3 % std::size(kSpecial)];
  if (r % 3 == 1) return random();
  return (random() & 0x800fffffffffffff) | (1003 + r / 3 % 40) << 52;
}

void extended_bits(u8* to, Random& random) {
  const u64 r = random();
  u64 significand = random() | bit(63);
  u16 exponent = static_cast<u16>(16383 - 20 + r % 40);
  switch (r / 64 % 8) {
    case 0:
      significand = 0, exponent = 0;
      break;
    case 1:
      significand = bit(63), exponent = 0x7fff;
      break;  // infinity
    case 2:
      exponent = 0x7fff;
      break;  // NaN
    case 3:
      significand &= ~bit(63), exponent = 0;
      break;  // denormal
    case 4:
      significand = bit(63) | (r & 0xff) << 55;
      break;  // few bits
    case 5:
      significand = random(), exponent = static_cast<u16>(r >> 48 & 0x7fff);
      break;  // perhaps unsupported
    default:
      break;
  }
  exponent |= static_cast<u16>(r >> 20 & 1) << 15;
  std::memcpy(to, &significand, 8);
  std::memcpy(to + 8, &exponent, 2);
}

std::string hex(std::span<const u8> bytes) {
  std::string text;
  for (const u8 b : bytes) text += fmt::format("{:02x}", b);
  return text;
}

// rbx holds an address, which is not the same for both: it may be a memory operand's base or an operand, not
// both.
const ZydisDecodedOperand* memory_operand(const x86::Decoded& decoded) {
  for (unsigned n = 0; n < decoded.info.operand_count; ++n)
    if (decoded.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY) return &decoded.operands[n];
  return nullptr;
}
bool is_window(const ZydisDecodedOperand& operand) {
  return operand.mem.base == ZYDIS_REGISTER_RBX && operand.mem.index == ZYDIS_REGISTER_NONE;
}
bool names_rbx(const x86::Decoded& decoded) {
  for (unsigned n = 0; n < decoded.info.operand_count; ++n) {
    const auto& operand = decoded.operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand.reg.value) == ZYDIS_REGISTER_RBX)
      return true;
  }
  return false;
}

u64 defined_flags(const x86::Decoded& decoded) {
  u64 undefined = 0;
  if (decoded.info.cpu_flags != nullptr) undefined = decoded.info.cpu_flags->undefined;
  return x86::rflags::kArithmetic & ~undefined;
}

void compare_registers(const x86::Decoded& decoded, VcpuState& guest, HostState& host, std::string& report) {
  for (unsigned n = 0; n < 16; ++n) {
    if (n == x86::kRsp || guest.gpr[n] == host.gpr[n]) continue;
    report += fmt::format("  r{}: {:#x}, host {:#x}\n", n, guest.gpr[n], host.gpr[n]);
  }
  if (((guest.rflags ^ host.rflags) & defined_flags(decoded)) != 0)
    report += fmt::format("  flags: {:#x}, host {:#x}\n", guest.rflags, host.rflags);
  for (unsigned n = 0; n < 16; ++n) {
    std::array<u8, 32> ymm;
    std::copy_n(guest.xsave.xmm(n), 16, ymm.begin());
    std::copy_n(guest.xsave.ymm_hi(n), 16, ymm.begin() + 16);
    if (ymm != host.ymm[n]) report += fmt::format("  ymm{}: {}, host {}\n", n, hex(ymm), hex(host.ymm[n]));
  }
  if (guest.xsave.mxcsr() != host.mxcsr())
    report += fmt::format("  mxcsr: {:#x}, host {:#x}\n", guest.xsave.mxcsr(), host.mxcsr());
  if (guest.xsave.fcw() != host.fcw() || guest.xsave.fsw() != host.fsw() || guest.xsave.ftw() != host.ftw())
    report += fmt::format("  fcw {:#x} fsw {:#x} ftw {:#x}, host {:#x} {:#x} {:#x}\n", guest.xsave.fcw(),
                          guest.xsave.fsw(), guest.xsave.ftw(), host.fcw(), host.fsw(), host.ftw());
  for (unsigned n = 0; n < 8; ++n)
    if (std::memcmp(guest.xsave.st(n), host.st(n), 10) != 0)
      report += fmt::format("  st{}: {}, host {}\n", n, hex({guest.xsave.st(n), 10}), hex({host.st(n), 10}));
}

}  // namespace

void random_bytes(std::span<u8> bytes, Random& random) {
  const u64 kind = random() % 4;
  for (std::size_t n = 0; n < bytes.size();) {
    u8 lane[16] = {};
    unsigned size = 8;
    u64 value = random();
    if (kind == 0) value = double_bits(random);
    if (kind == 1) value = float_bits(random), size = 4;
    if (kind == 2) value = value % 7 - 3, size = 2;
    std::memcpy(lane, &value, 8);
    if (kind == 3 && random() % 2 == 0) extended_bits(lane, random), size = 10;
    const std::size_t count = std::min<std::size_t>(size, bytes.size() - n);
    std::copy_n(lane, count, bytes.begin() + static_cast<std::ptrdiff_t>(n));
    n += count;
  }
}

void randomize(HostState& state, Random& random, const StateChoice& choice) {
  for (auto& ymm : state.ymm) random_bytes(ymm, random);
  for (auto& gpr : state.gpr) gpr = random() >> (random() % 64);
  state.rflags = x86::rflags::kFixed1 | (random() & x86::rflags::kArithmetic);
  state.fcw() = static_cast<u16>(0x40 | (random() & 0xc00) | 0x300 | 0x3f);
  if (random() % 4 == 0)
    state.fcw() = static_cast<u16>((state.fcw() & ~0x300) | (random() % 2 != 0 ? 0x200 : 0));
  if (choice.unmask_x87) state.fcw() = static_cast<u16>((state.fcw() & ~0x3f) | (random() & 0x3f));
  // No pending exception: the flags set are masked ones.
  state.fsw() = static_cast<u16>(random() & (0x4700 | 0x3800 | (state.fcw() & 0x3f)));
  state.ftw() = static_cast<u8>(random() % 3 == 0 ? random() : random() % 2 == 0 ? 0xff : 0);
  for (unsigned n = 0; n < 8; ++n) extended_bits(state.st(n), random);
  state.mxcsr() = 0x1f80 | static_cast<u32>(random() % 3 == 0 ? random() & 0x3f : 0);
  if (choice.unmask_simd) state.mxcsr() = static_cast<u32>(random() & 0xffff);
}

void copy_state(const HostState& from, VcpuState& to) {
  to.gpr = from.gpr;
  to.rflags = from.rflags;
  std::copy(from.fx.begin(), from.fx.end(), to.xsave.legacy.begin());
  for (unsigned n = 0; n < 16; ++n) {
    std::copy_n(from.ymm[n].begin(), 16, to.xsave.xmm(n));
    std::copy_n(from.ymm[n].begin() + 16, 16, to.xsave.ymm_hi(n));
  }
}

Compared compare(NativeBench& bench, const x86::Decoded& decoded, const HostState& state,
                 std::span<const u8> memory, Random& random, std::string& report) {
  const std::span<const u8> bytes(decoded.bytes.data(), decoded.length());
  const ZydisDecodedOperand* operand = memory_operand(decoded);
  const bool uses_memory = operand != nullptr;
  if (uses_memory && (names_rbx(decoded) || !is_window(*operand))) return Compared::kSkipped;
  interp::Insn insn;
  if (!bench.bind(bytes, insn)) return Compared::kSkipped;

  alignas(64) std::array<u8, kWindow> host_memory;
  std::copy_n(memory.begin(), kWindow, host_memory.begin());
  // Half of the accesses lie across two pages, or at their edge.
  const u64 window = kData + (random() % 2 == 0 ? 0x1000 - kWindow / 2 : 64 * (random() % 56));
  HostState host = state;
  if (uses_memory) host.gpr[kRbx] = reinterpret_cast<u64>(host_memory.data()) + kWindow / 2;
  VcpuState& guest = bench.v.state;
  copy_state(state, guest);
  if (uses_memory) guest.gpr[kRbx] = window + kWindow / 2;
  bench.poke(window, memory.first(kWindow));

  const auto flow = bench.run(insn);
  if (flow == interp::Flow::kFault && bench.v.fault.vector == x86::kUd) return Compared::kSkipped;
  const HostOutcome outcome = run_on_host(bytes, host);
  // What neither wrote holds each one's own address.
  if (host.gpr[kRbx] == reinterpret_cast<u64>(host_memory.data()) + kWindow / 2 &&
      guest.gpr[kRbx] == window + kWindow / 2)
    host.gpr[kRbx] = guest.gpr[kRbx];

  const std::size_t start = report.size();
  const u8 vector = flow == interp::Flow::kFault ? bench.v.fault.vector : 0xff;
  // Some hosts (Zen 5) don't check the alignment that the SDM demands of SHA's operand (exception type 4).
  if (vector == x86::kGp && outcome == HostOutcome::kDone && decoded.info.meta.isa_set == ZYDIS_ISA_SET_SHA)
    return Compared::kSame;
  const u8 expected = outcome == HostOutcome::kDone             ? 0xff
                      : outcome == HostOutcome::kFloatException ? x86::kXm
                                                                : x86::kGp;
  if (vector != expected) report += fmt::format("  exception {}, host {}\n", vector, expected);
  compare_registers(decoded, guest, host, report);
  const auto guest_memory = bench.peek(window, kWindow);
  if (!std::equal(guest_memory.begin(), guest_memory.end(), host_memory.begin()))
    report += fmt::format("  memory: {}\n  host:   {}\n", hex(guest_memory), hex(host_memory));
  if (report.size() == start) return Compared::kSame;
  report.insert(start, fmt::format("{} ({})\n", x86::format_instruction(decoded, 0), hex(bytes)));
  return Compared::kDifferent;
}

}  // namespace vellum::test
