#include "base/result.hpp"

#include <cstring>

namespace vellum {

tl::unexpected<Error> fail_errno(std::string_view what, int error_number) {
  return fail(ErrorCode::kHost, "{}: {}", what, std::strerror(error_number));
}

}  // namespace vellum
