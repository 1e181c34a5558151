#include "devices/e1000/register_file.hpp"

#include <array>

namespace vellum::e1000 {
namespace {

struct Row {
  u32 offset;
  u32 count;
  u32 writable;
  u32 reset;
};

constexpr u32 kAll = ~u32{0};
constexpr u32 kRingBaseBits = 0xffff'fff0, kRingLengthBits = 0x000f'ff80, kIndexBits = 0xffff;

// Tables (MTA, RA, VFTA) are cleared by a reset, too, where the SDM leaves them undefined.
constexpr Row kRows[] = {
    // The link comes up by itself: see docs/design/e1000.md.
    {kCtrl, 1, ~(kReset | kPhyReset), kFullDuplex | kSetLinkUp | kSpeed1000},
    {kCtrlExt, 1, kAll, 0},
    {kMdic, 1, 0, kMdicReady},
    {kEerd, 1, 0, 0},
    {kFcal, 1, kAll, 0},
    {kFcah, 1, 0xffff, 0},
    {kFct, 1, 0xffff, 0},
    {kVet, 1, 0xffff, 0x8100},
    {kItr, 1, 0xffff, 0},
    {kRctl, 1, 0x06df'b3fe, 0},
    {kFcttv, 1, 0xffff, 0},
    {kTxcw, 1, 0xc000'ffff, 0},
    {kTctl, 1, 0x03ff'fffa, 0},
    {kTipg, 1, 0x3fff'ffff, 0},
    {kAit, 1, 0xffff, 0},
    {kLedctl, 1, 0xcfcf'cfcf, 0x0706'8302},
    {kPba, 1, 0xffff, 0x0010'0030},  // 48 KiB for what is received, 16 for what is sent
    {kFcrtl, 1, 0x8000'fff8, 0},
    {kFcrth, 1, 0x0000'fff8, 0},
    {kRdbal, 1, kRingBaseBits, 0},
    {kRdbal + kRingBaseHigh, 1, kAll, 0},
    {kRdbal + kRingLength, 1, kRingLengthBits, 0},
    {kRdh, 1, kIndexBits, 0},
    {kRdt, 1, kIndexBits, 0},
    {kRdtr, 1, 0xffff, 0},
    {kRxdctl, 1, 0x013f'3f3f, 0x0101'0000},
    {kRadv, 1, 0xffff, 0},
    {kRsrpd, 1, 0xfff, 0},
    {kTxdmac, 1, 1, 1},
    {kTdbal, 1, kRingBaseBits, 0},
    {kTdbal + kRingBaseHigh, 1, kAll, 0},
    {kTdbal + kRingLength, 1, kRingLengthBits, 0},
    {kTdh, 1, kIndexBits, 0},
    {kTdt, 1, kIndexBits, 0},
    {kTidv, 1, 0xffff, 0},
    {kTxdctl, 1, 0xff3f'3f3f, 0},
    {kTadv, 1, 0xffff, 0},
    {kTspmt, 1, kAll, 0x0100'0400},
    {kStatistics, (kStatisticsEnd - kStatistics) / 4, 0, 0},
    {kRxcsum, 1, 0x7ff, 0},
    {kMta, 128, kAll, 0},
    {kRal, 32, kAll, 0},  // 16 pairs; the upper ones' bits are below
    {kVfta, 128, kAll, 0},
    {kWuc, 1, 0xf, 0},
    {kWufc, 1, 0x000f'80ff, 0},
    {kWus, 1, 0, 0},
    {kManc, 1, kAll, 0},
    {kIpav, 1, 0x0001'000f, 0},
    {kIp4at, 8, kAll, 0},
    {kIp6at, 4, kAll, 0},
    {kWupl, 1, 0, 0},
};

constexpr u32 kAddressHighBits = kAddressValid | 0x0003'ffff;

bool is_address_high(u32 offset) {
  return offset >= kRal && offset < kRal + 32 * 4 && offset % 8 == 4;
}

bool is_statistic(u32 offset) {
  return offset >= kStatistics && offset < kStatisticsEnd;
}

const std::vector<u32>& writable_bits() {
  static const std::vector<u32> all = [] {
    std::vector<u32> masks(kRegistersEnd / 4);
    for (const Row& row : kRows)
      for (u32 n = 0; n < row.count; ++n) {
        const u32 offset = row.offset + 4 * n;
        masks[offset / 4] = is_address_high(offset) ? kAddressHighBits : row.writable;
      }
    return masks;
  }();
  return all;
}

}  // namespace

u32 RegisterFile::read(u32 offset) {
  if (offset >= kRegistersEnd) return 0;
  const u32 value = get(offset);
  if (!is_statistic(offset)) return value;
  switch (offset) {
    case kGorcl:
    case kGotcl:
    case kTorl:
    case kTotl:
      return value;  // goes when the upper half is read
    case kGorcl + 4:
    case kGotcl + 4:
    case kTorl + 4:
    case kTotl + 4:
      put(offset - 4, 0);
      break;
    default:
      break;
  }
  put(offset, 0);
  return value;
}

void RegisterFile::write(u32 offset, u32 value) {
  if (offset >= kRegistersEnd) return;
  const u32 mask = writable_bits()[offset / 4];
  put(offset, (get(offset) & ~mask) | (value & mask));
}

void RegisterFile::reset() {
  for (const Row& row : kRows)
    for (u32 n = 0; n < row.count; ++n) put(row.offset + 4 * n, row.reset);
}

void RegisterFile::count(u32 offset, u32 by) {
  const u32 value = get(offset);
  put(offset, by > kAll - value ? kAll : value + by);
}

void RegisterFile::count_wide(u32 offset, u64 by) {
  const u64 value = get(offset) | u64{get(offset + 4)} << 32;
  const u64 sum = by > ~value ? ~u64{0} : value + by;
  put(offset, static_cast<u32>(sum));
  put(offset + 4, static_cast<u32>(sum >> 32));
}

std::vector<u32> RegisterFile::values() const {
  std::vector<u32> all;
  for (const Row& row : kRows)
    for (u32 n = 0; n < row.count; ++n) all.push_back(get(row.offset + 4 * n));
  return all;
}

void RegisterFile::restore(std::span<const u32> saved) {
  if (saved.size() != values().size()) return;  // of another table: what it says is of other registers
  std::size_t at = 0;
  for (const Row& row : kRows)
    for (u32 n = 0; n < row.count; ++n, ++at) {
      const u32 offset = row.offset + 4 * n;
      if (is_statistic(offset) || offset == kMdic || offset == kEerd)
        put(offset, saved[at]);
      else
        write(offset, saved[at]);
    }
}

}  // namespace vellum::e1000
