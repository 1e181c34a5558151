// The hand-made routines between C++ and translated code: entering it, leaving it, and calling out of it.
#pragma once

#include "cpu/bt/code_cache.hpp"
#include "cpu/bt/context.hpp"
#include "cpu/bt/layout.hpp"

namespace vellum::bt {

/// What a slow access came to.
struct SlowAccess {
  u8* host;    ///< where the operand is; nullptr: the handler did the whole instruction, or see `second`
  u64 second;  ///< host != nullptr: its page's CodePage*; else as Callbacks::run's result
};

/// The C++ side of calling out. `owner` is Context::owner.
struct Callbacks {
  u64 (*run)(void* owner, const Site* site);  ///< kGoOn, kLeave, or the translated code to go to
  SlowAccess (*access)(void* owner, const Site* site, u64 linear);
  /// The host refused the access at `site`, at guest-linear address `linear`. As run(), but kGoOn is replaced
  /// by where to go on: Site::resume.
  u64 (*host_fault)(void* owner, const Site* site, u64 linear);
  u64 (*code_store)(void* owner, const Site* site, const u8* host);  ///< as run()
  /// As run(), for a return whose target is not known in the jump table; never kGoOn. RSP has been moved.
  u64 (*missed_return)(void* owner, const Site* site);
  u64 (*open_vectors)(void* owner, u64 needed);  ///< VectorBits to load; 0: `needed` may not run natively
};
inline constexpr u64 kGoOn = 0;   ///< with the next instruction
inline constexpr u64 kLeave = 1;  ///< with Context::flow

struct Routines {
  u64 (*enter)(const u8* code) = nullptr;  ///< returns a Leave; the GS base must be the Context
  /// Where to go on after a fault of the host in translated code: RAX the Site, R14 the guest-linear address.
  const u8* host_fault = nullptr;
  void (*serialize)() = nullptr;  ///< after code was patched through its other mapping
};

/// Emits the routines into `cache`, and enters what translated code calls into `context`.
Routines emit_routines(CodeCache& cache, Context& context, const Distances& distances,
                       const Callbacks& callbacks);

}  // namespace vellum::bt
