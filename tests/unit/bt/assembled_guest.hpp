// A LongGuest whose code is written with an assembler.
#pragma once

#include <asmjit/x86.h>

#include "long_guest.hpp"

namespace vellum::bt {

class AssembledGuest : public LongGuest {
 protected:
  using LongGuest::LongGuest;

  /// Puts what `write` assembles at kCode.
  template <class F>
  void program(F write) {
    asmjit::CodeHolder holder;
    holder.init(asmjit::Environment::host(), kCode);
    a::Assembler as(&holder);
    write(as);
    ASSERT_EQ(holder.flatten(), asmjit::kErrorOk);
    ASSERT_EQ(holder.relocateToBase(kCode), asmjit::kErrorOk);
    ASSERT_EQ(holder.copyFlattenedData(ram_->host(GuestPhys(kCode)), kPageSize), asmjit::kErrorOk);
    ram_->note_store(GuestPhys(kCode), kPageSize);
  }
};

}  // namespace vellum::bt
