// The process that runs cases on the host's processor, seen from the inside. Its address space holds what
// case.hpp lays down, its own program, and the rig's memory below: nothing else. A stack that the kernel
// grows, a library or the vDSO would be memory to a case that the engine does not have.
#pragma once

#include <array>
#include <atomic>

#include "case.hpp"

namespace vellum::differential {

inline constexpr unsigned kBatch = 256;

/// What parent and child share.
struct Shared {
  std::atomic<u32> turn;  ///< 0: parent's, 1: child's
  u32 count;
  Case cases[kBatch];
  Outcome outcomes[kBatch];
};

struct Range {
  u64 begin = 0, end = 0;
  bool contains(u64 address) const { return address >= begin && address < end; }
};

/// The rig's memory, far from where a case's pointers, indices and displacements lead: the child's state, its
/// signal stack, a writable alias of the code page, what it shares with the parent.
inline constexpr u64 kRig = 0x6b5a'39c8'1000;
inline constexpr u64 kSignalStack = kRig + kPageSize;
inline constexpr u64 kSignalStackBytes = 256 << 10;
inline constexpr u64 kFirstStack = kSignalStack + kSignalStackBytes;  ///< until the first case
inline constexpr u64 kFirstStackBytes = 64 << 10;
inline constexpr u64 kCodeAlias = kFirstStack + kFirstStackBytes;
inline constexpr u64 kShared = kCodeAlias + kPageSize;
inline constexpr u64 kSharedBytes = (sizeof(Shared) + kPageMask) & ~kPageMask;
inline constexpr Range kRigMemory{kRig, kShared + kSharedBytes};

/// The case's memory.
inline constexpr Range kCodeMemory{kCode, kCode + kPageSize};
inline constexpr Range kDataMemory{kReadWrite, kReadWrite + kDataPages* kPageSize};

/// This program's image: the same in parent and child.
Range program_memory();

/// What the child does after the fork, until it is killed. `shared` is a shared mapping of kSharedBytes.
[[noreturn]] void live_as_child(Shared* shared);

/// Why a child ended, by its exit status.
const char* text_of_child_exit(int status);

}  // namespace vellum::differential
