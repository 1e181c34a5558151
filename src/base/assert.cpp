#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace vellum {

void assertion_failed(const char* file, int line, const char* condition, std::string_view values) {
  fmt::print(stderr, "vellum: bug: {}:{}: {} does not hold: {}\n", file, line, condition, values);
  std::abort();
}

}  // namespace vellum
