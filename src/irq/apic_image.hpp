// A local APIC's state as its register page (SDM vol. 3A table 11-1), the form in which an APIC that is not
// LocalApic (the kernel's) gives and takes it. Time is a count in it, and a moment in LocalApic::State.
#pragma once

#include <array>

#include "irq/local_apic.hpp"

namespace vellum {

struct ApicImage {
  u64 base = 0;  ///< IA32_APIC_BASE
  std::array<u32, apic::kRegisterCount> registers{};
  u64 tsc_deadline = 0;  ///< of the machine's TSC; 0: not armed

  bool operator==(const ApicImage&) const = default;
};

/// `now_ns`: the machine's clock. A one-shot count that has expired has no initial count in the image, as
/// setting it would start it.
ApicImage image_of(const LocalApic::State& state, u32 id, u64 now_ns);

/// The pins' levels and a waiting ExtINT are no part of a page: they stay as in `before`. Bits that LocalApic
/// does not define are dropped.
LocalApic::State state_of(const ApicImage& image, const LocalApic::State& before, u64 now_ns);

}  // namespace vellum
