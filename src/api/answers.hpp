// What resources answer with. For the sources of this folder: JSON stays inside them.
#pragma once

#include <nlohmann/json.hpp>

#include "api/message.hpp"

namespace vellum::api {

using Json = nlohmann::ordered_json;

inline Rest json(const Json& value) {
  // The paths on a command line may be any bytes.
  return [text = value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"] {
    return Response{200, kJson, text, {}};
  };
}

inline Rest error(unsigned status, std::string message) {
  return [status, message = std::move(message)] { return error_response(status, message); };
}

}  // namespace vellum::api
