// A LongGuest whose code is written with an assembler.
#pragma once

#include <asmjit/x86.h>

#include "long_guest.hpp"

namespace vellum::bt {

class AssembledGuest : public LongGuest {
 protected:
  using LongGuest::LongGuest;

  /// Puts what `write` assembles at guest-physical `at`.
  template <class F>
  void program(F write, u64 at = kCode) {
    asmjit::CodeHolder holder;
    holder.init(asmjit::Environment::host(), at);
    a::Assembler as(&holder);
    write(as);
    ASSERT_EQ(holder.flatten(), asmjit::kErrorOk);
    ASSERT_EQ(holder.relocateToBase(at), asmjit::kErrorOk);
    ASSERT_EQ(holder.copyFlattenedData(ram_->host(GuestPhys(at)), kPageSize), asmjit::kErrorOk);
    ram_->note_store(GuestPhys(at), kPageSize);
  }
};

}  // namespace vellum::bt
