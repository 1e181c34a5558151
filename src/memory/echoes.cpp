#include "memory/echoes.hpp"

#include <sys/mman.h>

namespace vellum {
namespace {

constexpr u64 kDistance = u64{1} << kEchoShift, kUserEnd = u64{1} << 47;
constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

// Asked for as a hint, which the kernel follows where it can: ThreadSanitizer, which keeps most of the
// address space for itself, ends a program that insists (MAP_FIXED_NOREPLACE).
Mapping reserve_at(u64 address, u64 bytes) {
  void* const at = ::mmap(reinterpret_cast<void*>(address), bytes, PROT_NONE, kFlags, -1, 0);
  if (at == MAP_FAILED) return {};
  Mapping mapping(at, bytes);
  return mapping.data() == reinterpret_cast<u8*>(address) ? std::move(mapping) : Mapping{};
}

// `first` and its echoes, or nothing.
std::vector<Mapping> with_echoes(Mapping first) {
  const auto address = reinterpret_cast<u64>(first.data());
  const u64 bytes = first.size();
  if (address == 0 || address % kDistance + bytes > kDistance) return {};
  std::vector<Mapping> all;
  all.push_back(std::move(first));
  for (u64 at = (address + kDistance) % kUserEnd; at != address; at = (at + kDistance) % kUserEnd) {
    all.push_back(reserve_at(at, bytes));
    if (all.back().data() == nullptr) return {};
  }
  return all;
}

}  // namespace

Result<std::vector<Mapping>> reserve_with_echoes(u64 bytes) {
  VELLUM_TRY_ASSIGN(anywhere, Mapping::create(bytes, PROT_NONE, kFlags));
  std::vector<Mapping> all = with_echoes(std::move(anywhere));
  // Else from the middle of the address space, but for the echoes of its lowest TiB, where old programs are.
  constexpr u64 kStep = u64{1} << 38;
  for (u64 at = kUserEnd / 2 + 4 * kStep; all.empty() && at < kUserEnd / 2 + kDistance; at += kStep)
    all = with_echoes(reserve_at(at, bytes));
  if (all.empty()) return fail(ErrorCode::kHost, "no address space whose echoes are free");
  return all;
}

}  // namespace vellum
