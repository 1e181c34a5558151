; INT1 (0xf1): a #DB of the trap kind that sets nothing in DR6's low bits and is not subject to the gate's DPL. SDM
; vol. 2A, INT n/INTO/INT3/INT1.
; expect: pass
%include "long.inc"

main:
  mov rax, 0xffff0ff0
  mov dr6, rax
  TRY
.int1: db 0xf1
  CATCH DB_, 0
  mov rax, main.int1 + 1
  CHECK_EQ [trap.rip], rax
  mov rax, dr6
  and eax, 0xe00f
  CHECK_EQ rax, 0
  TRY
  ENTER_USER user
  CATCH DB_, 0
  mov rax, USER(user) + 1
  CHECK_EQ [trap.rip], rax
  ; Under LOCK it is an invalid opcode.
  TRY
  db 0xf0, 0xf1
  CATCH UD, 0
  ret

user:
  db 0xf1
  ud2
