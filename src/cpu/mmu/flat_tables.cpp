#include "cpu/mmu/flat_tables.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/assert.hpp"
#include "base/bits.hpp"

namespace vellum {
namespace {

constexpr u64 kSlots = u64{1} << (kEchoShift - kPageShift + 1);
static_assert(kSlots == u64{1} << std::numeric_limits<decltype(FlatTables::index(0, 0))>::digits,
              "pages of one index are the echoes' distance apart");
constexpr u64 kPieceBytes = 16 << 10;
constexpr u64 kPiecePages = kPieceBytes / (2 * sizeof(u64));
// Guests can make two pages of one index take turns; a table's lists stay below this many.
constexpr std::size_t kMostPages = 1 << 18;
// Each piece may cost the host two mappings, of which a process has 65,530 as a rule, and a system that gives
// each process other addresses never uses a piece again. So a table that is given away keeps few, and no
// program makes it grow without end.
constexpr std::size_t kMostKept = 128, kMostPieces = 2048;
constexpr u64 kPieces = kSlots * sizeof(u64) / kPieceBytes;

}  // namespace

Result<std::unique_ptr<FlatTables>> FlatTables::create(GuestRam& ram, unsigned most, const u64*& selected) {
  RamViews* const views = ram.views();
  if (views == nullptr)
    return fail(ErrorCode::kHost, "guest memory cannot be mapped once more, with its echoes free");
  std::unique_ptr<FlatTables> flat(new FlatTables(ram, *views, selected));
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
  const u64 page = page_number(p.address);
  if (t.pages.size() + t.local_pages.size() >= kMostPages) clear(t);
  if (!has_piece(t, page) && !commit(t, page)) return false;
  u64& slot = t.slots[2 * page];
  const u64 linear = p.address & ~kPageMask;
  if (slot != absent(page) && !views_.contains(reinterpret_cast<const void*>(linear + slot))) {
    if (p.ahead) return false;
    displaced_.add();
  }
  // A page that was entered as global before is listed once more, so that it leaves in time.
  if (p.local || slot == absent(page)) (p.local ? t.local_pages : t.pages).push_back(page);
  const u64 view = p.writable ? views_.store_delta() : views_.load_delta();
  views_.will_use(ram_.offset_in_memory(p.host), p.writable);
  const u64 before = slot;
  slot = reinterpret_cast<u64>(p.host) + view - linear;
  fills_.add();
  return slot != before;
}

u64 FlatTables::look_up(u64 first, u64 last) const {
  const u32 slot = index(first, last);
  return has_piece(*current_, slot / 2) ? current_->slots[slot] : absent(slot / 2);
}

void FlatTables::drop(u64 address) {
  for (Table& t : tables_) forget(t, page_number(address));
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
