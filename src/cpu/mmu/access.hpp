// Kinds of access, on whose behalf they are made, and how their permissions are written down (SDM vol. 3A
// §4.6).
#pragma once

#include "base/int.hpp"

namespace vellum {

enum class Access : u8 { kRead, kWrite, kExecute };

/// On whose behalf an access is made (SDM vol. 3A §4.6: user-mode, explicit and implicit supervisor-mode
/// accesses).
enum class Privilege : u8 {
  kCurrent,   ///< as CPL, CR4.SMAP and EFLAGS.AC say
  kImplicit,  ///< the processor's own: descriptor tables, TSS, and the like: supervisor, SMAP without regard
              ///< to AC
  kUser,      ///< as at CPL 3 (checks of inner code on an outer stack's behalf)
  kSupervisor,  ///< a push to an inner stack during a privilege change, before CPL changes
};

/// What a translation permits, for each of three contexts at once, so that a change of CPL or EFLAGS.AC only
/// changes which three bits count.
///
///   bit  8 7 6        5 4 3                  2 1 0
///        X W R        X W R                  X W R
///        supervisor   supervisor, SMAP on    user
namespace rights {
inline constexpr unsigned kRead = 1, kWrite = 2, kExecute = 4;
inline constexpr unsigned kUser = 0, kSupervisorSmap = 3, kSupervisor = 6;
inline constexpr unsigned kNobody = 9;  ///< always 0: every access takes the slow path
inline constexpr unsigned kAll = 0x1ff;
inline constexpr unsigned kAllWrites = kWrite << kUser | kWrite << kSupervisorSmap | kWrite << kSupervisor;

constexpr unsigned of(Access access) {
  return 1u << static_cast<unsigned>(access);
}
static_assert(of(Access::kRead) == kRead && of(Access::kWrite) == kWrite && of(Access::kExecute) == kExecute);
}  // namespace rights

}  // namespace vellum
