// Errors of the second kind (STYLE: host and user errors): a code, and a message that says what was tried, on
// what, why it failed and what to do. Guest faults are not errors; see x86/exception.hpp.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace vellum {

enum class ErrorCode {
  kInvalidArgument,  ///< the user asked for something that cannot be (exit status 2)
  kBadInput,         ///< a file or a byte stream is not what it should be (exit status 2)
  kNotFound,         ///< a file or a host feature is missing
  kHost,             ///< the host refused (system call failed, out of memory)
  kUnsupported,      ///< valid, but not something that Vellum does
};

struct Error {
  ErrorCode code = ErrorCode::kHost;
  std::string message;

  /// Prefixes what was being done: "outer: inner".
  Error context(std::string_view what) && {
    message = fmt::format("{}: {}", what, message);
    return std::move(*this);
  }
};

template <class T = void>
using Result = tl::expected<T, Error>;

template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

/// As fail(kHost, …) with ": <strerror(errno)>" appended.
tl::unexpected<Error> fail_errno(std::string_view what, int error_number);

}  // namespace vellum

/// Returns the error of a Result expression from the enclosing function.
#define VELLUM_TRY(expression)                                                      \
  do {                                                                              \
    if (auto vellum_try_result = (expression); !vellum_try_result)                  \
      return tl::unexpected<::vellum::Error>(std::move(vellum_try_result).error()); \
  } while (false)

/// Declares `name` with the value of a Result expression, or returns its error.
#define VELLUM_TRY_ASSIGN(name, expression)                                                     \
  auto name##_result = (expression);                                                            \
  if (!name##_result) return tl::unexpected<::vellum::Error>(std::move(name##_result).error()); \
  auto& name = *name##_result

/// Assigns the value of a Result expression to something that exists, or returns its error.
#define VELLUM_TRY_ASSIGN_TO(target, expression)                                                          \
  do {                                                                                                    \
    auto vellum_try_result = (expression);                                                                \
    if (!vellum_try_result) return tl::unexpected<::vellum::Error>(std::move(vellum_try_result).error()); \
    target = std::move(*vellum_try_result);                                                               \
  } while (false)
