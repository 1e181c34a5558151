// Asks a running machine at its control socket. Beast stays inside client.cpp.
#pragma once

#include <utility>
#include <vector>

#include "api/message.hpp"
#include "base/int.hpp"

namespace vellum::api {

/// Sends `request` to the machine at `socket` and waits for the answer. What the machine refuses is an error
/// too, with its words; errors begin with the socket.
Result<Response> call(const std::string& socket, const Request& request);

/// The numbers of a balloon: "target", "actual" and its guest's statistics, in the machine's order.
Result<std::vector<std::pair<std::string, u64>>> balloon(const std::string& socket);
/// Asks for another size, in bytes.
Result<> set_balloon(const std::string& socket, u64 size);

struct MediumChange {
  std::string drive;  ///< "cdroms/0"
  std::string path;   ///< absolute; empty: the medium is taken out
  bool force = false;
};
Result<> change_medium(const std::string& socket, const MediumChange& change);

}  // namespace vellum::api
