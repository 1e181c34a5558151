// What translated code calls. All guest registers are in memory then.
#include "cpu/bt/translator.hpp"
#include "cpu/bt/vector_state.hpp"

namespace vellum::bt {

using interp::Flow;

// Translated code has changed CPL or EFLAGS.AC by itself: what else goes by them follows.
void Translator::adopt_changed_privilege() {
  context_.privilege_changed = false;
  v_.mmu.update_context();
  interp_.refresh_mode();
  select_code_contexts(interp_.key());
}

// The instruction at `site` ended with `flow`.
u64 Translator::finish(const Site& site, Flow flow) {
  if (flow == Flow::kNext) {
    // The instruction may have been a serializing one, after which another processor's changes of code count.
    if (counted_ || (v_.hazards.load() & Hazards::kCodeChanged) == 0) return kGoOn;
    flow = Flow::kEndUnit;
  }
  context_.left += site.rest;
  // As Interpreter::run_unit().
  if ((flow == Flow::kFault && v_.fault.kind != x86::EventKind::kTrap) || flow == Flow::kRepeat) {
    if (counted_) context_.left += 1;
    v_.state.rip -= site.insn->length;
  } else if (const u8* const entry = go_on(flow); entry != nullptr) {
    return reinterpret_cast<u64>(entry);
  }
  context_.flow = flow;
  return kLeave;
}

// Between two units, as Interpreter::run() does it: the translated code at RIP, unless there is none yet or
// something needs the interpreter's attention first.
const u8* Translator::go_on(Flow flow) {
  if (flow == Flow::kEndUnit) {
    if (v_.hazards.load() != 0 || v_.state.activity != Activity::kRunning) return nullptr;
    interp_.refresh_mode();
    if (!interp_.runs_fast() || code_contexts_.exhausted()) return nullptr;
    look_at_segments();
    const auto before = context_.code_serial;
    select_code_contexts(interp_.key());
    if (context_.code_serial != before) forget_returns();
  } else if (flow != Flow::kJump || (!counted_ && v_.hazards.load() != 0)) {
    return nullptr;
  }
  if (!cache_->is_current(*era_)) return nullptr;
  if (!interp_.mode_64()) v_.state.rip = static_cast<u32>(v_.state.rip);
  if (retry_.armed) access_again();
  const u8* const entry = selected_[v_.state.rip >> 63]->find(v_.state.rip);
  if (entry == nullptr) return nullptr;
  if (flow == Flow::kEndUnit) {
    // must_step() clears RF, so it is asked only if something runs next.
    if ((counted_ && context_.left <= 0) || interp_.must_step()) return nullptr;
    v_.mmu.code_was_written = false;
  }
  continued_.add();
  return entry;
}

// Expected returns are those of one mapping and privilege, like everything that translated code does without
// a look at them.
void Translator::forget_returns() {
  context_.return_stack = returns_.reset(context_.return_beyond[v_.state.rip >> 63]);
}

// What translated code leaves for later: the x87 instruction pointer (SDM vol. 1 §8.1.8).
void Translator::catch_up(const Site& site) {
  if (site.fip_behind != 0) v_.state.xsave.fip() = site.next_rip - site.fip_behind;
}

// Translated code is about to run instructions that need these VectorBits: all that is to be loaded for them.
// What was loaded before stays so.
u64 Translator::open_needed_vectors(u32 needed) {
  const u32 open = open_vectors(v_.state);
  if ((needed & ~open) != 0) return 0;
  vector_loads_.add();
  const u32 wanted = needed | context_.reload;
  return ((wanted & kVectors) != 0 ? wanted | kVectors : wanted) & open;
}

u64 Translator::run_site(const Site& site) {
  come_from_code();
  catch_up(site);
  called_out_.add();
  called_out_by_[site.mnemonic].add();
  if (v_.trace.wants(TraceKind::kExits)) [[unlikely]]
    v_.trace.line("exits: callout for {} before {:x}",
                  ZydisMnemonicGetString(static_cast<ZydisMnemonic>(site.mnemonic)), site.next_rip);
  v_.state.rip = site.next_rip;
  v_.state.rflags = (v_.state.rflags & ~x86::rflags::kArithmetic) | unpack_flags(context_.flags);
  const Flow flow = site.insn->run(v_, *site.insn);
  context_.flags = pack_flags(v_.state.rflags);
  if (context_.reload != 0) context_.reload &= open_vectors(v_.state);
  return finish(site, flow);
}

u64 Translator::missed_return(const Site& site) {
  come_from_code();
  v_.state.gpr[x86::kRsp] -= site.disp;
  return run_site(site);
}

SlowAccess Translator::slow_access(const Site& site, u64 linear) {
  come_from_code();
  slow_accesses_.add();
  // Beyond every limit: its fault comes before those of pages and of alignment.
  if (!interp_.mode_64() && linear + site.size > u64{1} << 32) return {nullptr, run_site(site)};
  bool faulted;
  const auto seg = static_cast<x86::Seg>(site.seg);
  u8* const host = site.write ? v_.mmu.pointer_for_write(linear, site.size, seg, faulted)
                              : v_.mmu.pointer_for_read(linear, site.size, seg, faulted);
  if (host != nullptr) {
    v_.mmu.fill_front(linear);
    return {host, reinterpret_cast<u64>(v_.mmu.tracked(linear))};
  }
  if (faulted) {
    catch_up(site);
    v_.state.rip = site.next_rip;
    return {nullptr, finish(site, Flow::kFault)};
  }
  return {nullptr, run_site(site)};
}

u64 Translator::code_store(const Site& site, const u8* host) {
  come_from_code();
  v_.mmu.wrote_host(host, site.size);
  if (!v_.mmu.code_was_written) return kGoOn;
  catch_up(site);
  if (site.sets_fip) v_.state.xsave.fip() = site.next_rip - site.insn->length;
  v_.state.rip = site.after_is_target ? context_.target : site.next_rip + static_cast<u64>(i64{site.after});
  if (!interp_.mode_64()) v_.state.rip = static_cast<u32>(v_.state.rip);
  return finish(site, Flow::kEndUnit);
}

}  // namespace vellum::bt
