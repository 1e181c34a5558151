// Feeds arbitrary bytes to the decoder in every mode, and what it makes of them to the interpreter's binders:
// no encoding may crash either, and what the decoder says must be consistent with itself.
//
// Byte 0: the mode (bits 1..0) and how many bytes before a page's end the code stands (bits 7..2; 0: far from
// it). The rest is code.
#include <array>

#include "cpu/interp/unit.hpp"
#include "cpu/system/control.hpp"
#include "fuzz_input.hpp"
#include "x86/decode.hpp"

using namespace vellum;

namespace {

class NoBoard final : public VcpuBoard {
 public:
  int acknowledge_interrupt() override { return -1; }
  bool read_apic_msr(u32, u64&) override { return false; }
  bool write_apic_msr(u32, u64) override { return false; }
  u64 apic_page() const override { return ~u64{0}; }
  u64 read_apic_page(u32, unsigned) override { return 0; }
  void write_apic_page(u32, unsigned, u64) override {}
  u8 read_cr8() override { return 0; }
  void write_cr8(u8) override {}
  u32 apic_id() const override { return 0; }
};

/// A processor in real mode, where linear addresses are physical ones: the mode to decode in is find()'s
/// argument.
struct Processor {
  std::unique_ptr<GuestRam> ram = *GuestRam::create(2 * kPageSize);
  Bus mmio{"mmio"}, ports{"port"};
  AddressSpace space{*ram, mmio, ports};
  NoBoard board;
  VirtualClock clock;
  x86::CpuModel model = *x86::CpuModel::create("host");
  Hazards hazards;
  Vcpu v{0, space, board, clock, model, hazards};
  interp::UnitCache units{v};

  Processor() {
    v.state = reset_state(true);
    resync(v);
  }
};

void check_decoder(x86::CodeMode mode, std::span<const u8> bytes) {
  x86::Decoded decoded;
  const auto status = x86::decode(mode, bytes, decoded);
  if (status == x86::DecodeStatus::kTruncated && bytes.size() >= x86::kMaxInstructionLength) __builtin_trap();
  if (status != x86::DecodeStatus::kOk) return;
  const unsigned length = decoded.length();
  if (length == 0 || length > x86::kMaxInstructionLength || length > bytes.size()) __builtin_trap();
  if (x86::format_instruction(decoded, 0x1000).empty()) __builtin_trap();
  // Its own bytes are the whole of it, and no fewer.
  x86::Decoded again;
  if (x86::decode(mode, bytes.first(length), again) != x86::DecodeStatus::kOk || again.length() != length)
    __builtin_trap();
  for (unsigned n = 0; n < length; ++n)
    if (x86::decode(mode, bytes.first(n), again) == x86::DecodeStatus::kOk) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static Processor processor;
  if (size < 2) return 0;
  const auto mode = static_cast<x86::CodeMode>(data[0] & 3);
  const u64 before_end = data[0] >> 2;
  const std::span<const u8> code(data + 1, std::min<std::size_t>(size - 1, 512));
  for (std::size_t n = 0; n < code.size(); ++n) check_decoder(mode, code.subspan(n));

  GuestRam& ram = *processor.ram;
  const u64 start = before_end == 0 ? 0 : kPageSize - before_end;
  guest_copy(ram.host(GuestPhys(start)), code.data(), code.size());
  ram.note_store(GuestPhys(start), code.size());
  for (u64 at = start; at < start + code.size();) {
    const interp::Unit* unit = processor.units.find(at, mode, static_cast<u32>(mode) << 2);
    if (unit == nullptr || unit->count == 0) __builtin_trap();
    for (const interp::Insn& insn : unit->insns())
      if (insn.run == nullptr) __builtin_trap();
    at += std::max<u64>(unit->bytes, 1);
  }
  return 0;
}
