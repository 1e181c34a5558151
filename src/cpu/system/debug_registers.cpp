// Debug registers (SDM vol. 3B §17.2; vol. 2B, MOV—Move to/from Debug Registers).
#include "cpu/system/control.hpp"

namespace vellum {
namespace {

using namespace x86;

constexpr u64 kDr6Writable = 0xf | dr6::kBd | dr6::kBs | dr6::kBt;
// L0-G3, LE, GE, GD and the four condition fields; RTM debugging (bit 11) is not offered.
constexpr u64 kDr7Writable = 0xffff03ff | dr7::kGd;

/// Resolves DR4 and DR5, and makes the checks that reading and writing share: #UD before #GP(0) before GD's
/// #DB, so that user code can't provoke a #DB.
bool check_access(Vcpu& v, unsigned& n) {
  if (n > 7) return v.raise_ud();
  if (n == 4 || n == 5) {
    if ((v.state.cr4 & cr4::kDe) != 0) return v.raise_ud();
    n += 2;
  }
  if (v.state.cpl != 0) return v.raise_gp();
  if ((v.state.dr7 & dr7::kGd) != 0) return v.raise({.vector = kDb, .address = dr6::kBd});
  return true;
}

}  // namespace

bool write_dr(Vcpu& v, unsigned n, u64 value) {
  if (!check_access(v, n)) return false;
  VcpuState& s = v.state;
  if (n < 4) {
    s.dr[n] = value;
  } else {
    if (value >> 32 != 0) return v.raise_gp();
    if (n == 6)
      s.dr6 = (value & kDr6Writable) | dr6::kFixed1;
    else
      s.dr7 = (value & kDr7Writable) | dr7::kFixed1;
  }
  v.mmu.update_context();
  return true;
}

bool read_dr(Vcpu& v, unsigned n, u64& value) {
  if (!check_access(v, n)) return false;
  value = n < 4 ? v.state.dr[n] : n == 6 ? v.state.dr6 : v.state.dr7;
  return true;
}

}  // namespace vellum
