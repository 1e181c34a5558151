// The TLB: filling it, finding in it on the slow path, and flushing.
//
// Large pages are cached in 4 KiB parts. INVLPG must drop all parts of a large page (SDM vol. 3A §4.10.4.1,
// footnote), whatever the paging structures say by then, so large_pages_ remembers which ones the TLB may
// hold parts of; only an address within one of those costs more than a look at one entry.
#include "cpu/mmu/mmu.hpp"
#include "x86/registers.hpp"

namespace vellum {
namespace {

constexpr std::array<unsigned, 4> kClassShift{12, 21, 22, 30};

constexpr unsigned size_class_of(unsigned page_shift) {
  for (unsigned i = 0; i < kClassShift.size(); ++i) {
    if (kClassShift[i] == page_shift) return i;
  }
  return 0;
}

// A page's name in large_pages_.
constexpr u64 large_key(u64 address, unsigned size_class) {
  return address >> kClassShift[size_class];
}

unsigned size_class_of(const TlbEntry& e) {
  return (e.flags >> TlbEntry::kSizeShift) & 3;
}

// What enters a flat table together: pages of a large page, and small pages whose translations are read
// ahead.
constexpr u64 kNeighbours = 64 << 10;
constexpr u64 kAhead = 32 << 10;

// Searches that find nothing before large_pages_, which only ever grows, is made anew.
constexpr u32 kFruitlessScans = 32;

}  // namespace

unsigned Mmu::context_of(Privilege privilege) const {
  const bool smap = (state_.cr4 & x86::cr4::kSmap) != 0;
  const bool ac = (state_.rflags & x86::rflags::kAc) != 0;
  switch (privilege) {
    case Privilege::kCurrent:
      return context_;
    case Privilege::kUser:
      return kShiftUser;
    case Privilege::kImplicit:
      return smap ? kShiftSupervisorSmap : kShiftSupervisor;
    case Privilege::kSupervisor:
      break;
  }
  return smap && !ac ? kShiftSupervisorSmap : kShiftSupervisor;
}

bool Mmu::locate(u64 address, Access access, unsigned context, Target& target) {
  const TlbEntry* e = &entry(address);
  // A store that goes to the bus needs its address, which the entry of a page of memory does not have.
  const bool found = e->page == address >> kPageShift && counts(*e) &&
                     ((e->flags & rights::kAll) >> context & rights::of(access)) != 0 &&
                     (access != Access::kWrite || (e->flags & TlbEntry::kStoresToBus) == 0);
  // Denied by a cached entry: the structures decide, which may permit more by now.
  GuestPhys page;
  if (!found && (e = fill(address, access, context, page)) == nullptr) return false;
  if (access == Access::kWrite && (e->flags & TlbEntry::kStoresToBus) != 0) {
    target.host = nullptr;
    target.code = nullptr;
    target.physical = page + (address & kPageMask);
  } else if ((e->flags & TlbEntry::kNotRam) != 0) {
    target.host = nullptr;
    target.code = nullptr;
    target.physical = GuestPhys(address + e->host_delta);
  } else {
    target.host = host_of(*e, address);
    target.code = e->code;
    target.physical = physical_of(target.host);
  }
  return true;
}

TlbEntry* Mmu::fill(u64 address, Access access, unsigned context, GuestPhys& page) {
  stats.walks.add();
  Translation t;
  u32 error_code = 0;
  if (!walk(space_, state_, features_, address, access, context, t, error_code)) {
    page_fault(address, error_code);
    return nullptr;
  }
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: {:x} is at {:x} in a page of {} KiB{}", address, (t.page + (address & kPageMask)).value,
               bit(t.page_shift - 10), t.global ? ", global" : "");
  const unsigned size_class = size_class_of(t.page_shift);
  if (size_class != 0) large_pages_[size_class].add(large_key(address, size_class));

  // The xAPIC page hides what else stands at its address.
  page = t.page;
  const bool apic = t.page.value == board_.apic_page();
  u8* const host = apic ? nullptr : space_.ram.host(t.page);
  u8* const store_host = apic ? nullptr : space_.ram.store_host(t.page);
  TlbEntry& e = tlb_[(address >> kPageShift) & (kTlbSize - 1)];
  e.page = address >> kPageShift;
  e.stamp = t.global ? global_stamp_ : stamp_;
  e.flags = static_cast<u16>(t.allow | size_class << TlbEntry::kSizeShift);
  const u64 page_base = address & ~kPageMask;
  if (host != nullptr && (store_host == host || store_host == nullptr)) {
    space_.ram.will_use(host);
    e.allow = t.allow;
    if (store_host == nullptr) {
      e.allow &= static_cast<u16>(~rights::kAllWrites);
      e.flags |= TlbEntry::kStoresToBus;
    }
    e.host_delta = reinterpret_cast<u64>(host) - page_base;
    e.code = &space_.ram.code_page(space_.ram.name_of(host));
  } else {  // also memory that is another one for reads than for stores
    e.allow = 0;
    e.flags |= TlbEntry::kNotRam;
    e.host_delta = t.page.value - page_base;
    e.code = &no_code_;
  }
  return &e;
}

// A page fault drops what was cached for its page (§4.10.4.1), so that it does not recur once software has
// changed the structures without an INVLPG, as it may.
void Mmu::page_fault(u64 address, u32 error_code) {
  stats.page_faults.add();
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: page fault at {:x}, error code {:#x}", address, error_code);
  raise(x86::kPf, error_code, address);
  TlbEntry& e = tlb_[(address >> kPageShift) & (kTlbSize - 1)];
  if (e.page == address >> kPageShift && counts(e)) e.page = TlbEntry::kInvalid;
  if (front_ != nullptr) front_->drop(address);
  code_map_.drop_page(address);
  if (flat_ != nullptr) flat_->drop(address);
}

bool Mmu::fetch(u64 address, FetchPage& page) {
  if (!x86::is_canonical(address)) {
    raise(x86::kGp, 0);
    return false;
  }
  Target target;
  if (!locate(address, Access::kExecute, context_, target)) return false;
  const TlbEntry& e = entry(address);
  code_map_.found(address, kClassShift[size_class_of(e)], e.stamp == global_stamp_);
  page.physical = target.physical;
  page.host = target.host;
  return true;
}

bool Mmu::translate_quietly(u64 address, GuestPhys& physical) {
  Translation t;
  if (!x86::is_canonical(address) || !walk_quietly(space_, state_, features_, address, t)) return false;
  physical = t.page + (address & kPageMask);
  return true;
}

// --- Flushing ---

// Drops the entries for the page of `address` that have one of the stamps.
void Mmu::drop_page(u64 address, u32 stamp, u32 other_stamp) {
  TlbEntry& e = tlb_[(address >> kPageShift) & (kTlbSize - 1)];
  if (e.page == address >> kPageShift && (e.stamp == stamp || e.stamp == other_stamp))
    e.page = TlbEntry::kInvalid;
  if (front_ != nullptr) front_->drop(address);
  if (flat_ != nullptr) flat_->drop(address);
  for (unsigned size_class = 1; size_class < kClassShift.size(); ++size_class)
    if (large_pages_[size_class].may_contain(large_key(address, size_class)))
      drop_fragments(address, size_class, stamp, other_stamp);
}

void Mmu::drop_fragments(u64 address, unsigned size_class, u32 stamp, u32 other_stamp) {
  const unsigned shift = kClassShift[size_class] - kPageShift;
  const u64 large_page = (address >> kPageShift) >> shift;
  const u64 count = std::min(u64{1} << shift, kTlbSize);
  if (front_ != nullptr) front_->flush();
  if (flat_ != nullptr) {
    if (count < kTlbSize)
      flat_->drop_range(address, count << kPageShift);
    else
      flat_->flush();
  }
  bool found = false;
  for (u64 i = 0; i < count; ++i) {
    TlbEntry& e = tlb_[((large_page << shift) + i) & (kTlbSize - 1)];
    if (e.page >> shift != large_page || size_class_of(e) != size_class) continue;
    found = true;
    if (e.stamp == stamp || e.stamp == other_stamp) e.page = TlbEntry::kInvalid;
  }
  if (!found && ++fruitless_scans_ >= kFruitlessScans) rebuild_large_pages();
}

void Mmu::rebuild_large_pages() {
  fruitless_scans_ = 0;
  for (PageFilter& filter : large_pages_) filter.clear();
  // The fast tables may hold parts that the TLB has not any more, which the filter would forget.
  if (front_ != nullptr) front_->flush();
  if (flat_ != nullptr) flat_->flush();
  for (const TlbEntry& e : *tlb_storage_) {
    if (e.page != TlbEntry::kInvalid && size_class_of(e) != 0)
      large_pages_[size_class_of(e)].add(large_key(e.page << kPageShift, size_class_of(e)));
  }
}

void Mmu::adopt_stamps(bool started_over) {
  stamp_ = stamps_.current();
  global_stamp_ = stamps_.global();
  if (started_over) {
    for (TlbEntry& e : *tlb_storage_) e.page = TlbEntry::kInvalid;
  }
  if (front_ != nullptr) front_->forget_ways();
  if (front_ != nullptr && started_over) front_->restart();
  if (flat_ != nullptr) {
    if (started_over) flat_->restart();
    flat_->forget_local();
  }
  select_front();
  if (started_over) code_map_.drop_all();
  code_map_.select(stamp_);
}

void Mmu::select_front() {
  const bool watched = shift_ == kShiftSlow;
  if (front_ != nullptr) front_->select(stamp_, shift_, watched);
  if (flat_ != nullptr) select_flat();
  if (front_ != nullptr && !watched) front_->note_way(shift_, flat_ != nullptr ? flat_->selected() : nullptr);
}

void Mmu::attach_front(FrontTlb& front) {
  front_ = &front;
  select_front();
}

void Mmu::attach_flat(FlatTables& flat) {
  flat_ = &flat;
  select_front();
}

// Whether the selected flat table serves all address spaces: kernel accesses, but for those that SMAP lets
// through to user pages.
bool Mmu::flat_is_shared() const {
  const bool smap = (state_.cr4 & x86::cr4::kSmap) != 0;
  return shift_ == kShiftSupervisorSmap || (shift_ == kShiftSupervisor && !smap);
}

void Mmu::select_flat() {
  if (shift_ == kShiftSlow)
    flat_->select_none();
  else if (!flat_->select(flat_is_shared() ? global_stamp_ : stamp_, shift_) && front_ != nullptr)
    front_->forget_ways();
}

bool Mmu::fill_flat(u64 address) {
  const TlbEntry& e = entry(address);
  if (e.page != address >> kPageShift || !counts(e)) return false;
  const unsigned allow = e.allow >> shift_;
  if ((allow & kAllowRead) == 0) return false;
  const u64 page = address & ~kPageMask;
  FlatTables::Page entered{.address = page,
                           .host = host_of(e, page),
                           .writable = (allow & kAllowWrite) != 0,
                           .local = e.stamp != global_stamp_ && flat_is_shared()};
  const bool changed = flat_->insert(entered);
  if (!changed) return false;
  if (size_class_of(e) == 0) {
    fill_flat_around(page);
    return true;
  }
  // Neighbours in a large page differ in nothing, as long as they are RAM without a gap and none is the
  // APIC's.
  const u64 first = align_down(page, kNeighbours);
  const GuestPhys physical = physical_of(entered.host) - (page - first);
  if (space_.ram.bytes(physical, kNeighbours).data() != host_of(e, first) ||
      board_.apic_page() - physical.value < kNeighbours)
    return true;
  entered.ahead = true;
  for (u64 at = first; at != first + kNeighbours; at += kPageSize) {
    entered.address = at;
    entered.host = host_of(e, at);
    flat_->insert(entered);
  }
  return true;
}

void Mmu::fill_flat_around(u64 address) {
  const u64 page = address & ~kPageMask;
  for (u64 at = align_down(page, kAhead); at != align_down(page, kAhead) + kAhead; at += kPageSize)
    if (at != page) fill_flat_ahead(at, false);
}

bool Mmu::fill_flat_ahead(u64 address, bool displace) {
  Translation t;
  if (!x86::is_canonical(address) || !walk_quietly(space_, state_, features_, address, t)) return false;
  const unsigned allow = t.allow >> shift_;
  if (!t.accessed || (allow & kAllowRead) == 0 || t.page.value == board_.apic_page()) return false;
  const u8* const host = space_.ram.host(t.page);
  if (host == nullptr || host != space_.ram.store_host(t.page)) return false;
  const unsigned size_class = size_class_of(t.page_shift);
  if (size_class != 0) large_pages_[size_class].add(large_key(address, size_class));
  return flat_->insert({.address = address & ~kPageMask,
                        .host = host,
                        .writable = (allow & kAllowWrite) != 0,
                        .local = !t.global && flat_is_shared(),
                        .ahead = !displace});
}

void Mmu::flush_all() {
  stats.flushes.add();
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: flush of everything");
  adopt_stamps(stamps_.renew_all());
  code_map_.drop_all();
  for (PageFilter& filter : large_pages_) filter.clear();
  fruitless_scans_ = 0;
}

void Mmu::flush_non_global() {
  flush_pcid(stamps_.pcid());
}

void Mmu::flush_pcid(u16 pcid) {
  stats.flushes.add();
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: flush of PCID {:#x}", pcid);
  adopt_stamps(stamps_.renew(pcid));
}

void Mmu::flush_all_non_global() {
  stats.flushes.add();
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: flush of all but global pages");
  adopt_stamps(stamps_.renew_all_non_global());
}

void Mmu::flush_page(u64 address) {
  stats.page_flushes.add();
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: flush of page {:x}", address);
  drop_page(address, stamp_, global_stamp_);
  code_map_.drop_page(address);
}

void Mmu::flush_pcid_page(u16 pcid, u64 address) {
  stats.page_flushes.add();
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: flush of page {:x} in PCID {:#x}", address, pcid);
  drop_page(address, stamps_.of(pcid), TlbStamps::kNone);
  if (pcid == stamps_.pcid())
    code_map_.drop_page(address);
  else
    code_map_.drop_space(stamps_.of(pcid));
}

void Mmu::switch_address_space(u16 pcid) {
  if (trace.wants(TraceKind::kMmu)) [[unlikely]]
    trace.line("mmu: address space {:x}, PCID {:#x}", state_.cr3, pcid);
  adopt_stamps(stamps_.switch_to(pcid));
}

}  // namespace vellum
