#include "devices/e1000/phy.hpp"

namespace vellum::e1000 {
namespace {

constexpr unsigned kControl = 0, kStatusRegister = 1, kId1 = 2, kId2 = 3, kAdvertise = 4, kPartner = 5,
                   kExpansion = 6, kGigabitControl = 9, kGigabitStatus = 10, kExtendedStatus = 15,
                   kSpecificControl = 16, kSpecificStatus = 17, kInterruptEnable = 18, kInterruptStatus = 19,
                   kExtendedControl = 20, kPageSelect = 29;

// Registers that keep what is written, and which bits of it.
constexpr u16 writable(unsigned n) {
  switch (n) {
    case kControl:
      return 0x7dc0;
    case kAdvertise:
    case kGigabitControl:
    case kSpecificControl:
    case kInterruptEnable:
    case kExtendedControl:
    case 7:
    case 22:
    case 24:
    case kPageSelect:
    case 30:
      return 0xffff;
    default:
      return 0;
  }
}

// Status: all kinds of 10 and 100 Mbit/s, extended status, can negotiate.
constexpr u16 kAbilities = 0x7949, kNegotiated = 1 << 5, kLinkStatus = 1 << 2;

}  // namespace

void Phy::reset() {
  s_ = {};
  s_[kControl] = 0x1140;  // negotiates; full duplex, 1000 Mbit/s
  s_[kId1] = 0x0141;
  s_[kId2] = 0x0c20;
  s_[kAdvertise] = 0x0de1;
  s_[kGigabitControl] = 0x0300;
  s_[kExtendedStatus] = 0x3000;  // 1000BASE-T, both duplexes
  s_[kSpecificControl] = 0x0068;
  s_[kExtendedControl] = 0x0d60;
}

u16 Phy::read(unsigned n) {
  switch (n) {
    case kStatusRegister:
      return link() ? kAbilities | kNegotiated | kLinkStatus : kAbilities;
    case kPartner:
      return link() ? 0x4de1 : 0;  // acknowledges; pause, 10 and 100 Mbit/s
    case kExpansion:
      return link() ? 0x000f : 0x0004;
    case kGigabitStatus:
      return link() ? 0x7c00 : 0;  // we are master, both receivers work, the other end has 1000BASE-T
    case kSpecificStatus:
      // 1000 Mbit/s, full duplex, resolved, link; pause both ways; a short cable.
      return link() ? 0xac0c : 0;
    case kInterruptStatus: {
      const u16 value = s_[n];
      s_[n] = 0;
      return value;
    }
    default:
      return s_[n];
  }
}

bool Phy::write(unsigned n, u16 value) {
  if (n == kControl && (value & kPhyReset) != 0) {
    reset();
    return true;
  }
  const bool had_link = link();
  const u16 mask = writable(n);
  s_[n] = static_cast<u16>((s_[n] & ~mask) | (value & mask & ~(n == kControl ? kRestart : 0)));
  if (n != kControl) return false;
  return (value & kRestart) != 0 || link() != had_link;
}

void Phy::restore(const State& state) {
  reset();
  for (unsigned n = 0; n < kRegisters; ++n)
    s_[n] = static_cast<u16>((s_[n] & ~writable(n)) | (state[n] & writable(n)));
}

}  // namespace vellum::e1000
