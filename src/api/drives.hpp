// The drives of a running machine, and what is in them: /v1/cdroms/N.
#pragma once

#include "api/message.hpp"
#include "machine/machine.hpp"

namespace vellum::api {

// The request's target ends with the drive's number, one digit.
Rest get_cdrom(Machine& machine, const Request& request);
Rest put_cdrom(Machine& machine, const Request& request);

}  // namespace vellum::api
