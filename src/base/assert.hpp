// VELLUM_ASSERT: an invariant of our own. It stays on in release builds; a violated one is a bug in Vellum,
// never something a guest or a user can cause.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace vellum {

[[noreturn]] void assertion_failed(const char* file, int line, const char* condition,
                                   std::string_view values);

}  // namespace vellum

#define VELLUM_ASSERT(condition, ...)                                                         \
  do {                                                                                        \
    if (!(condition)) [[unlikely]]                                                            \
      ::vellum::assertion_failed(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (false)
