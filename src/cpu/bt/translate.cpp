// From a unit to its translation: the one that there is, this vCPU's or another's, or a new one.
#include <algorithm>

#include "base/assert.hpp"
#include "cpu/bt/translator.hpp"

namespace vellum::bt {

// The unit's translation, if there is one, or it is time to make one.
Translation* Translator::find(const interp::Unit& unit, u64 linear) {
  if (unit.epoch != era_->number) {
    unit.translated = nullptr;
    unit.epoch = era_->number;
  }
  auto* t = static_cast<Translation*>(unit.translated);
  if (t != nullptr && t->linear == linear && !t->stale.load(std::memory_order_relaxed) && !t->worn_out())
    return t;
  // Another vCPU may have one, which is asked for when the unit is new to this one.
  const bool is_new = unit.runs == 0, is_due = t != nullptr || unit.runs >= options_.threshold;
  if (!is_due) ++unit.runs;
  if (!is_due && !(is_new && cache_->shared())) return nullptr;
  const std::lock_guard lock(cache_->mutex());
  t = known(unit, linear);
  if (t != nullptr && unit.translated == nullptr) taken_units_.add();
  if (t == nullptr && is_due) t = translate(unit, linear);
  if (t != nullptr) unit.translated = t;
  return t;
}

Translation* Translator::known(const interp::Unit& unit, u64 linear) const {
  for (Translation* t : era_->starting_at(unit.page, linear))
    if (t->linear == linear && t->wide == interp_.mode_64() && t->page == unit.page &&
        t->generation == unit.generation && t->second == unit.second &&
        t->second_generation == unit.second_generation && !t->stale && !t->worn_out())
      return t;
  return nullptr;
}

// Reads and decodes the unit's instructions again: the interpreter keeps only handlers.
bool Translator::decode(const interp::Unit& unit) {
  const GuestRam& ram = v_.space.ram;
  std::array<u8, 512> bytes{};
  static_assert(sizeof(bytes) >= interp::UnitCache::kMaxInstructions * x86::kMaxInstructionLength);
  const u64 here = std::min<u64>(unit.bytes, kPageSize - unit.start.page_offset());
  guest_copy(bytes.data(), ram.host(unit.start), here);
  if (here < unit.bytes) {
    if (!unit.crosses()) return false;
    guest_copy(bytes.data() + here, ram.host(*unit.second), unit.bytes - here);
  }
  if (!unit.valid()) return false;
  const auto mode = interp_.mode_64() ? x86::CodeMode::kLong64 : x86::CodeMode::kProtected32;
  decoded_.resize(unit.count);
  std::size_t offset = 0;
  for (unsigned n = 0; n < unit.count; ++n) {
    const auto rest =
        std::span<const u8>(bytes).subspan(offset, std::min<std::size_t>(15, unit.bytes - offset));
    if (x86::decode(mode, rest, decoded_[n]) != x86::DecodeStatus::kOk) return false;
    if (decoded_[n].length() != unit.insns()[n].length) return false;
    offset += decoded_[n].length();
  }
  return offset == unit.bytes;
}

// The instructions as the era keeps them: thunks of the interpreter's go with its units. False: one is known
// to no table, and counted where it is run.
bool Translator::bind(const interp::Unit& unit) {
  insns_.assign(unit.insns().begin(), unit.insns().end());
  for (std::size_t n = 0; n < insns_.size(); ++n)
    if (insns_[n].extra != nullptr && !era_->thunks.bind(decoded_[n], v_, interp_.mode_64(), insns_[n]))
      return false;
  return true;
}

Translation* Translator::translate(const interp::Unit& unit, u64 linear) {
  // 32-bit code that may run over 4 GiB, and go on at 0, is the interpreter's.
  const bool at_end = !interp_.mode_64() && linear >> kPageShift == 0xfffff;
  if (!cache_->is_current(*era_)) return nullptr;
  if (!era_->has_room()) {
    cache_->flush();
    return nullptr;
  }
  if (at_end || !decode(unit) || !bind(unit)) {
    refused_.add();
    unit.runs = 0;
    return nullptr;
  }
  asmjit::CodeHolder holder;
  holder.init(asmjit::Environment::host());
  Translation& t = era_->translations.emplace_back();
  t.linear = linear;
  t.wide = interp_.mode_64();
  plan(unit, t);
  const UnitSource source{.unit = unit,
                          .insns = insns_,
                          .linear = linear,
                          .decoded = decoded_,
                          .translation = &t,
                          .wide = t.wide,
                          .counted = counted_,
                          .hot = t.hot,
                          .no_flat = t.no_flat,
                          .no_share = t.no_share,
                          .runs_left = t.runs_left > 0 ? &t.runs_left : nullptr,
                          .shared = cache_->shared(),
                          .host_tsc = v_.clock.host_tsc_lead().has_value(),
                          .first_link = static_cast<u32>(era_->links.size()),
                          .first_far = era_->far_links,
                          .returns = options_.returns,
                          .by_loop = options_.by_loop,
                          .model = v_.model};
  const std::size_t sites = era_->sites.size(), insns = era_->insns.size();
  Emitter emitter(holder, distances_, source, *era_);
  const u8* code = emitter.emit() ? era_->code.append(holder) : nullptr;
  if (code == nullptr) {
    era_->translations.pop_back();
    era_->sites.resize(sites);
    era_->insns.resize(insns);
    refused_.add();
    unit.runs = 0;
    return nullptr;
  }
  for (const LinkSpot& spot : emitter.links()) {
    VELLUM_ASSERT(!source.shared || spot.offset % 4 == 0, "a displacement at {}", spot.offset);
    era_->links.push_back(
        {.at = code + spot.offset, .target = spot.target, .far = spot.far, .vectors = spot.vectors});
  }
  era_->far_links += emitter.far_links();
  for (const Emitter::FaultSpot& spot : emitter.fault_spots()) {
    spot.site->resume = code + spot.resume;
    const u32 at = era_->code.offset_of(code);
    era_->faults.add(at + static_cast<u32>(spot.begin), at + static_cast<u32>(spot.end), *spot.site);
  }
  t.linked = code + emitter.linked_offset();
  t.entered = code + emitter.entered_offset(holder);
  if (!counted_ && t.runs_left == 0 && emitter.first_vectors() != 0) {
    t.checked = code + emitter.checked_offset();
    t.vectors = emitter.first_vectors();
  }
  t.refuse = code + emitter.refuse_offset(holder);
  t.page = unit.page;
  t.generation = unit.generation;
  t.second = unit.second;
  t.second_generation = unit.second_generation;
  if (!t.valid()) return nullptr;  // before others see it: they may already have been told
  take_over(t);
  if (v_.trace.wants(TraceKind::kUnits)) [[unlikely]]
    trace_unit(unit, linear, emitter, {code, holder.codeSize()});
  if (cache_->perf_map().on())
    cache_->perf_map().add(code, holder.codeSize(), fmt::format("bt:{:x}", linear));
  translated_units_.add();
  translated_instructions_.add(unit.count);
  if (t.hot) hot_units_.add();
  return &t;
}

// What leads to earlier translations of the code at t's addresses leads to `t` from now on.
void Translator::take_over(Translation& t) {
  const auto before = [](const Translation* a, const Translation* b) {
    return a->linear % kPageSize < b->linear % kPageSize;
  };
  auto& of_page = era_->by_page[t.page];
  const auto [first, last] = std::equal_range(of_page.begin(), of_page.end(), &t, before);
  const auto kept = std::remove_if(first, last, [&](Translation* old) {
    if (!old->same_place(t)) return false;
    old->stale = true;
    take_links(*old, t);
    redirect(*old, t.linked, t.entered);
    return true;  // from here on it goes where `t` goes
  });
  of_page.insert(of_page.erase(kept, last), &t);
  if (t.second == nullptr || t.second == t.page) return;
  auto& of_second = era_->by_page[t.second];
  of_second.insert(std::upper_bound(of_second.begin(), of_second.end(), &t, before), &t);
}

}  // namespace vellum::bt
