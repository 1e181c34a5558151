; The machinery of the guest tests itself: long mode is reached, an exception is recorded and resumed from, ring 3 is
; entered and left.
; expect: pass
%include "long.inc"

main:
  mov ecx, MSR_EFER
  rdmsr
  and eax, 0xd00
  CHECK_EQ rax, 0xd00 ; LME, LMA, NXE
  TRY
  ud2
  CATCH UD, 0
  CHECK_EQ [trap.cs], kCode64
  CHECK_EQ [trap.ss], kData
  CHECK_EQ [trap.old_rsp], rsp
  TRY
  ENTER_USER user
  CATCH GP, 0
  CHECK_EQ [trap.cs], kUser64
  CHECK_EQ [trap.ss], kUserData
  mov rax, USER(user)
  CHECK_EQ [trap.rip], rax
  CHECK_EQ [trap.handler_rsp], stack0_top - 64
  ret

user:
  hlt
