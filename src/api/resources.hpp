// The resources of a running machine: what each method does to them (docs/control.md).
#pragma once

#include "api/message.hpp"
#include "machine/machine.hpp"

namespace vellum::api {

/// Asks the machine, on the thread that owns it.
Rest answer(Machine& machine, const Request& request);

}  // namespace vellum::api
