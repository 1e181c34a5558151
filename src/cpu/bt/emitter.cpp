#include "cpu/bt/emitter.hpp"

namespace vellum::bt {

using x86::rflags::kArithmetic;

namespace {

// Schemes whose instructions run with the guest's flags in the host's, as long as nothing is compared for
// their memory operand.
bool keeps_flags(Scheme scheme) {
  switch (scheme) {
    case Scheme::kGeneric:
    case Scheme::kMultiply:
    case Scheme::kExchangeCompare:
    case Scheme::kPush:
    case Scheme::kPop:
    case Scheme::kLeave:
    case Scheme::kVector:
    case Scheme::kCall:
    case Scheme::kReturn:
    case Scheme::kJumpIndirect:
    case Scheme::kCallIndirect:
      return true;
    default:
      return false;
  }
}

// Their targets are looked up without a change of flags.
bool jumps_indirectly(Scheme scheme) {
  return scheme == Scheme::kJumpIndirect || scheme == Scheme::kCallIndirect;
}

}  // namespace

Emitter::Emitter(asmjit::CodeHolder& holder, const Distances& distances, const UnitSource& source, Era& era)
    : as_(&holder), d_(distances), source_(source), era_(era) {
  as_.setErrorHandler(&errors_);
}

bool Emitter::emit() {
  for (unsigned n = 0; n < source_.unit.count; ++n)
    forms_.push_back(
        form_of(source_.decoded[n], source_.insns[n], source_.model, n + 1 == source_.unit.count));
  if (!source_.wide)
    for (unsigned n = 0; n < source_.unit.count; ++n) narrow_form(source_.decoded[n], forms_[n]);
  find_live_flags();
  plan_sharing();
  entered_ = as_.newLabel();
  at_start_ = as_.newLabel();
  refuse_ = as_.newLabel();
  prologue();
  next_rip_ = source_.linear;
  for (n_ = 0; n_ < source_.unit.count; ++n_) {
    insn_ = &source_.decoded[n_];
    if (insn_->info.mnemonic == ZYDIS_MNEMONIC_STAC) flat_ac_ = true;
    if (insn_->info.mnemonic == ZYDIS_MNEMONIC_CLAC) flat_ac_ = false;
    form_ = &forms_[n_];
    if (called_out_) {
      vectors_ = 0;
      check_vectors();
    }
    called_out_ = false;
    if (n_ == 0) {
      first_vectors_ = vectors_;
      if (vectors_ != 0 && !source_.counted && source_.runs_left == nullptr) patchable_entry();
      checked_ = last_entry_;
    }
    kept_ = nullptr;
    next_rip_ += source_.insns[n_].length;
    starts_.push_back(static_cast<u32>(as_.offset()));
    instruction();
  }
  starts_.push_back(static_cast<u32>(as_.offset()));
  switch (forms_.back().scheme) {
    case Scheme::kJump:
    case Scheme::kJumpIf:
    case Scheme::kCall:
    case Scheme::kReturn:
    case Scheme::kJumpIndirect:
    case Scheme::kCallIndirect:
    case Scheme::kSystemCall:
      break;
    default:
      store_fip();
      if (!source_.wide && interp::loads_segment(source_.decoded[source_.unit.count - 1])) {
        save_flags();
        leave_at(next_rip_);  // segments may not be flat any more
      } else {
        jump_to(next_rip_);
      }
      break;
  }
  starts_.push_back(static_cast<u32>(as_.offset()));
  cold_code();
  return !errors_.failed;
}

// Backwards: a flag matters until it is written, and everything matters where it can be seen.
void Emitter::find_live_flags() {
  live_.resize(forms_.size());
  u64 live = kArithmetic;
  for (std::size_t n = forms_.size(); n-- > 0;) {
    live_[n] = live;
    const Form& form = forms_[n];
    live = form.observable ? kArithmetic : (live & ~form.writes) | form.reads;
  }
}

// A place that others may jump to, and that is patched to lead elsewhere. Where others may be running here
// just then, what the jump overwrites is one instruction, written at once.
void Emitter::patchable_entry() {
  constexpr u8 kLongNop[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  if (source_.shared) as_.align(asmjit::AlignMode::kCode, 8);
  last_entry_ = as_.offset();
  if (source_.shared) as_.embed(kLongNop, sizeof kLongNop);
}

void Emitter::prologue() {
  const interp::Unit& unit = source_.unit;
  host_ = kArithmetic;
  packed_ = 0;
  cold_.push_back([this] {
    as_.bind(at_start_);
    unpack_host_flags();
    as_.bind(refuse_);
    pack_host_flags();
    leave_at(source_.linear);
  });
  if (!source_.counted) {
    as_.bind(entered_);
    patchable_entry();
    if (source_.runs_left == nullptr) return;
    save_flags();
    count_run();
    return;
  }
  save_flags();
  host_ = 0;
  as_.mov(kT0, field(offsetof(Context, hazards), 8));
  as_.cmp(a::dword_ptr(kT0), 0);
  as_.jne(at_start_);
  const auto check_generation = [&](const CodePage& page, u32 generation) {
    as_.mov(kT0, asmjit::imm(reinterpret_cast<u64>(&page.generation)));
    as_.cmp(a::dword_ptr(kT0), generation);
    as_.jne(at_start_);
  };
  check_generation(*unit.page, unit.generation);
  if (unit.crosses()) check_generation(*unit.second, unit.second_generation);
  as_.bind(entered_);
  const a::Mem left = field(offsetof(Context, left), 8);
  const asmjit::Label spent = as_.newLabel();
  as_.sub(left, unit.count);
  as_.js(spent);
  cold_.push_back([this, spent, left, count = unit.count] {
    as_.bind(spent);
    as_.add(left, count);
    as_.jmp(at_start_);
  });
  if (source_.runs_left != nullptr) count_run();
}

void Emitter::count_run() {
  const asmjit::Label hot = as_.newLabel();
  as_.mov(kT0, asmjit::imm(reinterpret_cast<u64>(source_.runs_left)));
  as_.sub(a::dword_ptr(kT0), 1);
  as_.js(hot);
  host_ = 0;
  cold_.push_back([this, hot] {
    as_.bind(hot);
    if (source_.counted) as_.add(field(offsetof(Context, left), 8), source_.unit.count);
    as_.jmp(at_start_);
  });
}

void Emitter::instruction() {
  // What may be seen from outside must find the flags where C++ looks for them. A fault of the host leaves
  // them as they are.
  if (form_->observable && !(flat_here() && keeps_flags(form_->scheme)) &&
      !(jumps_indirectly(form_->scheme) && form_->memory < 0))
    save_flags();
  if (n_ + 1 == source_.unit.count && form_->vectors == 0) store_fip();  // it may be a jump
  unsaved_ = host_ & ~packed_;
  switch (form_->scheme) {
    case Scheme::kCallOut:
      call_out();
      break;
    case Scheme::kNothing:
      break;
    case Scheme::kGeneric:
      generic();
      break;
    case Scheme::kLea:
      lea();
      break;
    case Scheme::kConvert:
      convert();
      break;
    case Scheme::kMultiply:
      multiply();
      break;
    case Scheme::kExchangeCompare:
      exchange_compare();
      break;
    case Scheme::kPush:
      push();
      break;
    case Scheme::kPop:
      pop();
      break;
    case Scheme::kLeave:
      leave();
      break;
    case Scheme::kVector:
      vector();
      break;
    case Scheme::kLoadControl:
      load_control();
      break;
    case Scheme::kStatusToAx:
      status_to_ax();
      break;
    case Scheme::kPushMemory:
      push_memory();
      break;
    case Scheme::kPushFlags:
      push_flags();
      break;
    case Scheme::kDivide:
      divide();
      break;
    case Scheme::kBitInMemory:
      bit_in_memory();
      break;
    case Scheme::kExchangePairs:
      exchange_pairs();
      break;
    case Scheme::kSystem:
      system();
      break;
    case Scheme::kPrivilege:
      privilege();
      break;
    case Scheme::kPopFlags:
      pop_flags();
      break;
    case Scheme::kSystemCall:
      system_call();
      break;
    case Scheme::kJump:
      jump();
      break;
    case Scheme::kJumpIf:
      jump_if();
      break;
    case Scheme::kCall:
      call();
      break;
    case Scheme::kReturn:
      ret();
      break;
    case Scheme::kJumpIndirect:
      jump_indirect();
      break;
    case Scheme::kCallIndirect:
      call_indirect();
      break;
  }
}

Site& Emitter::make_site(unsigned size, bool write) {
  if (kept_ == nullptr) kept_ = &era_.insns.emplace_back(source_.insns[n_]);
  Site& site = era_.sites.emplace_back();
  site.insn = kept_;
  site.next_rip = next_rip_;
  site.rest = static_cast<u8>(source_.counted ? source_.unit.count - n_ - 1u : 0);
  site.mnemonic = static_cast<u16>(insn_->info.mnemonic);
  site.size = static_cast<u8>(size);
  site.write = write;
  site.sets_fip = form_->sets_fip;
  site.fip_behind = static_cast<u16>(fip_ ? next_rip_ - *fip_ : 0);
  site.translation = source_.translation;
  site.position = static_cast<u8>(n_);
  return site;
}

void Emitter::site_to_scratch(const Site& site) {
  as_.mov(kT0, asmjit::imm(reinterpret_cast<u64>(&site)));
}

void Emitter::call_out() {
  site_to_scratch(make_site(0, false));
  as_.call(field(offsetof(Context, call_out), 8));
  called_out_ = true;
  vectors_ = 0;
  fip_.reset();  // C++ has caught up, and the instruction may have set it
  host_ = 0;
  packed_ = kArithmetic;
}

void Emitter::cold_code() {
  for (const Slow& slow : slow_) {
    as_.bind(slow.from);
    site_to_scratch(*slow.site);
    as_.call(field(offsetof(Context, slow_access), 8));
    as_.test(kT1, kT1);
    as_.jnz(slow.resume);
    if (slow.restore_flags) unpack_host_flags();
    as_.jmp(slow.skip);
  }
  for (const CodeStore& store : code_stores_) {
    as_.bind(store.from);
    site_to_scratch(*store.site);
    as_.call(field(offsetof(Context, code_store), 8));
    as_.jmp(store.resume);
  }
  for (std::size_t n = 0; n < cold_.size(); ++n) cold_[n]();
}

}  // namespace vellum::bt
