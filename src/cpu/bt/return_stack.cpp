#include "cpu/bt/return_stack.hpp"

#include <sys/mman.h>

#include "base/assert.hpp"

namespace vellum::bt {

ReturnStack::ReturnStack() {
  auto mapping = Mapping::create(kGuard + kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  VELLUM_ASSERT(mapping, "no memory for the stack of translated code: {}", mapping.error().message);
  mapping_ = std::move(*mapping);
  const int refused = ::mprotect(mapping_.data(), kGuard, PROT_NONE);
  VELLUM_ASSERT(refused == 0, "cannot guard the stack of translated code");
  bottom_ = reinterpret_cast<const u8**>(mapping_.data() + kGuard + kBytes) - 1;
}

}  // namespace vellum::bt
