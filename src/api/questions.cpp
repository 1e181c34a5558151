// What commands ask of a machine, with JSON taken apart.
#include <nlohmann/json.hpp>

#include "api/client.hpp"

namespace vellum::api {

using Json = nlohmann::ordered_json;

Result<std::vector<std::pair<std::string, u64>>> balloon(const std::string& socket) {
  VELLUM_TRY_ASSIGN(response, call(socket, {"GET", "/v1/balloon", {}, {}}));
  const Json json = Json::parse(response.body, nullptr, false);
  std::vector<std::pair<std::string, u64>> numbers;
  const auto add = [&](const Json& object) {
    for (const auto& [name, value] : object.items())
      if (value.is_number_unsigned()) numbers.emplace_back(name, value.get<u64>());
  };
  if (json.is_object()) add(json);
  if (json.is_object() && json.contains("statistics")) add(json["statistics"]);
  if (numbers.empty()) return fail(ErrorCode::kHost, "'{}': the answer is not a balloon's", socket);
  return numbers;
}

Result<> set_balloon(const std::string& socket, u64 size) {
  VELLUM_TRY(call(socket, {"PUT", "/v1/balloon", {}, Json{{"target", size}}.dump()}));
  return {};
}

Result<> change_medium(const std::string& socket, const MediumChange& change) {
  Json body{{"file", change.path.empty() ? Json() : Json(change.path)}};
  if (change.force) body["force"] = true;
  std::string text;
  try {
    text = body.dump();
  } catch (const Json::type_error&) {  // a path is bytes, JSON is UTF-8
    return fail(ErrorCode::kInvalidArgument, "'{}': a file's name is to be UTF-8 here; a link to it may be",
                change.path);
  }
  VELLUM_TRY(call(socket, {"PUT", "/v1/" + change.drive, {}, text}));
  return {};
}

}  // namespace vellum::api
