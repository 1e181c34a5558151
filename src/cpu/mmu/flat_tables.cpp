#include "cpu/mmu/flat_tables.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "base/assert.hpp"
#include "base/bits.hpp"

namespace vellum {
namespace {

constexpr u64 kSlots = u64{2} << FlatTables::kIndexBits;
constexpr u64 kPieceBytes = 16 << 10;
constexpr u64 kPiecePages = kPieceBytes / (2 * sizeof(u64));
// Guests can make two pages of one index take turns; a table's lists stay below this many.
constexpr std::size_t kMostPages = 1 << 18;
// Each piece may cost the host two mappings, of which a process has 65,530 as a rule, and a system that gives
// each process other addresses never uses a piece again. So a table that is given away keeps few, and no
// program makes it grow without end.
constexpr std::size_t kMostKept = 128, kMostPieces = 2048;
constexpr u64 kPieces = kSlots * sizeof(u64) / kPieceBytes;

// An access that crosses may reach 4095 + 64 bytes into the absent page; save areas are never accessed this
// way.
constexpr u64 kPoisonBytes = 64 << 10;
// Where an access crosses from the last page of the index back to page 0, the sum is off by this much.
constexpr u64 kWrap = u64{1} << 46;

// Asked for as a hint, which the kernel follows where it can: ThreadSanitizer, which keeps most of the
// address space for itself, ends a program that insists (MAP_FIXED_NOREPLACE).
Mapping reserve_at(u64 address, u64 bytes) {
  void* const at = ::mmap(reinterpret_cast<void*>(address), bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return {};
  Mapping mapping(at, bytes);
  return mapping.data() == reinterpret_cast<u8*>(address) ? std::move(mapping) : Mapping{};
}

}  // namespace

Result<std::unique_ptr<FlatTables>> FlatTables::create(GuestRam& ram, unsigned most, const u64*& selected) {
  RamViews* const views = ram.views();
  if (views == nullptr) return fail(ErrorCode::kHost, "guest memory cannot be mapped once more");
  std::unique_ptr<FlatTables> flat(new FlatTables(ram, *views, selected));
  for (u64 at = u64{0x1000'0000'0000}; at < kWrap && flat->poison_ == 0; at += u64{0x0100'0000'0000}) {
    Mapping low = reserve_at(at, kPoisonBytes);
    Mapping high = reserve_at(at + kWrap, kPoisonBytes);
    if (low.data() == nullptr || high.data() == nullptr) continue;
    flat->poison_ = at;
    flat->poison_low_ = std::move(low);
    flat->poison_high_ = std::move(high);
  }
  if (flat->poison_ == 0) return fail(ErrorCode::kHost, "no address space for absent pages");
  flat->tables_.reserve(most + 1);
  while (flat->tables_.size() < most + 1) {
    auto added = flat->add_table();
    if (added) continue;
    if (flat->tables_.size() < 4) return tl::unexpected(std::move(added).error());
    break;
  }
  flat->use(flat->tables_.back());
  return flat;
}

Result<> FlatTables::add_table() {
  Table t;
  VELLUM_TRY_ASSIGN(reserved, Mapping::create(kSlots * sizeof(u64), PROT_NONE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE));
  t.reserved = std::move(reserved);
  t.slots = reinterpret_cast<u64*>(t.reserved.data());
  ::madvise(t.slots, t.reserved.size(), MADV_DONTDUMP);
  VELLUM_TRY_ASSIGN(committed, Mapping::create(kPieces / 8, PROT_READ | PROT_WRITE,
                                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE));
  t.committed = std::move(committed);
  tables_.push_back(std::move(t));
  return {};
}

void FlatTables::use(Table& t) {
  current_ = &t;
  selected_ = t.slots;
}

bool FlatTables::select(u32 stamp, u32 shift) {
  if (current_->stamp == stamp && current_->shift == shift && current_ != &tables_.back()) {
    use(*current_);  // translated code may have changed the selection
    return true;
  }
  Table* oldest = tables_.data();
  for (Table& t : std::span(tables_).first(tables_.size() - 1)) {
    if (t.stamp == stamp && t.shift == shift) {
      t.used = ++clock_;
      use(t);
      return true;
    }
    if (t.used < oldest->used) oldest = &t;
  }
  oldest->pieces.size() > kMostKept ? release(*oldest) : clear(*oldest);
  oldest->stamp = stamp;
  oldest->shift = shift;
  oldest->used = ++clock_;
  use(*oldest);
  return false;
}

void FlatTables::select_none() {
  use(tables_.back());
}

bool FlatTables::has_piece(const Table& t, u64 page) {
  const u64 piece = page / kPiecePages;
  return (t.committed.data()[piece / 8] >> (piece % 8) & 1) != 0;
}

bool FlatTables::commit(Table& t, u64 page) {
  // GUEST-CONTROLLED: how much of the address space a program uses.
  if (t.pieces.size() >= kMostPieces) release(t);
  const u64 first = page / kPiecePages * kPiecePages;
  u64* const slots = t.slots + 2 * first;
  // SAFETY: a piece of this table, which nothing accesses but translated code that expects it to fault.
  if (::mprotect(slots, kPieceBytes, PROT_READ | PROT_WRITE) != 0) return false;
  for (u64 n = 0; n < kPiecePages; ++n) slots[2 * n] = slots[2 * n + 1] = absent(first + n);
  t.committed.data()[page / kPiecePages / 8] |= static_cast<u8>(1u << (page / kPiecePages % 8));
  t.pieces.push_back(page / kPiecePages);
  return true;
}

bool FlatTables::insert(const Page& p) {
  if (current_ == &tables_.back()) return false;
  Table& t = *current_;
  const u64 page = bits(p.address, 46, 12);
  if (t.pages.size() + t.local_pages.size() >= kMostPages) clear(t);
  if (!has_piece(t, page) && !commit(t, page)) return false;
  u64& slot = t.slots[2 * page];
  // A page that was entered as global before is listed once more, so that it leaves in time.
  if (p.local || slot == absent(page)) (p.local ? t.local_pages : t.pages).push_back(page);
  const u64 view = p.writable ? views_.store_delta() : views_.load_delta();
  views_.will_use(ram_.offset_in_memory(p.host), p.writable);
  const u64 before = slot;
  slot = reinterpret_cast<u64>(p.host) + view - (p.address & ~kPageMask);
  fills_.add();
  return slot != before;
}

u64 FlatTables::look_up(u64 first, u64 last) const {
  const u64 index = bits(first, 46, 12) + bits(last, 46, 12);
  return has_piece(*current_, index / 2) ? current_->slots[index] : absent(index / 2);
}

void FlatTables::drop(u64 address) {
  for (Table& t : tables_) forget(t, bits(address, 46, 12));
}

void FlatTables::drop_range(u64 address, u64 bytes) {
  for (u64 at = align_down(address, bytes), end = at + bytes; at != end; at += kPageSize) drop(at);
}

void FlatTables::clear(Table& t) {
  for (const u64 page : t.pages) t.slots[2 * page] = absent(page);
  for (const u64 page : t.local_pages) t.slots[2 * page] = absent(page);
  t.pages.clear();
  t.local_pages.clear();
}

// As clear(), and the memory goes back.
void FlatTables::release(Table& t) {
  clear(t);
  std::erase_if(t.pieces, [&t](u64 piece) {
    u64* const slots = t.slots + 2 * piece * kPiecePages;
    // SAFETY: as in commit(). Nobody can access it before it is emptied: zeros would add nothing to the
    // guest's addresses. Where the host refuses that, the piece stays as clear() left it.
    if (::mprotect(slots, kPieceBytes, PROT_NONE) != 0) return false;
    ::madvise(slots, kPieceBytes, MADV_DONTNEED);
    t.committed.data()[piece / 8] &= static_cast<u8>(~(1u << (piece % 8)));
    return true;
  });
}

std::size_t FlatTables::pieces() const {
  std::size_t all = 0;
  for (const Table& t : tables_) all += t.pieces.size();
  return all;
}

void FlatTables::flush() {
  for (Table& t : tables_) clear(t);
}

void FlatTables::restart() {
  flush();
  for (Table& t : tables_) t.stamp = 0;
}

void FlatTables::forget_local() {
  for (Table& t : tables_) {
    for (const u64 page : t.local_pages) t.slots[2 * page] = absent(page);
    t.local_pages.clear();
  }
}

}  // namespace vellum
