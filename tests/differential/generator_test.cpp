// What the generator promises: operands in every kind of place, in both modes, and bytes that are no
// instruction. A class of cases that is lost would not be missed by anybody otherwise: the fuzzer would find
// nothing, and be quicker.
#include "generator.hpp"

#include <gtest/gtest.h>

#include "compare.hpp"

namespace vellum::differential {
namespace {

enum Place : unsigned {
  kWithin,         ///< one page, aligned
  kMisaligned,     ///< one page
  kAcross,         ///< two writable pages
  kIntoReadOnly,   ///< begins in a writable page
  kInReadOnly,     ///< read
  kStoreReadOnly,  ///< and written
  kIntoAbsent,     ///< begins in a page that is there
  kOutOfAbsent,    ///< ends in one
  kInAbsent,       ///< beside the data pages
  kFarAway,
  kNotCanonical,
  kIntoNotCanonical,
  kPlaces
};

bool present(u64 address) {
  return address >= kReadWrite && address < kReadWrite + kDataPages * kPageSize;
}
bool canonical(u64 address) {
  return address < u64{1} << 47 || address >= ~low_mask(47);
}

Place place_of(u64 first, unsigned size, bool written) {
  const u64 last = first + size - 1;
  const bool read_only = last >= kReadOnly && last < kReadOnly + kPageSize;
  if (!canonical(first)) return kNotCanonical;
  if (!canonical(last)) return kIntoNotCanonical;
  if (present(first) != present(last)) return present(first) ? kIntoAbsent : kOutOfAbsent;
  if (!present(first)) return first - kData < 5 * kPageSize ? kInAbsent : kFarAway;
  if (first < kReadOnly && read_only) return kIntoReadOnly;
  if (read_only) return written ? kStoreReadOnly : kInReadOnly;
  if (first / kPageSize != last / kPageSize) return kAcross;
  return first % size != 0 ? kMisaligned : kWithin;
}

ZydisRegisterContext registers_of(const Case& c) {
  ZydisRegisterContext context{};
  for (unsigned r = 0; r < 16; ++r) {
    context.values[ZYDIS_REGISTER_RAX + r] = c.in.gpr[r];
    context.values[ZYDIS_REGISTER_EAX + r] = static_cast<u32>(c.in.gpr[r]);
    context.values[ZYDIS_REGISTER_AX + r] = static_cast<u16>(c.in.gpr[r]);
  }
  return context;
}

struct Tally {
  std::array<unsigned, kPlaces> operands{};
  unsigned undecodable = 0, repeated = 0;
};

Tally tally_of(unsigned compat_percent, unsigned cases) {
  Generator generator(1, {.compat_percent = compat_percent, .only_canonical_rsp = false});
  Tally tally;
  for (unsigned n = 0; n < cases; ++n) {
    const Case c = generator.next();
    x86::Decoded d;
    if (decode_case(c, d) != x86::DecodeStatus::kOk) {
      ++tally.undecodable;
      continue;
    }
    tally.repeated += c.repeated ? 1 : 0;
    const ZydisRegisterContext context = registers_of(c);
    for (unsigned i = 0; i < d.info.operand_count; ++i) {
      const ZydisDecodedOperand& o = d.operands[i];
      u64 address = 0;
      if (o.type != ZYDIS_OPERAND_TYPE_MEMORY || o.mem.type != ZYDIS_MEMOP_TYPE_MEM || o.size < 8 ||
          !ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&d.info, &o, c.in.rip, &context, &address)))
        continue;
      const bool written = (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
      ++tally.operands[place_of(address, o.size / 8u, written)];
    }
  }
  return tally;
}

constexpr unsigned kCases = 40'000;  // a second and a half of the fuzzer's
constexpr unsigned kEnough = 15;

TEST(Generator, PutsOperandsEverywhereIn64BitMode) {
  const Tally tally = tally_of(0, kCases);
  for (unsigned place = 0; place < kPlaces; ++place) EXPECT_GE(tally.operands[place], kEnough) << place;
  EXPECT_GE(tally.undecodable, kCases / 200);
  EXPECT_GE(tally.repeated, kCases / 1000);
}

TEST(Generator, PutsOperandsEverywhereInCompatibilityMode) {
  const Tally tally = tally_of(100, kCases);
  for (unsigned place = 0; place < kNotCanonical; ++place) EXPECT_GE(tally.operands[place], kEnough) << place;
  EXPECT_GE(tally.undecodable, kCases / 200);
  EXPECT_GE(tally.repeated, kCases / 1000);
}

}  // namespace
}  // namespace vellum::differential
