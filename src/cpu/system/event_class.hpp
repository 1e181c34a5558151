// Which events combine into a double fault or a shutdown (SDM vol. 3A §6.15, tables 6-4 and 6-5).
#pragma once

#include "x86/exception.hpp"

namespace vellum::protection {

enum class EventClass : u8 { kBenign, kContributory, kPageFault, kDoubleFault };

/// Interrupts are benign whatever their vector: INT 13 is no #GP.
constexpr EventClass classify(const x86::Exception& e) {
  if (e.kind != x86::EventKind::kFault && e.kind != x86::EventKind::kTrap) return EventClass::kBenign;
  switch (e.vector) {
    case x86::kDe:
    case x86::kTs:
    case x86::kNp:
    case x86::kSs:
    case x86::kGp:
      return EventClass::kContributory;
    case x86::kPf:
      return EventClass::kPageFault;
    case x86::kDf:
      return EventClass::kDoubleFault;
    default:
      return EventClass::kBenign;
  }
}

enum class Combination : u8 {
  kSerial,  ///< the second event is delivered in the first one's place
  kDoubleFault,
  kShutdown,
};

/// What becomes of `second`, met while delivering `first`.
constexpr Combination combine(const x86::Exception& first, const x86::Exception& second) {
  const EventClass a = classify(first);
  const EventClass b = classify(second);
  const bool serious = b == EventClass::kContributory || b == EventClass::kPageFault;
  switch (a) {
    case EventClass::kBenign:
      return Combination::kSerial;
    case EventClass::kContributory:
      return b == EventClass::kContributory ? Combination::kDoubleFault : Combination::kSerial;
    case EventClass::kPageFault:
      return serious ? Combination::kDoubleFault : Combination::kSerial;
    case EventClass::kDoubleFault:
      return serious ? Combination::kShutdown : Combination::kSerial;
  }
  return Combination::kSerial;
}

}  // namespace vellum::protection
