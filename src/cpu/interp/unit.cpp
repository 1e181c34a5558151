#include "cpu/interp/unit.hpp"

#include <algorithm>
#include <new>

#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

// #GP(0) of an instruction of more than 15 bytes.
Flow too_long(Vcpu& v, const Insn&) {
  v.raise_gp(0);
  return Flow::kFault;
}

// #UD of an instruction that no table has a row for, counted by its name each time it is run.
Flow unknown_instruction(Vcpu& v, const Insn& i) {
  const_cast<Counter*>(static_cast<const Counter*>(i.extra))->add();
  return undefined_opcode(v, i);
}

// Whether an instruction must be the last of its unit: a branch, or anything that may change the mode, the
// mapping, or what pends. Everything that transfers control is in these Zydis categories; the rest is asked
// by its handler's flow.
bool ends_unit_by_category(const ZydisDecodedInstruction& info) {
  switch (info.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
      return true;
    default:
      return false;
  }
}

// Where an instruction goes on that runs over the end of its page. Outside 64-bit mode linear addresses have
// 32 bits (SDM vol. 3A §3.3.1): behind the last page comes the first.
u64 next_page(u64 linear, x86::CodeMode mode) {
  const u64 next = (linear | kPageMask) + 1;
  return mode == x86::CodeMode::kLong64 ? next : static_cast<u32>(next);
}

}  // namespace

UnitPtr Unit::make(const Unit& unit, std::span<const Insn> insns) {
  void* const memory = ::operator new(sizeof(Unit) + insns.size_bytes());
  auto* const made = new (memory) Unit(unit);
  std::uninitialized_copy(insns.begin(), insns.end(), reinterpret_cast<Insn*>(made + 1));
  made->count = static_cast<u8>(insns.size());
  return UnitPtr(made);
}

bool loads_segment(const x86::Decoded& d) {
  for (unsigned n = 0; n < d.info.operand_count; ++n) {
    const ZydisDecodedOperand& o = d.operands[n];
    if (o.type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_SEGMENT &&
        (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0)
      return true;
  }
  return false;
}

UnitCache::UnitCache(Vcpu& v)
    : v_(v),
      shortcuts_(new Shortcut[kShortcuts]),
      near_(new Near[kNear]),
      unknown_(new Counter[ZYDIS_MNEMONIC_MAX_VALUE + 1]) {}

void UnitCache::clear() {
  replaced_.clear();
  std::fill_n(shortcuts_.get(), kShortcuts, Shortcut{});
  std::fill_n(near_.get(), kNear, Near{});
  units_.clear();
  native_.clear();
  dropped_.add();
}

const Unit* UnitCache::find_slow(u64 linear, x86::CodeMode mode, u32 key) {
  Mmu::FetchPage page;
  if (!v_.mmu.fetch(linear, page)) return nullptr;
  if (page.host == nullptr) {  // memory-mapped code: nothing tracks its changes
    uncached_ = decode_unit(linear, page, mode);
    return uncached_.get();
  }
  Shortcut& shortcut = shortcuts_[(linear ^ (linear >> 12)) & (kShortcuts - 1)];
  const u64 unit_key = page.physical.value * 4 + static_cast<u64>(mode);
  Near& near = near_[(unit_key ^ (unit_key >> 14)) & (kNear - 1)];
  if (near.key == unit_key && near.unit->valid() && !near.unit->crosses()) {
    shortcut = {linear, v_.mmu.code_map_stamp(linear), key, near.unit};
    return near.unit;
  }
  if (units_.size() >= kMaxUnits || native_.full()) clear();
  UnitPtr& slot = units_[unit_key];
  bool usable = slot != nullptr && slot->valid();
  if (usable && slot->crosses()) {
    Mmu::FetchPage second;
    if (!v_.mmu.fetch(next_page(linear, mode), second)) return nullptr;
    usable = second.host != nullptr && &v_.space.ram.code_page(second.physical) == slot->second;
  }
  if (!usable) {
    if (slot != nullptr) redecoded_.add();
    UnitPtr unit = decode_unit(linear, page, mode);
    if (unit == nullptr) return nullptr;
    replace(slot, std::move(unit));
  }
  if (slot->wraps(linear)) return slot.get();
  // A replaced unit of this address gives way here, too.
  near = {unit_key, slot.get()};
  shortcut = {linear, v_.mmu.code_map_stamp(linear), key, slot.get()};
  return slot.get();
}

void UnitCache::replace(UnitPtr& slot, UnitPtr unit) {
  if (slot != nullptr) {
    slot->page = nullptr;  // valid() is false from now on
    if (replaced_.size() >= kMaxReplaced) {
      std::fill_n(shortcuts_.get(), kShortcuts, Shortcut{});
      replaced_.clear();
    }
    replaced_.push_back(std::move(slot));
  }
  slot = std::move(unit);
}

// Decodes as far as a unit goes. nullptr: the very first instruction could not be fetched whole, v.fault
// holds why.
UnitPtr UnitCache::decode_unit(u64 linear, const Mmu::FetchPage& page, x86::CodeMode mode) {
  GuestRam& ram = v_.space.ram;
  Unit unit;
  unit.start = page.physical;
  if (page.host != nullptr) {
    unit.page = &ram.code_page(page.physical);
    // Before any byte is read: a store that comes later is then noticed by the generation.
    unit.generation = ram.code_page(page.physical).generation.load(std::memory_order_acquire);
  }
  u64 offset = 0;  // bytes decoded so far
  const u64 in_page = kPageSize - page.physical.page_offset();
  bool ends = false;
  insns_.clear();
  while (!ends && insns_.size() < max_instructions_) {
    std::array<u8, 15> bytes;
    const u64 here = std::min<u64>(in_page - offset, 15);
    const bool first = insns_.empty();
    if (unit.page != nullptr && here > 0) ram.track_code(page.physical + offset, here);
    for (u64 n = 0; n < here; ++n) {
      bytes[n] = page.host != nullptr ? guest_load<u8>(page.host + offset + n)
                                      : v_.mmu.fetch_mmio_byte(page.physical + (offset + n));
    }
    x86::Decoded decoded;
    auto status =
        here == 0 ? x86::DecodeStatus::kTruncated : x86::decode(mode, std::span(bytes).first(here), decoded);
    if (status == x86::DecodeStatus::kTruncated) {
      if (!first) break;  // the next unit begins with the instruction that crosses the page
      Mmu::FetchPage next;
      if (!v_.mmu.fetch(next_page(linear, mode), next)) return nullptr;
      if (next.host != nullptr && unit.page != nullptr) {
        unit.second = &ram.code_page(next.physical);
        unit.second_generation = ram.track_code(next.physical, 15);
      } else {
        unit.page = nullptr;  // valid() is false ever after: decoded afresh each time
      }
      for (u64 n = here; n < 15; ++n) {
        bytes[n] = next.host != nullptr ? guest_load<u8>(next.host + (n - here))
                                        : v_.mmu.fetch_mmio_byte(next.physical + (n - here));
      }
      status = x86::decode(mode, bytes, decoded);
      ends = true;
    }
    Insn insn;
    insn.position = static_cast<u8>(insns_.size());
    switch (status) {
      case x86::DecodeStatus::kOk:
        bind(decoded, mode, insn, ends);
        break;
      case x86::DecodeStatus::kInvalid:
        insn.run = &undefined_opcode;
        ends = true;
        break;
      default:  // kTruncated cannot be: 15 bytes were given
        insn.run = &too_long;
        ends = true;
        break;
    }
    insns_.push_back(insn);
    offset += insn.length;
  }
  unit.bytes = static_cast<u16>(offset);
  decoded_units_.add();
  decoded_instructions_.add(insns_.size());
  return Unit::make(unit, insns_);
}

void UnitCache::bind(const x86::Decoded& decoded, x86::CodeMode mode, Insn& out, bool& ends_unit) {
  const Binding binding{decoded, v_, mode};
  out.length = static_cast<u8>(decoded.length());
  out.base = out.index = out.seg_base = zero_offset();
  // MOVSD and CMPSD name a string instruction and an SSE2 one each; the latter are native.
  const bool vector_namesake =
      (decoded.info.mnemonic == ZYDIS_MNEMONIC_MOVSD || decoded.info.mnemonic == ZYDIS_MNEMONIC_CMPSD) &&
      decoded.info.meta.category != ZYDIS_CATEGORY_STRINGOP;
  const Binder binder = vector_namesake ? nullptr : find_binder(decoded.info.mnemonic);
  if (binder != nullptr) {
    binder(binding, out);
  } else if (!native_.bind(decoded, v_, mode == x86::CodeMode::kLong64, out)) {
    out.extra = &unknown_[decoded.info.mnemonic];
    out.run = &unknown_instruction;
  }
  ends_unit = ends_unit || ends_unit_by_category(decoded.info) ||
              (mode != x86::CodeMode::kLong64 && loads_segment(decoded));
}

void UnitCache::stats(std::vector<StatRow>& rows) const {
  rows.push_back({"interp", "units decoded", decoded_units_.get(), 0});
  rows.push_back({"interp", "instructions decoded", decoded_instructions_.get(), 0});
  rows.push_back({"interp", "units decoded again", redecoded_.get(), 0});
  rows.push_back({"interp", "cache dropped", dropped_.get(), 0});
  for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; ++m) {
    if (unknown_[m].get() == 0) continue;
    const char* name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(m));
    rows.push_back(
        {"interp", std::string("lacks instruction ") + (name != nullptr ? name : "?"), unknown_[m].get(), 0});
  }
}

}  // namespace vellum::interp
