#include "api/message.hpp"

#include <nlohmann/json.hpp>

namespace vellum::api {

Response error_response(unsigned status, std::string_view message) {
  using Json = nlohmann::json;
  // What a client sent stands in the message as it was, and need not be UTF-8.
  const std::string text = Json{{"error", message}}.dump(-1, ' ', false, Json::error_handler_t::replace);
  return {status, kJson, text + "\n", {}};
}

}  // namespace vellum::api
