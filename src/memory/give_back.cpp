#include "memory/give_back.hpp"

#include <fcntl.h>
#include <linux/falloc.h>

#include "base/assert.hpp"

namespace vellum {

bool give_back(GuestRam& ram, GuestPhysRange range) {
  VELLUM_ASSERT(range.size > 0 && range.size % kPageSize == 0 && range.start.page_offset() == 0,
                "{:#x}+{:#x}", range.start.value, range.size);
  const auto host = ram.bytes(range.start, range.size);
  if (host.empty()) return false;
  const auto offset = static_cast<off_t>(ram.offset_in_memory(host.data()));
  if (::fallocate(ram.memfd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                  static_cast<off_t>(range.size)) != 0)
    return false;
  ram.note_store(range.start, range.size);
  return true;
}

}  // namespace vellum
