#include "bench.hpp"

#include <cstring>

namespace vellum::test {
namespace {

constexpr u64 kRamSize = u64{8} << 20;
constexpr u64 kTables = 0x10000;
constexpr u64 kFrames = 0x100000;
constexpr u64 kPresent = 1, kWritable = 2, kUser = 4;

std::unique_ptr<GuestRam> make_ram() {
  return std::move(GuestRam::create(kRamSize).value());
}

// Linear page n of the data pages lies in frame 2n + 1: no two are neighbours.
u64 physical_of(u64 linear) {
  const u64 page = (linear - kData) >> kPageShift;
  return kFrames + (2 * page + 1) * kPageSize + (linear & kPageMask);
}

x86::Segment flat(bool code, bool long_mode, bool big, unsigned dpl) {
  x86::Segment s;
  s.selector = static_cast<u16>((code ? 8 : 16) | dpl);
  s.attributes = static_cast<u16>((code ? 0x9b : 0x93) | dpl << 5 | (long_mode ? 0x2000 : 0) |
                                  (big ? 0x4000 : 0) | 0x8000);
  s.limit = 0xffffffff;
  return s;
}

}  // namespace

NativeBench::NativeBench()
    : ram(make_ram()),
      space{*ram, mmio, ports},
      model(x86::CpuModel::create("host").value()),
      vcpu(std::make_unique<Vcpu>(0u, space, board, clock, model, hazards)),
      v(*vcpu) {
  const auto entry = [&](u64 at, u64 value) { std::memcpy(ram->host(GuestPhys(at)), &value, 8); };
  entry(kTables, (kTables + 0x1000) | kPresent | kWritable | kUser);
  entry(kTables + 0x1000, (kTables + 0x2000) | kPresent | kWritable | kUser);
  entry(kTables + 0x2000 + 8 * (kData >> 21), (kTables + 0x3000) | kPresent | kWritable | kUser);
  for (u64 linear = kData; linear < kData + kDataSize; linear += kPageSize)
    entry(kTables + 0x3000 + 8 * (linear >> 12 & 511), physical_of(linear) | kPresent | kWritable | kUser);
  entry(kTables + 0x3000 + 8 * (kReadOnly >> 12 & 511), physical_of(kReadOnly) | kPresent | kUser);
  enter_long_mode();
}

void NativeBench::enter_long_mode() {
  using namespace x86;
  VcpuState& s = v.state;
  s = reset_state(true);
  s.cr0 = cr0::kPe | cr0::kMp | cr0::kEt | cr0::kNe | cr0::kWp | cr0::kAm | cr0::kPg;
  s.cr3 = kTables;
  s.cr4 = cr4::kPae | cr4::kOsfxsr | cr4::kOsxmmexcpt | cr4::kOsxsave;
  s.msr.efer = efer::kLme | efer::kLma | efer::kNxe | efer::kSce;
  s.xcr0 = xcr0::kX87 | xcr0::kSse | xcr0::kAvx;
  for (auto& segment : s.seg) segment = flat(false, false, true, 0);
  s.segment(Seg::kCs) = flat(true, true, false, 0);
  s.xsave.fcw() = 0x37f;
  s.xsave.ftw() = 0;
  s.xsave.mxcsr() = 0x1f80;
  s.rflags = rflags::kFixed1;
  mode = CodeMode::kLong64;
  resync(v);
}

void NativeBench::enter_protected_mode() {
  using namespace x86;
  enter_long_mode();
  VcpuState& s = v.state;
  s.cr0 &= ~cr0::kPg;
  s.msr.efer = 0;
  s.segment(Seg::kCs) = flat(true, false, true, 0);
  mode = CodeMode::kProtected32;
  resync(v);
}

void NativeBench::enter_real_mode() {
  using namespace x86;
  enter_protected_mode();
  VcpuState& s = v.state;
  s.cr0 &= ~cr0::kPe;
  for (auto& segment : s.seg) segment = {.selector = 0, .attributes = 0x93, .limit = 0xffff, .base = 0};
  mode = CodeMode::kReal16;
  resync(v);
}

bool NativeBench::bind(std::span<const u8> bytes, interp::Insn& insn) {
  x86::Decoded decoded;
  if (x86::decode(mode, bytes, decoded) != x86::DecodeStatus::kOk) return false;
  insn = {};
  insn.length = static_cast<u8>(decoded.length());
  insn.base = insn.index = insn.seg_base = interp::register_offset(ZYDIS_REGISTER_NONE);
  return native.bind(decoded, v, mode == x86::CodeMode::kLong64, insn);
}

interp::Flow NativeBench::run(const interp::Insn& insn) {
  v.state.rip = kRip + insn.length;
  v.mmu.code_was_written = false;
  return insn.run(v, insn);
}

interp::Flow NativeBench::run(std::span<const u8> bytes) {
  interp::Insn insn;
  const bool bound = bind(bytes, insn);
  EXPECT_TRUE(bound) << "not served";
  return bound ? run(insn) : interp::Flow::kRepeat;
}

void NativeBench::poke(u64 linear, std::span<const u8> bytes) {
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const u64 at = v.state.long_mode_active() ? physical_of(linear + n) : linear + n;
    *ram->host(GuestPhys(at)) = bytes[n];
  }
}

std::vector<u8> NativeBench::peek(u64 linear, unsigned size) {
  std::vector<u8> bytes(size);
  for (unsigned n = 0; n < size; ++n) {
    const u64 at = v.state.long_mode_active() ? physical_of(linear + n) : linear + n;
    bytes[n] = *ram->host(GuestPhys(at));
  }
  return bytes;
}

void expect_fault(const NativeBench& b, interp::Flow flow, u8 vector) {
  ASSERT_EQ(flow, interp::Flow::kFault);
  EXPECT_EQ(b.v.fault.vector, vector);
  EXPECT_EQ(b.v.fault.error_code, 0u);
}

}  // namespace vellum::test
