// How jumps come to translations: by links, and by jump tables for each mapping and privilege.
#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/bt/translator.hpp"

namespace vellum::bt {

const JumpTable Translator::kNoJumps;

void Translator::lead_to(const Link& from, const Translation& to) {
  const u8* const entry = to.checked != nullptr && (to.vectors & ~from.vectors) == 0 ? to.checked : to.linked;
  cache_.patch32(from.at, static_cast<u32>(entry - (from.at + 4)));
}

void Translator::link(u32 number, Translation& to) {
  Link& from = links_[number];
  lead_to(from, to);
  if (from.guard != nullptr) cache_.patch32(from.guard, 0 - context_.code_serial[from.target >> 63]);
  routines_.serialize();
  linked_.add();
  // One to another page may be in another translation's list, from another mapping: it stays there.
  if (from.next == kUnlisted) from.next = std::exchange(to.links_in, number);
}

bool Translator::leads_to(const Link& from, const Translation& to) const {
  i32 distance = 0;
  std::memcpy(&distance, from.at, sizeof(distance));
  const u8* const entry = from.at + 4 + distance;
  return entry == to.linked || (to.checked != nullptr && entry == to.checked);
}

// What leads to `from`, by a link or a jump table, leads to `to` from now on, without a jump on the way.
void Translator::take_links(Translation& from, Translation& to) {
  for (const KnownJumps& known : jump_tables_) known.table->replace(from.linear, from.linked, to.linked);
  for (u32 n = std::exchange(from.links_in, kNoLink); n != kNoLink;) {
    const u32 number = n;
    n = std::exchange(links_[number].next, kUnlisted);
    if (!leads_to(links_[number], from)) continue;  // relinked under another mapping
    lead_to(links_[number], to);
    links_[number].next = std::exchange(to.links_in, number);
  }
}

// What look-ups by guest-virtual address must agree in: the mappings of both halves, and the privilege.
void Translator::select_code_contexts(u32 key) {
  const std::array<u64, 2> stamps{v_.mmu.code_map_stamp(0), v_.mmu.code_map_stamp(~u64{0})};
  if (key == code_key_ && stamps == code_stamps_) return;
  code_key_ = key;
  code_stamps_ = stamps;
  for (unsigned half = 0; half < 2; ++half) {
    const u32 serial = code_contexts_.select(half, stamps[half], key);
    context_.code_serial[half] = serial;
    selected_[half] = known_jump_table(serial);
  }
  arm();
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
    }
    known->serial = serial;
    known->used = ++jump_clock_;
    selected_[half] = known->table.get();
    arm();
  }
  known->table->insert(linear, entry);
}

}  // namespace vellum::bt
