// Asks a running machine at its control socket. Beast stays inside client.cpp.
#pragma once

#include "api/message.hpp"

namespace vellum::api {

/// Sends `request` to the machine at `socket` and waits for the answer. What the machine refuses is an error
/// too, with its words; errors begin with the socket.
Result<Response> call(const std::string& socket, const Request& request);

}  // namespace vellum::api
