// How jumps come to translations: by links, and by jump tables for each mapping and privilege.
#include <algorithm>
#include <utility>

#include "cpu/bt/translator.hpp"

namespace vellum::bt {

const JumpTable Translator::kNoJumps;

void Translator::lead_to(const Link& from, const Translation& to) {
  const u8* const entry = to.checked != nullptr && (to.vectors & ~from.vectors) == 0 ? to.checked : to.linked;
  era_->code.patch32(from.at, static_cast<u32>(entry - (from.at + 4)));
}

// A link to another page is taken by every vCPU that has once found its target there, by a look at its own
// far_serials first. Between that look and the jump it must not begin to lead elsewhere.
bool Translator::may_lead_to(const Link& from, const Translation& to) const {
  return from.far == Link::kNear || !cache_->shared() || from.to == nullptr || from.to->same_place(to);
}

void Translator::link(u32 number, Translation& to) {
  Link& from = era_->links[number];
  // Others may have been told of a change already, or have replaced it.
  if (to.stale || !to.valid() || !may_lead_to(from, to)) return;
  lead_to(from, to);
  from.to = &to;
  if (from.far != Link::kNear) {
    context_.far_serials[from.far] = 0 - context_.code_serial[from.target >> 63];
    far_links_ = std::max(far_links_, from.far + 1);
  }
  routines_.serialize();
  linked_.add();
  // One to another page may be in another translation's list, from another mapping: it stays there.
  if (from.next == kUnlisted) from.next = std::exchange(to.links_in, number);
}

// What leads to `from`, by a link or a jump table, leads to `to` from now on, without a jump on the way.
// Other vCPUs' tables are theirs.
void Translator::take_links(Translation& from, Translation& to) {
  for (const KnownJumps& known : jump_tables_) known.table->replace(from.linear, from.linked, to.linked);
  for (u32 n = std::exchange(from.links_in, kNoLink); n != kNoLink;) {
    const u32 number = n;
    Link& link = era_->links[number];
    n = std::exchange(link.next, kUnlisted);
    if (link.to != &from) continue;  // relinked under another mapping
    lead_to(link, to);
    link.to = &to;
    link.next = std::exchange(to.links_in, number);
  }
}

// What look-ups by guest-virtual address must agree in: the mappings of both halves, and the privilege.
void Translator::select_code_contexts(u32 key) {
  const std::array<u64, 2> stamps{v_.mmu.code_map_stamp(0), v_.mmu.code_map_stamp(~u64{0})};
  if (key == code_key_ && stamps == code_stamps_) return;
  if (stamps != code_stamps_) context_.gates = {};
  code_key_ = key;
  code_stamps_ = stamps;
  for (unsigned half = 0; half < 2; ++half) {
    const u32 serial = code_contexts_.select(half, stamps[half], key);
    context_.code_serial[half] = serial;
    selected_[half] = known_jump_table(serial);
  }
  note_gate();
  arm();
}

// What is selected is selected again whenever 64-bit code comes to this privilege under these mappings.
void Translator::note_gate() {
  const u32 cpl = code_key_ & 3;
  if (interp_.mode_64() && (cpl == 0 || cpl == 3))
    context_.gates[cpl == 3] = {.code_serial = context_.code_serial, .tables = selected_};
}

// The table for `serial`, if there is one.
const JumpTable* Translator::known_jump_table(u32 serial) {
  for (KnownJumps& known : jump_tables_) {
    if (known.serial != serial) continue;
    known.used = ++jump_clock_;
    return known.table.get();
  }
  return &kNoJumps;
}

// Makes `linear` known under what is selected. Only half of what is selected ever runs code (a kernel none in
// the lower half), so a table comes with its first entry; the least recently used one gives way.
void Translator::add_jump(u64 linear, const u8* entry) {
  const u64 half = linear >> 63;
  const u32 serial = context_.code_serial[half];
  auto known = std::ranges::find(jump_tables_, serial, &KnownJumps::serial);
  if (known == jump_tables_.end()) {
    if (jump_tables_.size() < kJumpTables) {
      known = jump_tables_.insert(known, {.table = std::make_unique<JumpTable>()});
    } else {
      known = std::ranges::min_element(jump_tables_, {}, &KnownJumps::used);
      known->table->clear();
      for (Context::Gate& gate : context_.gates)
        if (std::ranges::count(gate.tables, known->table.get()) != 0) gate = {};
    }
    known->serial = serial;
    known->used = ++jump_clock_;
    selected_[half] = known->table.get();
    note_gate();
    arm();
  }
  known->table->insert(linear, entry);
}

}  // namespace vellum::bt
