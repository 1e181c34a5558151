// Delivery of exceptions and interrupts (SDM vol. 3A ch. 6), with double and triple faults.
#pragma once

#include <optional>
#include <string>

#include "cpu/system/vcpu.hpp"

namespace vellum {

/// Delivers `event`, v.state.rip being the address to push. Faults met on the way combine by the SDM's table
/// 6-5 into a double fault or a shutdown; on shutdown `activity` becomes kShutdown and the text that names
/// the events is returned, else nullopt. Sets CR2 for #PF and DR6 for #DB, and clears shadows.
std::optional<std::string> deliver_event(Vcpu& v, const x86::Exception& event);

/// One attempt without combination: false with v.fault set if delivery itself faults.
[[nodiscard]] bool try_deliver(Vcpu& v, const x86::Exception& event);

/// Hazards::kNmi, kInit, kSipi and kInterrupt as the state allows them now (IF, shadows, NMI blocking,
/// activity): delivers at most one and wakes a halted vCPU. Returns the shutdown text as above.
std::optional<std::string> deliver_pending(Vcpu& v);

/// Whether deliver_pending() would do something: used to decide whether a halted vCPU wakes.
bool event_deliverable(const Vcpu& v);

}  // namespace vellum
