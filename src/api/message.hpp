// What clients of a running machine ask, and what they are told: HTTP as data (docs/control.md).
#pragma once

#include <functional>
#include <string>

#include "base/result.hpp"

namespace vellum::api {

struct Request {
  std::string method;  ///< "GET", "PUT"
  std::string target;  ///< "/v1/machine"
  std::string accept;  ///< the header's value, or empty
  std::string body;
};

struct Response {
  unsigned status = 200;
  std::string type;  ///< of the body
  std::string body;
  std::string allow;  ///< the methods that there are, with status 405
};

/// What is left of a request once the machine has been asked: work that needs no machine, for another thread.
using Rest = std::function<Response()>;

inline constexpr const char* kJson = "application/json";
inline constexpr const char* kPng = "image/png";
inline constexpr const char* kText = "text/plain; charset=utf-8";

/// An error's JSON object: {"error": "one line"}.
Response error_response(unsigned status, std::string_view message);

}  // namespace vellum::api
