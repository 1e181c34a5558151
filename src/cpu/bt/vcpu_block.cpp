#include "cpu/bt/vcpu_block.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/assert.hpp"
#include "base/bits.hpp"

namespace vellum::bt {

std::size_t VcpuBlock::bytes() {
  return align_up(sizeof(Layout), kPageSize);
}

VcpuBlock::VcpuBlock() : fd_(::memfd_create("vellum-vcpu", MFD_CLOEXEC)) {
  VELLUM_ASSERT(fd_ && ::ftruncate(fd_.get(), static_cast<off_t>(bytes())) == 0,
                "no memory for a vCPU: errno {}", errno);
  auto mapping = Mapping::create(bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get());
  VELLUM_ASSERT(mapping, "no memory for a vCPU: {}", mapping.error().message);
  mapping_ = std::move(*mapping);
}

i64 VcpuBlock::state_distance() {
  return reinterpret_cast<const u8*>(&interpreter().vcpu().state) - reinterpret_cast<const u8*>(&context());
}

}  // namespace vellum::bt
