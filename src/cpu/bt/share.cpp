// Which memory operands of a unit share one slot of the flat table: those that are near each other from one
// register, as long as nothing but constants is added to it. PUSH, POP, CALL and RET are such operands, too.
//
// The first of them looks the slot up as one access from the lowest to the highest byte: if they all lie in
// one page, they get its slot; if not, "absent", and each faults (docs/design/flat-table.md).
#include "cpu/bt/emitter.hpp"

namespace vellum::bt {

namespace {

// Wider ranges cross pages more often.
constexpr i32 kWidest = 256;

bool uses_stack(Scheme scheme) {
  switch (scheme) {
    case Scheme::kPush:
    case Scheme::kPop:
    case Scheme::kLeave:
    case Scheme::kCall:
    case Scheme::kReturn:
    case Scheme::kCallIndirect:
      return true;
    default:
      return false;
  }
}

// Nothing else may run between two operands that share: it might change what the slot was made from.
bool runs_only_itself(Scheme scheme) {
  switch (scheme) {
    case Scheme::kCallOut:
    case Scheme::kSystem:
    case Scheme::kPrivilege:
    case Scheme::kPopFlags:
    case Scheme::kSystemCall:
    case Scheme::kLoadControl:
      return false;
    default:
      return true;
  }
}

// What the instruction adds to guest register `r`, if it is that simple; nullopt: it writes something else.
std::optional<i32> adds_to(const x86::Decoded& d, const Form& form, unsigned r) {
  if (r == x86::kRsp) {
    if (form.scheme == Scheme::kPush || form.scheme == Scheme::kCall || form.scheme == Scheme::kCallIndirect)
      return -8;
    if (form.scheme == Scheme::kPop && x86::general_register_number(d.operands[0].reg.value) != x86::kRsp)
      return 8;
  }
  const bool add = d.info.mnemonic == ZYDIS_MNEMONIC_ADD, sub = d.info.mnemonic == ZYDIS_MNEMONIC_SUB;
  if (form.scheme == Scheme::kGeneric && (add || sub) && d.operands[0].size == 64 &&
      d.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    const i64 value = d.operands[1].imm.value.s;
    if (value > -4096 && value < 4096) return static_cast<i32>(add ? value : -value);
  }
  if (form.scheme == Scheme::kLea && d.info.operand_width == 64 && d.info.address_width == 64 &&
      d.operands[1].mem.base == d.operands[0].reg.value && d.operands[1].mem.index == ZYDIS_REGISTER_NONE &&
      d.operands[1].mem.disp.value > -4096 && d.operands[1].mem.disp.value < 4096)
    return static_cast<i32>(d.operands[1].mem.disp.value);
  return std::nullopt;
}

}  // namespace

// Whether instruction n's memory operand goes through the table. Under AC few accesses are made, to pages of
// an address space that may have just come: they are looked up. So is the operand of an instruction with two
// registers that the host has in memory (MULX R11, R14, [RSI]): a look-up leaves two registers free, the
// table one.
bool Emitter::flat_at(unsigned n) const {
  const Form& form = forms_[n];
  return source_.hot && !flat_ac_ && (source_.no_flat >> n & 1) == 0 && form.borrowed < 2 &&
         (form.memory >= 0 || uses_stack(form.scheme));
}

// The operand of instruction n, if it is a constant away from a register that the host has, too.
std::optional<Emitter::Access> Emitter::plain_access(unsigned n) const {
  const Form& form = forms_[n];
  const x86::Decoded& d = source_.decoded[n];
  switch (form.scheme) {
    case Scheme::kPush:
    case Scheme::kCall:
      return Access{x86::kRsp, -8, 8};
    case Scheme::kPop:
    case Scheme::kReturn:
      return Access{x86::kRsp, 0, 8};
    case Scheme::kLeave:
      return Access{x86::kRbp, 0, 8};
    case Scheme::kGeneric:
    case Scheme::kMultiply:
    case Scheme::kExchangeCompare:
    case Scheme::kVector:
    case Scheme::kJumpIndirect:
      break;
    default:
      return std::nullopt;
  }
  if (form.memory < 0) return std::nullopt;
  const ZydisDecodedOperand& o = d.operands[static_cast<unsigned>(form.memory)];
  const auto& m = o.mem;
  if (d.info.address_width != 64 || m.base == ZYDIS_REGISTER_NONE || m.base == ZYDIS_REGISTER_RIP ||
      m.index != ZYDIS_REGISTER_NONE || m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS ||
      kHostOf[x86::general_register_number(m.base)] == kInMemory)
    return std::nullopt;
  const i64 disp = m.disp.has_displacement ? m.disp.value : 0;
  if (disp < -(i64{1} << 30) || disp > i64{1} << 30) return std::nullopt;
  return Access{x86::general_register_number(m.base), static_cast<i32>(disp), o.size / 8u};
}

void Emitter::plan_sharing() {
  shares_.assign(forms_.size(), {});
  if (!source_.hot) return;
  // Operands that share so far, by base register; positions are relative to the register at the leader.
  struct Open {
    std::vector<unsigned> members;
    std::vector<i32> at;
    i64 low = 0, high = 0;
    i64 added = 0;  ///< to the register since
  };
  std::array<Open, 16> open{};
  u8 used = 0;
  const auto close = [&](Open& o) {
    if (o.members.size() > 1 && used < std::tuple_size_v<decltype(Context::shared)>) {
      ++used;
      for (std::size_t i = 0; i < o.members.size(); ++i)
        shares_[o.members[i]] = {used, static_cast<u8>(o.members.front()), static_cast<i32>(o.low - o.at[i]),
                                 static_cast<i32>(o.high - o.at[i])};
    }
    o = {};
  };
  for (unsigned n = 0; n < forms_.size(); ++n) {
    const x86::Decoded& d = source_.decoded[n];
    if (!runs_only_itself(forms_[n].scheme))
      for (Open& o : open) close(o);
    const auto access = plain_access(n);
    if (access && flat_at(n)) {
      Open& o = open[access->base];
      const auto size = static_cast<i64>(access->size);
      i64 at = o.added + access->disp;
      const bool joins = !o.members.empty() && std::max(o.high, at + size) - std::min(o.low, at) <= kWidest &&
                         (source_.no_share >> n & 1) == 0;
      if (!joins) {
        close(o);
        at = access->disp;
        o.low = at;
        o.high = at + size;
      }
      if (joins || (source_.no_share >> n & 1) == 0) {
        o.members.push_back(n);
        o.at.push_back(static_cast<i32>(at));
        o.low = std::min(o.low, at);
        o.high = std::max(o.high, at + size);
      }
    }
    for (unsigned i = 0; i < d.info.operand_count; ++i) {
      const ZydisDecodedOperand& o = d.operands[i];
      if (o.type != ZYDIS_OPERAND_TYPE_REGISTER || !x86::is_general_register(o.reg.value) ||
          (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
        continue;
      const unsigned r = x86::general_register_number(o.reg.value);
      const auto added = adds_to(d, forms_[n], r);
      if (added)
        open[r].added += *added;
      else
        close(open[r]);
    }
  }
  for (Open& o : open) close(o);
}

}  // namespace vellum::bt
