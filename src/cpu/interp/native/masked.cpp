// Instructions that access memory element by element under a mask: VMASKMOV, VPMASKMOV, (V)MASKMOVDQU,
// MASKMOVQ, and the AVX2 gathers. Elements that are masked off are not accessed and can't fault (SDM vol. 2C,
// VMASKMOV, VPGATHER…).
//
// Insn.dst and src are vector register numbers here (destination or data, and mask), size the element's
// bytes.
#include <algorithm>
#include <array>
#include <cstring>

#include "cpu/interp/native/families.hpp"
#include "cpu/interp/native/memory.hpp"
#include "cpu/interp/native/x87.hpp"

namespace vellum::interp::native {
namespace {

using Vector = std::array<u8, 32>;

Vector read_vector(VcpuState& s, unsigned n) {
  Vector value;
  std::copy_n(s.xsave.xmm(n), 16, value.begin());
  std::copy_n(s.xsave.ymm_hi(n), 16, value.begin() + 16);
  return value;
}

void write_vector(VcpuState& s, unsigned n, const Vector& value) {
  std::copy_n(value.begin(), 16, s.xsave.xmm(n));
  std::copy_n(value.begin() + 16, 16, s.xsave.ymm_hi(n));
}

bool selected(const Vector& mask, unsigned element, unsigned size) {
  return mask[(element + 1) * size - 1] >> 7 != 0;
}

// The linear address of an element at `offset` within the segment. What cuts an effective address to the
// address size has happened: an operand that begins below its end runs on beyond it.
bool element_address(Vcpu& v, const Insn& i, u64 offset, unsigned size, Access access, u64& linear) {
  if (i.legacy) return legacy_address(v, static_cast<x86::Seg>(i.seg), offset, size, access, linear);
  linear = offset + reg64(v, i.seg_base);
  return true;
}

bool load_element(Vcpu& v, const Insn& i, u64 offset, unsigned size, u8* to) {
  u64 linear;
  if (!element_address(v, i, offset, size, Access::kRead, linear)) return false;
  if (size == 4) {
    u32 value;
    if (!v.mmu.read(linear, value, seg_of(i))) return false;
    std::memcpy(to, &value, 4);
    return true;
  }
  u64 value;
  if (!v.mmu.read(linear, value, seg_of(i))) return false;
  std::memcpy(to, &value, 8);
  return true;
}

// Stores the selected elements of `data`: all are checked before the first is written.
bool store_elements(Vcpu& v, const Insn& i, const Vector& data, const Vector& mask, unsigned count,
                    unsigned size) {
  const u64 start = offset_of(v, i);
  u64 linear;
  for (unsigned e = 0; e < count; ++e) {
    if (!selected(mask, e, size)) continue;
    if (!element_address(v, i, start + e * size, size, Access::kWrite, linear)) return false;
    if (!v.mmu.probe(linear, size, Access::kWrite, seg_of(i))) return false;
  }
  for (unsigned e = 0; e < count; ++e) {
    if (!selected(mask, e, size)) continue;
    if (!element_address(v, i, start + e * size, size, Access::kWrite, linear)) return false;
    if (!v.mmu.write_bytes(linear, data.data() + e * size, size, seg_of(i))) return false;
  }
  return true;
}

// VMASKMOVPS/PD, VPMASKMOVD/Q from memory. aux: vector bytes.
Flow masked_load(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kAvx>(v.state)) return gate_fault(v, Gate::kAvx);
  const Vector mask = read_vector(v.state, i.src);
  Vector result{};
  const u64 start = offset_of(v, i);
  for (unsigned e = 0; e < unsigned{i.aux} / i.size; ++e)
    if (selected(mask, e, i.size) &&
        !load_element(v, i, start + e * i.size, i.size, result.data() + e * i.size))
      return Flow::kFault;
  write_vector(v.state, i.dst, result);
  return Flow::kNext;
}

Flow masked_store(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kAvx>(v.state)) return gate_fault(v, Gate::kAvx);
  const Vector mask = read_vector(v.state, i.src), data = read_vector(v.state, i.dst);
  return store_elements(v, i, data, mask, unsigned{i.aux} / i.size, i.size) ? after_store(v) : Flow::kFault;
}

template <Gate kGate>
Flow masked_bytes(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) return gate_fault(v, kGate);
  const Vector mask = read_vector(v.state, i.src), data = read_vector(v.state, i.dst);
  return store_elements(v, i, data, mask, 16, 1) ? after_store(v) : Flow::kFault;
}

// MASKMOVQ: MMn is physical x87 register n, which the image keeps relative to TOP. As every MMX instruction
// it sets TOP to 0 and marks all registers valid (SDM vol. 3A table 12-2), but not when it faults.
Flow masked_bytes_mmx(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kMmx>(v.state)) return gate_fault(v, Gate::kMmx);
  XsaveArea& x = v.state.xsave;
  const unsigned top = (x.fsw() >> 11) & 7;
  Vector mask{}, data{};
  std::copy_n(x.st((i.src - top) & 7), 8, mask.begin());
  std::copy_n(x.st((i.dst - top) & 7), 8, data.begin());
  if (!store_elements(v, i, data, mask, 8, 1)) return Flow::kFault;
  set_top(x, 0);
  x.ftw() = 0xff;
  return after_store(v);
}

// Gathers. aux: elements; imm: the index register's number, and 0x100 when indices have 8 bytes.
Flow gather(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kAvx>(v.state)) return gate_fault(v, Gate::kAvx);
  const unsigned size = i.size, count = i.aux;
  const bool wide_index = (i.imm & 0x100) != 0;
  const Vector index = read_vector(v.state, static_cast<unsigned>(i.imm & 0xff));
  Vector mask = read_vector(v.state, i.src), result = read_vector(v.state, i.dst);
  for (unsigned e = 0; e < count; ++e)
    std::fill_n(mask.begin() + e * size, size, selected(mask, e, size) ? u8{0xff} : u8{0});
  std::fill(mask.begin() + count * size, mask.end(), u8{0});
  for (unsigned e = 0; e < count; ++e) {
    if (selected(mask, e, size)) {
      i64 element_index;
      if (wide_index) {
        std::memcpy(&element_index, index.data() + 8 * e, 8);
      } else {
        i32 narrow;
        std::memcpy(&narrow, index.data() + 4 * e, 4);
        element_index = narrow;
      }
      u64 offset =
          reg64(v, i.base) + (static_cast<u64>(element_index) << i.scale) + static_cast<u64>(i64{i.disp});
      offset = offset << i.address_shift >> i.address_shift;
      if (!load_element(v, i, offset, size, result.data() + e * size)) {
        // The elements below are done for good: their mask is clear, and a restart skips them.
        write_vector(v.state, i.dst, result);
        write_vector(v.state, i.src, mask);
        return Flow::kFault;
      }
    }
    std::fill_n(mask.begin() + e * size, size, u8{0});
  }
  std::fill(result.begin() + count * size, result.end(), u8{0});
  write_vector(v.state, i.dst, result);
  write_vector(v.state, i.src, mask);
  return Flow::kNext;
}

bool bind_gather(const Request& r, unsigned element, bool wide_index, Insn& out) {
  const ZydisDecodedOperand& operand = r.operand(1);
  const auto number = [](ZydisRegister n) { return static_cast<unsigned>(ZydisRegisterGetId(n)); };
  const unsigned index = number(operand.mem.index);
  out.dst = static_cast<u16>(vector_number(r.operand(0)));
  out.src = static_cast<u16>(vector_number(r.operand(2)));
  // The same register twice is #UD (SDM vol. 2C, VPGATHERDD).
  if (out.dst == out.src || out.dst == index || out.src == index) return false;
  ZydisDecodedOperand scalar = operand;
  scalar.mem.index = ZYDIS_REGISTER_NONE;
  bind_memory(scalar, r.decoded.info, r.mode_64, out);
  out.size = static_cast<u8>(element);
  out.imm = index | (wide_index ? 0x100u : 0u);
  const unsigned vector = r.decoded.info.raw.vex.L != 0 ? 32 : 16;
  out.aux = static_cast<u8>(vector / std::max(element, wide_index ? 8u : 4u));
  out.run = gather;
  return true;
}

bool bind_mask_move(const Request& r, unsigned element, Insn& out) {
  const bool is_load = r.is_memory(2);
  r.memory(is_load ? 2 : 0, out);
  out.dst = static_cast<u16>(vector_number(r.operand(is_load ? 0 : 2)));
  out.src = static_cast<u16>(vector_number(r.operand(1)));
  out.size = static_cast<u8>(element);
  out.aux = r.decoded.info.raw.vex.L != 0 ? 32 : 16;
  out.run = is_load ? masked_load : masked_store;
  return true;
}

bool bind_mask_bytes(const Request& r, Handler handler, Insn& out) {
  for (unsigned n = 0; n < r.decoded.info.operand_count; ++n)
    if (r.is_memory(n)) r.memory(n, out);
  out.dst = static_cast<u16>(vector_number(r.operand(0)));
  out.src = static_cast<u16>(vector_number(r.operand(1)));
  if (r.is_memory(0)) {  // some decoders name the implicit operand first
    out.dst = static_cast<u16>(vector_number(r.operand(1)));
    out.src = static_cast<u16>(vector_number(r.operand(2)));
  }
  out.run = handler;
  return true;
}

}  // namespace

bool bind_masked(const Request& r, Insn& out) {
  switch (r.mnemonic()) {
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
      return bind_mask_move(r, 4, out);
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      return bind_mask_move(r, 8, out);
    case ZYDIS_MNEMONIC_MASKMOVQ:
      return bind_mask_bytes(r, masked_bytes_mmx, out);
    case ZYDIS_MNEMONIC_MASKMOVDQU:
      return bind_mask_bytes(r, masked_bytes<Gate::kSse>, out);
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
      return bind_mask_bytes(r, masked_bytes<Gate::kAvx>, out);
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VPGATHERDD:
      return bind_gather(r, 4, false, out);
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VPGATHERQD:
      return bind_gather(r, 4, true, out);
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
      return bind_gather(r, 8, false, out);
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
      return bind_gather(r, 8, true, out);
    default:
      return false;
  }
}

}  // namespace vellum::interp::native
