#include "devices/e1000/receive_filter.hpp"

#include <algorithm>

#include "base/byte_order.hpp"
#include "io/net/frame.hpp"
#include "io/net/mac_address.hpp"

namespace vellum::e1000 {
namespace {

constexpr unsigned kAddresses = 16;
constexpr u32 kSelectBits = 3 << 16;  // RAH: compared with the destination (0), or the source (1)

bool bit_in(const RegisterFile& registers, u32 table, u32 number) {
  return registers.has(table + 4 * (number / 32), u32{1} << number % 32);
}

bool passes_vlan(const RegisterFile& registers, std::span<const u8> frame) {
  if (!registers.has(kRctl, kVlanFilter) || !has_tag(registers, frame)) return true;
  const u16 tag = load_be16(&frame[14]);
  if (registers.has(kRctl, kCfiEnable) && ((tag >> 12 & 1) != 0) != registers.has(kRctl, kCfi)) return false;
  return bit_in(registers, kVfta, tag & 0xfff);
}

bool has_address(const RegisterFile& registers, std::span<const u8> frame) {
  for (u32 n = 0; n < kAddresses; ++n) {
    const u32 low = registers.get(kRal + 8 * n), high = registers.get(kRal + 8 * n + 4);
    const u32 select = (high & kSelectBits) >> 16;
    if ((high & kAddressValid) == 0 || select > 1) continue;
    const u8* const mac = &frame[select == 0 ? 0 : 6];
    const u64 wanted = low | u64{high & 0xffff} << 32;
    u64 found = 0;
    for (unsigned i = 0; i < 6; ++i) found |= u64{mac[i]} << (8 * i);
    if (found == wanted) return true;
  }
  return false;
}

// §13.5.1: twelve of the address's last bits, and RCTL says which.
bool in_multicast_table(const RegisterFile& registers, std::span<const u8> frame) {
  constexpr unsigned kShifts[] = {4, 3, 2, 0};
  const unsigned shift = kShifts[registers.get(kRctl) >> 12 & 3];
  const u32 last = frame[4] | u32{frame[5]} << 8;
  return bit_in(registers, kMta, last >> shift & 0xfff);
}

}  // namespace

bool has_tag(const RegisterFile& registers, std::span<const u8> frame) {
  return frame.size() >= net::kEthernetHeader + kVlanTagSize && load_be16(&frame[12]) == registers.get(kVet);
}

Verdict judge(const RegisterFile& registers, std::span<const u8> frame) {
  if (!passes_vlan(registers, frame)) return Verdict::kRefused;
  if (has_address(registers, frame)) return Verdict::kExact;
  net::MacAddress to{};
  std::copy_n(frame.begin(), to.size(), to.begin());
  if (!net::is_group(to)) return registers.has(kRctl, kUnicastAll) ? Verdict::kInexact : Verdict::kRefused;
  if (to == net::kBroadcast && registers.has(kRctl, kBroadcasts)) return Verdict::kExact;
  const bool taken = registers.has(kRctl, kMulticastAll) || in_multicast_table(registers, frame);
  return taken ? Verdict::kInexact : Verdict::kRefused;
}

}  // namespace vellum::e1000
